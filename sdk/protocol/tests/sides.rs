//! The two sides of the protocol understand each other: what a client writes is what the broker reads, and the reverse, in both
//! codecs, whatever the values.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use rialto_protocol::{
    Answered, Call, Closing, Codec, Connect, Delivery, ErrorCode, Failure, Frame, FrameError, Gap, GapReason, History,
    HistoryFrom, Limits, Member, Operation, Past, PastMessage, Payload, Pointer, Position, Present, Publish, Published,
    ReceivedFrame, Reply, Request, RequestRates, Subscribe, Subscribed, Welcome,
};
use serde_json::{Value, json};

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(Codec::ALL.to_vec())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z.*>]{1,12}", any::<String>()]
}

fn shared() -> impl Strategy<Value = Arc<str>> {
    text().prop_map(Arc::from)
}

fn cow() -> impl Strategy<Value = Cow<'static, str>> {
    text().prop_map(Cow::Owned)
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..300, any::<u64>()]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        number().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A payload that this codec carries as it is, so that it can be compared.
fn payload(codec: Codec) -> impl Strategy<Value = Payload> {
    prop_oneof![
        value().prop_map(move |value| match codec {
            Codec::Json => Payload::json(&value).unwrap(),
            Codec::MessagePack => Payload::new(codec.into(), rmp_serde::to_vec(&value).unwrap()).unwrap(),
        }),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Payload::bytes),
    ]
}

fn position() -> impl Strategy<Value = Position> {
    (shared(), number()).prop_map(|(epoch, offset)| Position { epoch, offset })
}

/// A session as the `from` of a message names it.
fn publisher() -> impl Strategy<Value = Member> {
    (shared(), prop::option::of(shared())).prop_map(|(session, user)| Member { session, user, info: None })
}

fn member(codec: Codec) -> impl Strategy<Value = Member> {
    let info = payload(codec).prop_filter("a value", move |payload| payload.encoding() == codec.into());
    (publisher(), prop::option::of(info.prop_map(Arc::new))).prop_map(|(member, info)| Member { info, ..member })
}

fn rates() -> impl Strategy<Value = RequestRates> {
    let rate = || prop::option::of(any::<u32>());
    (rate(), rate(), rate(), rate()).prop_map(|(publishes, bytes, subscribes, calls)| RequestRates {
        publishes,
        bytes,
        subscribes,
        calls,
    })
}

fn delivery() -> impl Strategy<Value = Delivery> {
    prop_oneof![
        Just(Delivery::Queue),
        Just(Delivery::DropOldest),
        Just(Delivery::Latest),
        Just(Delivery::LatestBy(Pointer::parse("/a~1b/0").unwrap())),
        (1_u32..3_600_000).prop_map(|every_ms| Delivery::Sample { every_ms }),
    ]
}

fn subscribe() -> impl Strategy<Value = Subscribe<'static>> {
    (cow(), prop::option::of(position()), prop::option::of(number()), prop::option::of(delivery()), any::<bool>())
        .prop_map(|(topic, since, last, delivery, presence)| Subscribe { topic, since, last, delivery, presence })
}

fn operation(codec: Codec) -> impl Strategy<Value = Operation<'static>> {
    let from = prop_oneof![position().prop_map(HistoryFrom::Since), position().prop_map(HistoryFrom::Before)];
    let key = || prop::option::of(cow());
    prop_oneof![
        (key(), key(), any::<bool>(), key(), prop::option::of("[A-Za-z0-9_-]{22,64}")).prop_map(
            |(one, other, is_login, client, instance)| {
                let login = one.clone().zip(other).filter(|_| is_login);
                let token = one.filter(|_| login.is_none());
                let (user, password) = login.unzip();
                Operation::Connect(Connect { token, client, instance: instance.map(Cow::Owned), user, password })
            }
        ),
        prop::collection::vec(subscribe(), 1..5).prop_map(Operation::Subscribe),
        prop::collection::vec(cow(), 1..5).prop_map(Operation::Unsubscribe),
        (cow(), payload(codec), key(), any::<bool>())
            .prop_map(|(topic, payload, key, echo)| Operation::Publish(Publish { topic, payload, key, echo })),
        (cow(), any::<bool>(), cow(), prop::option::of(payload(codec)), key()).prop_map(
            |(owner, topic, method, payload, key)| {
                let (topic, plugin) = if topic { (Some(owner), None) } else { (None, Some(owner)) };
                Operation::Call(Call { topic, plugin, method, payload, key })
            }
        ),
        (cow(), prop::option::of(from), prop::option::of(number()))
            .prop_map(|(topic, from, limit)| Operation::History(History { topic, from, limit })),
        cow().prop_map(Operation::Presence),
        prop::option::of(payload(codec)).prop_map(Operation::Ping),
    ]
}

fn failure(codec: Codec) -> impl Strategy<Value = Failure> {
    let detail = payload(codec).prop_filter("a value", move |payload| payload.encoding() == codec.into());
    (
        prop::sample::select(ErrorCode::ALL.to_vec()),
        any::<String>(),
        prop::option::of(number()),
        prop::option::of(detail),
    )
        .prop_map(|(code, message, retry_after_ms, detail)| Failure { code, message, retry_after_ms, detail })
}

fn present(codec: Codec) -> impl Strategy<Value = Present> {
    let members = prop::option::of(prop::collection::vec(member(codec), 0..4));
    (number(), members).prop_map(|(count, members)| Present { count, members })
}

fn subscribed(codec: Codec) -> impl Strategy<Value = Subscribed> {
    let flag = || prop::option::of(any::<bool>());
    (shared(), prop::option::of(position()), flag(), flag(), prop::option::of(present(codec))).prop_map(
        |(topic, position, recovered, more, present)| Subscribed { topic, position, recovered, more, present },
    )
}

fn past(codec: Codec) -> impl Strategy<Value = Past> {
    let message = (number(), number(), prop::option::of(publisher()), payload(codec));
    let message = message.prop_map(|(offset, time, from, payload)| PastMessage { offset, time, from, payload });
    (prop::collection::vec(message, 0..4), position(), any::<bool>()).prop_map(|(messages, position, more)| Past {
        messages,
        position,
        more,
    })
}

fn reply(codec: Codec) -> impl Strategy<Value = Reply> {
    let refused = (shared(), failure(codec));
    // A list of one is a list to the broker, too, but there is no need to write one.
    let outcome = prop_oneof![subscribed(codec).prop_map(Ok), refused.prop_map(Err)];
    prop_oneof![
        Just(Reply::Unsubscribed),
        (member(codec), prop::option::of(any::<u64>()), rates())
            .prop_map(|(member, expires_at, rates)| Reply::Connected { member, expires_at, rates }),
        subscribed(codec).prop_map(Reply::Subscribed),
        prop::collection::vec(outcome, 1..5).prop_map(Reply::SubscribedAll),
        (prop::option::of(position()), any::<bool>())
            .prop_map(|(position, duplicate)| Reply::Published(Published { position, duplicate })),
        (prop::option::of(payload(codec)), any::<bool>())
            .prop_map(|(payload, duplicate)| Reply::Answered(Answered { payload, duplicate })),
        past(codec).prop_map(Reply::Past),
        present(codec).prop_map(Reply::Present),
    ]
}

fn hear(codec: Codec, frame: &Frame<'_>, check: impl FnOnce(ReceivedFrame<'_>)) {
    let mut out = Vec::new();
    frame.encode(codec, &mut out);
    let out = Bytes::from(out);
    check(ReceivedFrame::decode(codec, &out).unwrap_or_else(|error| panic!("{error}: {out:?}")));
}

proptest! {
    #[test]
    fn the_broker_reads_what_a_client_writes(
        (codec, operation) in codec().prop_flat_map(|codec| (Just(codec), operation(codec))), id in prop::option::of(1_u64..),
    ) {
        let request = Request { id, operation };
        let mut frame = Vec::new();
        request.encode(codec, &mut frame);
        let text = String::from_utf8_lossy(&frame).into_owned();
        let read = Request::decode(codec, &frame);
        prop_assert_eq!(read, Ok(request), "{}", text);
    }

    #[test]
    fn a_client_reads_the_replies_that_the_broker_writes(
        (codec, reply) in codec().prop_flat_map(|codec| (Just(codec), reply(codec))), id in 1_u64..,
    ) {
        hear(codec, &Frame::Ok { id, reply: &reply }, |heard| {
            let ReceivedFrame::Ok { id: heard_id, answer } = heard else { panic!("{heard:?}") };
            assert_eq!(heard_id, id);
            match reply.clone() {
                Reply::Unsubscribed => {}
                Reply::Connected { member, expires_at, rates } => {
                    let connected = answer.connected().unwrap();
                    let token = member.user.as_deref().map(rialto_protocol::topic::token_of);
                    assert_eq!((connected.user_token.as_deref(), connected.expires_at), (token.as_deref(), expires_at));
                    assert_eq!((connected.user, connected.info), (member.user, member.info));
                    assert_eq!(connected.rates, rates);
                }
                Reply::Subscribed(subscribed) => assert_eq!(answer.subscribed().unwrap(), [Ok(subscribed)]),
                Reply::SubscribedAll(outcomes) => assert_eq!(answer.subscribed().unwrap(), outcomes),
                Reply::Published(published) => assert_eq!(answer.published().unwrap(), published),
                Reply::Answered(answered) => assert_eq!(answer.answered().unwrap(), answered),
                Reply::Past(past) => assert_eq!(answer.past().unwrap(), past),
                Reply::Present(present) => assert_eq!(answer.present().unwrap(), present),
            }
        });
    }

    #[test]
    fn a_client_reads_what_the_broker_says_unasked(
        (codec, body, why, who, here) in codec().prop_flat_map(|codec| {
            (Just(codec), payload(codec), failure(codec), member(codec), present(codec))
        }),
        topic in shared(), numbers in (number(), number()), from in prop::option::of(publisher()),
        id in prop::option::of(1_u64..), retry_after_ms in prop::option::of(number()), rates in rates(),
        reason in prop::sample::select(vec![GapReason::Expired, GapReason::Reset, GapReason::Slow, GapReason::Conflated, GapReason::Removed]),
    ) {
        let (offset, time) = numbers;
        let message = Frame::Message { topic: &topic, offset, time, from: from.as_ref(), payload: &body };
        hear(codec, &message, |heard| {
            let ReceivedFrame::Message(heard) = heard else { panic!("{heard:?}") };
            assert_eq!((heard.topic, heard.offset, heard.time), (topic.clone(), offset, time));
            assert_eq!((heard.from, heard.payload), (from.clone(), body.clone()));
        });
        let gap = Gap { topic: topic.clone(), from: offset, to: time, reason };
        hear(codec, &Frame::Gap(&gap), |heard| assert!(matches!(&heard, ReceivedFrame::Gap(one) if *one == gap), "{heard:?}"));
        let removed = Frame::Removed { topic: &topic, offset };
        hear(codec, &removed, |heard| assert!(matches!(&heard, ReceivedFrame::Removed { topic: of, offset: at } if *of == topic && *at == offset), "{heard:?}"));
        hear(codec, &Frame::Join { topic: &topic, member: &who }, |heard| {
            let is_right = matches!(&heard, ReceivedFrame::Join { topic: t, member } if *t == topic && *member == who);
            assert!(is_right, "{heard:?}");
        });
        hear(codec, &Frame::Leave { topic: &topic, member: &who }, |heard| {
            let is_right = matches!(&heard, ReceivedFrame::Leave { topic: t, member } if *t == topic && *member == who);
            assert!(is_right, "{heard:?}");
        });
        hear(codec, &Frame::Presence { topic: &topic, present: &here }, |heard| {
            let is_right = matches!(&heard, ReceivedFrame::Presence { topic: t, present } if *t == topic && *present == here);
            assert!(is_right, "{heard:?}");
        });
        hear(codec, &Frame::Error { id, failure: &why }, |heard| {
            assert!(matches!(&heard, ReceivedFrame::Error { id: i, failure } if *i == id && *failure == why), "{heard:?}");
        });
        hear(codec, &Frame::Pong { id, payload: Some(&body), time }, |heard| {
            let ReceivedFrame::Pong { id: heard_id, payload, time: heard_time } = heard else { panic!("{heard:?}") };
            assert_eq!((heard_id, payload.as_ref(), heard_time), (id, Some(&body), time));
        });
        let closing = Closing { code: 4000, message: topic.to_string(), retry_after_ms };
        hear(codec, &Frame::Closing(&closing), |heard| {
            assert!(matches!(&heard, ReceivedFrame::Closing(one) if *one == closing), "{heard:?}");
        });
        let limits = Limits { message_bytes: 65_536, subscriptions: 1_000, outbox_bytes: 1 << 20, rates };
        let (server, node, features) = ("rialto/0.1.0", &*topic, &["recovery", "keys"][..]);
        hear(codec, &Frame::TokenExpiring { expires_at: time }, |heard| {
            assert!(matches!(heard, ReceivedFrame::TokenExpiring { expires_at } if expires_at == time), "{heard:?}");
        });
        let expires_at = Some(time);
        let welcome = Welcome { member: &who, expires_at, server, node, ping_ms: time, features, limits };
        hear(codec, &Frame::Welcome(welcome), |heard| {
            let ReceivedFrame::Welcome(heard) = heard else { panic!("{heard:?}") };
            assert_eq!((heard.member, heard.limits, heard.ping_ms), (who.clone(), limits, time));
            let token = who.user.as_deref().map(rialto_protocol::topic::token_of);
            assert_eq!((heard.user_token.as_deref(), heard.expires_at), (token.as_deref(), expires_at));
            assert_eq!((heard.server, heard.node, heard.features), (server.to_owned(), node.to_owned(), vec!["recovery".to_owned(), "keys".to_owned()]));
        });
    }

    #[test]
    fn no_bytes_make_a_client_panic(codec in codec(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        if let Ok(ReceivedFrame::Ok { answer, .. }) = ReceivedFrame::decode(codec, &bytes) {
            let _ = (answer.connected(), answer.subscribed(), answer.published(), answer.past(), answer.present());
        }
    }

    #[test]
    fn no_map_makes_a_client_panic(codec in codec(), kind in prop::sample::select(vec![
        "welcome", "ok", "error", "pong", "message", "gap", "removed", "join", "leave", "presence", "unsubscribed", "closing", "x-more",
    ]), fields in prop::collection::btree_map(prop::sample::select(vec![
        "id", "topic", "topics", "data", "bytes", "position", "member", "members", "messages", "limits", "reason", "code", "count",
    ]), value(), 0..6)) {
        let mut map: serde_json::Map<String, Value> = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        map.insert("type".into(), kind.into());
        let bytes = match codec {
            Codec::Json => serde_json::to_vec(&map).unwrap(),
            Codec::MessagePack => rmp_serde::to_vec(&map).unwrap(),
        };
        let bytes = Bytes::from(bytes);
        if let Ok(ReceivedFrame::Ok { answer, .. }) = ReceivedFrame::decode(codec, &bytes) {
            let _ = (answer.connected(), answer.subscribed(), answer.published(), answer.past(), answer.present());
        }
    }
}

/// Writes any JSON text as a frame of a codec.
fn frame(codec: Codec, value: &Value) -> Bytes {
    Bytes::from(match codec {
        Codec::Json => value.to_string().into_bytes(),
        Codec::MessagePack => rmp_serde::to_vec(value).unwrap(),
    })
}

#[test]
fn frames_that_are_new_to_this_version_are_kept_whole() {
    for codec in Codec::ALL {
        let value = json!({"type": "x-order", "price": 12, "deep": [[1]]});
        let bytes = frame(codec, &value);
        let ReceivedFrame::Unknown { kind, frame } = ReceivedFrame::decode(codec, &bytes).unwrap() else {
            panic!("known?")
        };
        assert_eq!((kind.as_str(), frame.content()), ("x-order", &bytes));
        let bytes = self::frame(codec, &json!({"type": "error", "code": "a_later_one", "message": "m", "more": 1}));
        let ReceivedFrame::Error { failure, .. } = ReceivedFrame::decode(codec, &bytes).unwrap() else {
            panic!("no error?")
        };
        assert_eq!((failure.code, failure.message.as_str()), (ErrorCode::Internal, "m"));
        let bytes =
            self::frame(codec, &json!({"type": "unsubscribed", "topic": "t", "code": "forbidden", "message": "m"}));
        let heard = ReceivedFrame::decode(codec, &bytes).unwrap();
        assert!(
            matches!(&heard, ReceivedFrame::Unsubscribed { failure, .. } if failure.code == ErrorCode::Forbidden),
            "{heard:?}"
        );
    }
}

#[test]
fn a_gap_is_a_gap_whatever_its_reason() {
    for codec in Codec::ALL {
        for (reason, expected) in [
            ("expired", GapReason::Expired),
            ("conflated", GapReason::Conflated),
            ("removed", GapReason::Removed),
            ("lost", GapReason::Unknown),
            ("unknown", GapReason::Unknown),
        ] {
            let bytes = frame(codec, &json!({"type": "gap", "topic": "t", "from": 1, "to": 2, "reason": reason}));
            let ReceivedFrame::Gap(gap) = ReceivedFrame::decode(codec, &bytes).unwrap() else { panic!("no gap?") };
            assert_eq!((gap.from, gap.to, gap.reason), (1, 2, expected), "{codec:?} {reason}");
        }
    }
}

#[test]
fn presence_shows_the_info_of_a_member_and_messages_do_not() {
    let info = Some(Arc::new(Payload::json(&json!({"name": "Ann"})).unwrap()));
    let member = Member { session: "s".into(), user: Some("ann".into()), info };
    let text = |codec, frame: &Frame<'_>| {
        let mut out = Vec::new();
        frame.encode(codec, &mut out);
        match codec {
            Codec::Json => serde_json::from_slice::<Value>(&out).unwrap(),
            Codec::MessagePack => rmp_serde::from_slice(&out).unwrap(),
        }
    };
    let payload = Payload::json(&1).unwrap();
    for codec in Codec::ALL {
        let seen = json!({"session": "s", "user": "ann", "info": {"name": "Ann"}});
        let join = text(codec, &Frame::Join { topic: "t", member: &member });
        assert_eq!(join["member"], seen, "{codec:?}");
        let present = Present { count: 1, members: Some(vec![member.clone(), Member::anonymous("b")]) };
        let present = text(codec, &Frame::Presence { topic: "t", present: &present });
        assert_eq!(present["members"], json!([seen, {"session": "b", "user": null}]), "{codec:?}");
        let connected = Reply::Connected { member: member.clone(), expires_at: None, rates: RequestRates::NONE };
        assert_eq!(text(codec, &Frame::Ok { id: 1, reply: &connected })["info"], seen["info"], "{codec:?}");
        let from = Some(&member);
        let message = text(codec, &Frame::Message { topic: "t", offset: 1, time: 2, from, payload: &payload });
        assert_eq!(message["from"], json!({"session": "s", "user": "ann"}), "{codec:?}");
    }
}

#[test]
fn the_case_of_every_rate_is_what_the_broker_writes_and_a_client_reads() {
    let path = format!("{}/cases/rates.json", env!("CARGO_MANIFEST_DIR"));
    let table: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let rates_of = |value: &Value| {
        let rate = |name: &str| value[name].as_u64().map(|per_s| u32::try_from(per_s).unwrap());
        let (publishes, bytes) = (rate("publishes"), rate("bytes"));
        RequestRates { publishes, bytes, subscribes: rate("subscribes"), calls: rate("calls") }
    };
    let cases = table["cases"].as_array().unwrap();
    assert!(cases.len() >= 6, "{}", cases.len());
    for (codec, case) in Codec::ALL.into_iter().flat_map(|codec| cases.iter().map(move |case| (codec, case))) {
        let (name, member) = (case["name"].as_str().unwrap(), Member::anonymous("s"));
        let rates = rates_of(&case["welcome"]);
        let limits = Limits { message_bytes: 1, subscriptions: 2, outbox_bytes: 3, rates };
        let (server, node, features) = ("rialto/0.1.0", "n", &["keys"][..]);
        let welcome = Welcome { member: &member, expires_at: None, server, node, ping_ms: 1, features, limits };
        hear(codec, &Frame::Welcome(welcome), |heard| {
            let ReceivedFrame::Welcome(heard) = heard else { panic!("{heard:?}") };
            assert_eq!(heard.limits.rates, rates, "{name}");
        });
        let rates = rates_of(&case["connected"]);
        let reply = Reply::Connected { member, expires_at: None, rates };
        let mut out = Vec::new();
        Frame::Ok { id: 1, reply: &reply }.encode(codec, &mut out);
        let written: Value = match codec {
            Codec::Json => serde_json::from_slice(&out).unwrap(),
            Codec::MessagePack => rmp_serde::from_slice(&out).unwrap(),
        };
        assert_eq!(written["rates"], case["connected"], "{name}: nothing is written where nothing is limited");
        hear(codec, &Frame::Ok { id: 1, reply: &reply }, |heard| {
            let ReceivedFrame::Ok { answer, .. } = heard else { panic!("{heard:?}") };
            assert_eq!(answer.connected().unwrap().rates, rates, "{name}");
        });
    }
}

#[test]
fn what_is_wrong_with_a_frame_is_named() {
    let depth = (0..33).fold(json!(1), |inner, _| json!([inner]));
    for codec in Codec::ALL {
        for (value, expected) in [
            (json!([1]), "the frame is not a map"),
            (json!({"id": 1}), "field \"type\" is missing"),
            (json!({"type": 1}), "field \"type\" is not a string"),
            (json!({"type": "ok"}), "field \"id\" is missing"),
            (json!({"type": "gap", "topic": "t", "from": 1, "to": 2, "reason": 3}), "field \"reason\" is not a string"),
            (
                json!({"type": "message", "topic": "t", "offset": -1, "time": 0, "data": 1}),
                "field \"offset\" is not a whole number",
            ),
            (json!({"type": "message", "topic": "t", "offset": 1, "time": 0}), "field \"data\" is missing"),
            (
                json!({"type": "message", "topic": "t", "offset": 1, "time": 0, "data": depth}),
                "field \"data\": nested deeper than 32",
            ),
            (
                json!({"type": "message", "topic": "t", "offset": 1, "time": 0, "bytes": 3}),
                "field \"bytes\" is not bytes (bin, or base64 text in JSON)",
            ),
            (json!({"type": "join", "topic": "t", "member": 3}), "field \"member\" is not a map"),
            (
                json!({"type": "presence", "topic": "t", "count": 1, "members": [1]}),
                "field \"members\" is not a list of maps",
            ),
            (json!({"type": "closing", "code": 70_000}), "field \"code\" is not a close code"),
        ] {
            let bytes = frame(codec, &value);
            let error = ReceivedFrame::decode(codec, &bytes).expect_err(expected);
            assert_eq!(error.to_string(), expected, "{codec:?} {value}");
        }
        let bytes = Bytes::from_static(b"\xc1");
        assert!(matches!(ReceivedFrame::decode(codec, &bytes), Err(FrameError::Frame(_))));
    }
}

#[test]
fn history_carries_messages_as_deep_as_they_were_published() {
    let deep = (0..32).fold(json!(1), |inner, _| json!([inner]));
    let payload = Payload::json(&deep).unwrap();
    let message = PastMessage { offset: 1, time: 2, from: None, payload };
    let position = Position { epoch: "e".into(), offset: 1 };
    let reply = Reply::Past(Past { messages: vec![message], position, more: false });
    for codec in Codec::ALL {
        hear(codec, &Frame::Ok { id: 1, reply: &reply }, |heard| {
            let ReceivedFrame::Ok { answer, .. } = heard else { panic!("{heard:?}") };
            assert_eq!(answer.past().unwrap().messages.len(), 1);
        });
    }
}
