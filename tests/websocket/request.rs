//! Invalid requests: each is answered with one error, its session stays open, and others are not affected.

use rialto::Codec;
use serde_json::{Value, json};

use crate::support::{Client, Running, encode};
use crate::websocket::witness::Witness;

/// Sends one message and returns all replies.
async fn received(client: &mut Client, bytes: Vec<u8>) -> Vec<Value> {
    client.send_bytes(bytes).await;
    client.ping().await;
    client.take_all()
}

/// Sends invalid messages, each in another session, with healthy sessions before and after.
async fn each_is_refused(codec: Codec, cases: impl IntoIterator<Item = (String, Vec<u8>, &'static str)>) {
    let running = Running::start();
    let mut witness = Witness::new(&running).await;
    let mut session = running.client(codec).await;
    session.subscribe("t").await;
    for (what, bytes, code) in cases {
        let received = received(&mut session, bytes).await;
        assert_eq!(received.len(), 1, "{} {what}: {received:?}", codec.name());
        assert_eq!(
            (&received[0]["type"], &received[0]["code"]),
            (&json!("error"), &json!(code)),
            "{what}: {}",
            received[0]
        );
        let message = received[0]["message"].as_str().expect("a sentence");
        assert!(
            !message.is_empty() && message.len() < 500 && !message.contains(char::is_control),
            "{what}: {message:?}"
        );
        witness.is_well().await;
    }
    session.publish("t", json!("still here")).await;
    assert_eq!(session.message().await["data"], "still here");
}

/// Invalid requests for both codecs, and the error code of each. All have a readable id.
fn wrong_requests() -> Vec<(Value, &'static str)> {
    let long = "x".repeat(256);
    let tokens = ["a"; 17].join(".");
    let (bad, not_here) = ("bad_request", "unavailable");
    let mut cases = vec![
        (json!({}), bad),
        (json!({"type": 5}), bad),
        (json!({"type": null}), bad),
        (json!({"type": "fly"}), bad),
        (json!({"type": "x".repeat(10_000)}), bad),
        (json!({"type": "\u{1b}[31m\n"}), bad),
        (json!({"type": "welcome"}), bad),
        (json!({"type": "publish", "data": 1}), bad),
        (json!({"type": "publish", "topic": "t"}), bad),
        (json!({"type": "publish", "topic": ["t"], "data": 1}), bad),
        (json!({"type": "publish", "topic": "t", "data": 1, "bytes": "AA=="}), bad),
        (json!({"type": "publish", "topic": "t", "bytes": 5}), bad),
        (json!({"type": "publish", "topic": "t", "bytes": "not base64!"}), bad),
        (json!({"type": "publish", "topic": "t", "data": 1, "echo": "yes"}), bad),
        (json!({"type": "publish", "topic": "t", "data": 1, "key": 5}), bad),
        (json!({"type": "publish", "topic": "t", "data": 1, "key": ""}), bad),
        (json!({"type": "subscribe"}), bad),
        (json!({"type": "subscribe", "topics": "t"}), bad),
        (json!({"type": "subscribe", "topics": ["t"]}), bad),
        (json!({"type": "subscribe", "topics": []}), bad),
        (json!({"type": "subscribe", "topics": [{}]}), bad),
        (json!({"type": "subscribe", "topics": vec![json!({"topic": "t"}); 129]}), bad),
        (json!({"type": "subscribe", "topics": [{"topic": "t"}], "topic": "t"}), bad),
        (json!({"type": "subscribe", "topic": "t", "since": 5}), bad),
        (json!({"type": "subscribe", "topic": "t", "since": {}}), bad),
        (json!({"type": "subscribe", "topic": "t", "since": {"epoch": "e"}}), bad),
        (json!({"type": "subscribe", "topic": "t", "since": {"epoch": 5, "offset": 1}}), bad),
        (json!({"type": "subscribe", "topic": "t", "since": {"epoch": "e", "offset": -1}}), bad),
        (json!({"type": "subscribe", "topic": "t", "since": ["e", 1]}), bad),
        (json!({"type": "subscribe", "topic": "t", "last": "many"}), bad),
        (json!({"type": "subscribe", "topic": "t", "presence": 1}), bad),
        (json!({"type": "subscribe", "topic": "t", "presence": true}), not_here),
        (json!({"type": "subscribe", "topic": "t", "delivery": 1}), bad),
        (json!({"type": "subscribe", "topic": "t", "delivery": "loudly"}), bad),
        (json!({"type": "subscribe", "topic": "t", "delivery": ["queue"]}), bad),
        (json!({"type": "subscribe", "topic": "t", "delivery": "latest_by"}), bad),
        (json!({"type": "subscribe", "topic": "t.*", "since": {"epoch": "e", "offset": 1}}), bad),
        (json!({"type": "subscribe", "topic": "t.*", "last": 1}), bad),
        (json!({"type": "subscribe", "topic": "t.*", "presence": true}), bad),
        (json!({"type": "subscribe", "topic": "t.*", "delivery": "latest"}), bad),
        (json!({"type": "subscribe", "topic": "t*"}), bad),
        (json!({"type": "subscribe", "topic": ">.t"}), bad),
        (json!({"type": "unsubscribe", "topic": "*.>.t"}), bad),
        (json!({"type": "unsubscribe"}), bad),
        (json!({"type": "unsubscribe", "topic": "a..b"}), bad),
        (json!({"type": "unsubscribe", "topics": [5]}), bad),
        (json!({"type": "unsubscribe", "topics": vec![json!({"topic": "t"}); 4_000]}), bad),
        (json!({"type": "call", "method": "m"}), bad),
        (json!({"type": "call", "topic": "t"}), bad),
        (json!({"type": "call", "topic": "t", "method": 5}), bad),
        (json!({"type": "call", "topic": "t", "plugin": "p", "method": "m"}), bad),
        (json!({"type": "call", "topic": "t", "method": "m"}), "not_found"),
        (json!({"type": "call", "plugin": "nobody", "method": "m"}), "not_found"),
        (json!({"type": "history", "topic": "t"}), not_here),
        (json!({"type": "presence", "topic": "t"}), not_here),
        (json!({"type": "connect", "token": 5}), bad),
    ];
    for topic in ["", ".", "a..b", ".a", "a.", "a b", "a\u{0}", "a\nb", "a\u{200b}", "\u{feff}a", &long, &tokens] {
        for kind in ["publish", "subscribe", "call"] {
            cases.push((json!({"type": kind, "topic": topic, "data": 1, "method": "m"}), bad));
        }
    }
    for topic in ["a.*", "*", ">", "a.>", "a*", "a.>.b"] {
        cases.push((json!({"type": "publish", "topic": topic, "data": 1}), bad));
    }
    for kind in ["publish", "subscribe", "unsubscribe", "call"] {
        cases.push((json!({"type": kind, "topic": "$sys.x", "data": 1, "method": "m"}), "forbidden"));
    }
    for kind in ["subscribe", "unsubscribe"] {
        cases.push((json!({"type": kind, "topic": "$sys.*"}), "forbidden"));
    }
    cases
}

#[tokio::test]
async fn an_invalid_request_is_answered_with_its_id_and_one_error_code() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut witness = Witness::new(&running).await;
        let mut session = running.client(codec).await;
        for (mut request, code) in wrong_requests() {
            request["id"] = json!(4_000_000_000_u64);
            let received = received(&mut session, encode(codec, &request)).await;
            assert_eq!(received.len(), 1, "{request}: {received:?}");
            let error = &received[0];
            let expected = (&json!("error"), &json!(code), &request["id"]);
            assert_eq!((&error["type"], &error["code"], &error["id"]), expected, "{request}: {error}");
            let message = error["message"].as_str().expect("a sentence");
            let decent = !message.is_empty() && message.len() < 500 && !message.contains(char::is_control);
            assert!(decent, "{request}: {message:?}");
        }
        witness.is_well().await;
        witness.close().await;
    }
}

#[tokio::test]
async fn an_invalid_id_is_reported_and_not_echoed() {
    for codec in Codec::ALL {
        let ids = [json!(0), json!(-1), json!("1"), json!(1.5), json!(null), json!([1]), json!({"id": 1}), json!(true)];
        let cases = ids.into_iter().map(|id| {
            let request = json!({"type": "publish", "topic": "t", "data": 1, "id": id});
            (format!("id {id}"), encode(codec, &request), "bad_request")
        });
        each_is_refused(codec, cases).await;
    }
}

#[tokio::test]
async fn the_largest_id_is_echoed_unchanged() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        client.send(&json!({"type": "ping", "id": u64::MAX})).await;
        assert_eq!(client.reply(u64::MAX).await["type"], "pong");
    }
}

#[tokio::test]
async fn an_id_may_be_reused_before_the_reply() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        for data in ["first", "second", "third"] {
            client.send(&json!({"type": "ping", "id": 5, "data": data})).await;
        }
        for data in ["first", "second", "third"] {
            assert_eq!(client.reply(5).await["data"], data);
        }
    }
}

#[tokio::test]
async fn frames_other_than_maps_are_refused() {
    for codec in Codec::ALL {
        let values = [json!([]), json!(["ping", 1]), json!("ping"), json!(5), json!(null), json!(true), json!(1.5)];
        let cases = values.into_iter().map(|value| (value.to_string(), encode(codec, &value), "bad_request"));
        each_is_refused(codec, cases).await;
    }
}

#[tokio::test]
async fn malformed_json_is_refused() {
    let publish = |data: &str| format!(r#"{{"type":"publish","topic":"t","id":9,"data":{data}}}"#);
    let mut cases: Vec<String> = [
        "",
        " ",
        "{",
        r#"{"type":"ping""#,
        r#"{"type":"ping",}"#,
        r#"{"type":"ping"}}"#,
        r#"{"type":"ping"} {"type":"ping"}"#,
        r#"{"type":"ping"}x"#,
        "\u{feff}{\"type\":\"ping\"}",
        r#"{'type':'ping'}"#,
        r#"{type:"ping"}"#,
        r#"{"type":"ping",5:1}"#,
        r#"{"type":"ping","id":18446744073709551616}"#,
        r#"{"type":"ping","id":1e999}"#,
        r#"{"type":"ping","id":01}"#,
        r#"{"type":"ping","type":"ping"}"#,
        r#"{"type":"ping","id":1,"id":1}"#,
        r#"{"type":"publish","topic":"t","data":1,"data":1}"#,
        r#"{"type":"publish","topic":"t","data":1,"d\u0061ta":1}"#,
        r#"{"type":"subscribe","topic":"t","since":{"epoch":"e","offset":1,"epoch":"e"}}"#,
        r#"{"type":"subscribe","topic":"t","delivery":{"policy":"latest","policy":"queue"}}"#,
        r#"{"type":"subscribe","topics":[{"topic":"t","topic":"t"}]}"#,
        r#"{"type":"publish","topic":"\ud800","data":1}"#,
        r#"/* no */{"type":"ping"}"#,
    ]
    .map(str::to_owned)
    .to_vec();
    for data in ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", ".5", "1.", "+1", "0x10", "nul", "'a'", r#""\x""#] {
        cases.push(publish(data));
    }
    for data in [r#""\ud800""#, r#""\udc00\ud800""#, "\"a\nb\"", "\"\u{1}\"", "[1,]", "[1", "{\"a\"}", "{1:2}", "[1}"] {
        cases.push(publish(data));
    }
    cases.push(publish(&"[".repeat(30_000)));
    cases.push("[".repeat(60_000));
    cases.push("{\"a\":".repeat(10_000));
    let named = |text: String| (text.chars().take(60).collect(), text.into_bytes(), "bad_request");
    each_is_refused(Codec::Json, cases.into_iter().map(named)).await;
}

/// A publish with the given bytes as encoded data.
fn publish_msgpack(data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x83, 0xa4];
    bytes.extend_from_slice(b"type\xa7publish\xa5topic\xa1t\xa4data");
    bytes.extend_from_slice(data);
    bytes
}

#[tokio::test]
async fn malformed_msgpack_is_refused() {
    let ping = b"\x81\xa4type\xa4ping";
    let mut cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("a byte after the map", [&ping[..], b"\xc0"].concat()),
        ("two maps", [&ping[..], ping].concat()),
        ("cut off in the value", ping[..ping.len() - 1].to_vec()),
        ("cut off after the header", vec![0x81]),
        ("a map of 2^32-1 entries", vec![0xdf, 0xff, 0xff, 0xff, 0xff]),
        ("an array of 2^32-1 items", vec![0xdd, 0xff, 0xff, 0xff, 0xff]),
        ("an array as frame", b"\x91\xa4ping".to_vec()),
        ("the reserved byte as frame", vec![0xc1]),
        ("a number as key", b"\x82\xa4type\xa4ping\x01\x02".to_vec()),
        ("nil as key", b"\x82\xa4type\xa4ping\xc0\x02".to_vec()),
        ("bin as key", b"\x82\xa4type\xa4ping\xc4\x01a\x02".to_vec()),
        ("a key twice", b"\x82\xa4type\xa4ping\xa4type\xa4ping".to_vec()),
        ("a key twice in two forms", b"\x82\xa4type\xa4ping\xd9\x04type\xa4ping".to_vec()),
        ("an id twice", b"\x83\xa4type\xa4ping\xa2id\x01\xa2id\x01".to_vec()),
        (
            "a key twice in a map",
            b"\x83\xa4type\xa9subscribe\xa5topic\xa1t\xa8delivery\x82\xa6policy\xa6latest\xa6policy\xa5queue".to_vec(),
        ),
        ("a key twice in a list", b"\x82\xa4type\xa9subscribe\xa6topics\x91\x82\xa5topic\xa1t\xa5topic\xa1t".to_vec()),
        ("a bin as type", b"\x81\xa4type\xc4\x04ping".to_vec()),
        ("a floating point id", b"\x82\xa4type\xa4ping\xa2id\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00".to_vec()),
        ("a text that is not UTF-8 as type", b"\x81\xa4type\xa2\xff\xfe".to_vec()),
        ("a key that is not UTF-8", b"\x82\xa4type\xa4ping\xa2\xff\xfe\x01".to_vec()),
        ("a topic that is not UTF-8", b"\x83\xa4type\xa7publish\xa5topic\xa1\xff\xa4data\x01".to_vec()),
        ("a str as bytes", b"\x83\xa4type\xa7publish\xa5topic\xa1t\xa5bytes\xa1x".to_vec()),
    ];
    let data: [(&str, &[u8]); 22] = [
        ("NaN", b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
        ("infinity", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"),
        ("minus infinity", b"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00"),
        ("NaN in 32 bits", b"\xca\x7f\xc0\x00\x00"),
        ("infinity in 32 bits", b"\xca\x7f\x80\x00\x00"),
        ("NaN within", b"\x91\x81\xa1k\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
        ("a timestamp", b"\xd6\xff\x00\x00\x00\x00"),
        ("ext 8", b"\xc7\x01\x05x"),
        ("ext 16", b"\xc8\x00\x01\x05x"),
        ("ext 32", b"\xc9\x00\x00\x00\x01\x05x"),
        ("an ext within", b"\x91\xd4\x05x"),
        ("a number as key", b"\x81\x01\x02"),
        ("an array as key", b"\x81\x91\x01\x02"),
        ("nil as key within", b"\x91\x81\xc0\x02"),
        ("the reserved byte", b"\xc1"),
        ("the reserved byte within", b"\x91\xc1"),
        ("a text that is not UTF-8", b"\xa2\xc3\x28"),
        ("a text of 2^32-1 bytes", b"\xdb\xff\xff\xff\xff"),
        ("a bin of 2^32-1 bytes", b"\xc6\xff\xff\xff\xff"),
        ("an array of 2^32-1 items within", b"\xdd\xff\xff\xff\xff\xc0"),
        ("a map of 2^32-1 entries within", b"\xdf\xff\xff\xff\xff\xa1a\x01"),
        ("an array with too little in it", b"\x93\x01\x02"),
    ];
    cases.extend(data.iter().map(|(what, data)| (*what, publish_msgpack(data))));
    cases.push(("very deep", publish_msgpack(&[&[0x91; 60_000][..], b"\xc0"].concat())));
    cases.push(("very deep maps", publish_msgpack(&[&b"\x81\xa1k".repeat(20_000)[..], b"\xc0"].concat())));
    let named = |(what, bytes): (&str, Vec<u8>)| (what.to_owned(), bytes, "bad_request");
    each_is_refused(Codec::MessagePack, cases.into_iter().map(named)).await;
}

#[tokio::test]
async fn a_request_with_an_invalid_payload_is_answered_with_its_id() {
    let running = Running::start();
    let deep = |codec| {
        let data = (0..40).fold(json!(1), |inner, _| json!([inner]));
        encode(codec, &json!({"type": "publish", "id": 700, "topic": "t", "data": data}))
    };
    let mut nan = b"\x84\xa2id\xcd\x02\xbc".to_vec();
    nan.extend_from_slice(&publish_msgpack(b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00")[1..]);
    let mut extension = b"\x84\xa2id\xcd\x02\xbc".to_vec();
    extension.extend_from_slice(&publish_msgpack(b"\xd4\x05x")[1..]);
    for (what, codec, bytes) in [
        ("JSON, too deep", Codec::Json, deep(Codec::Json)),
        ("JSON, too large a number", Codec::Json, br#"{"id":700,"type":"publish","topic":"t","data":1e999}"#.to_vec()),
        ("MessagePack, too deep", Codec::MessagePack, deep(Codec::MessagePack)),
        ("MessagePack, NaN", Codec::MessagePack, nan),
        ("MessagePack, an extension", Codec::MessagePack, extension),
    ] {
        let mut client = running.client(codec).await;
        let received = received(&mut client, bytes).await;
        assert_eq!((received.len(), &received[0]["id"]), (1, &json!(700)), "{what}: {received:?}");
    }
}

#[tokio::test]
async fn a_topic_of_exactly_the_limit_is_accepted() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        for topic in ["x".repeat(255), ["a"; 16].join("."), "é".repeat(127), "日本.😀".to_owned()] {
            client.subscribe(&topic).await;
            client.publish(&topic, json!(1)).await;
            assert_eq!(client.message().await["topic"], topic);
        }
    }
}

#[tokio::test]
async fn subscribing_with_a_position_reports_whether_anything_was_missed() {
    let running = Running::start();
    for (codec, topic) in Codec::ALL.into_iter().zip(["a", "b"]) {
        let mut client = running.client(codec).await;
        let position = client.publish(topic, json!(1)).await;
        let since = |position: &Value| json!({"type": "subscribe", "topic": topic, "since": position});
        assert_eq!(client.ok(since(&position)).await["recovered"], true);
        client.publish(topic, json!(2)).await;
        client.message().await;
        assert_eq!(client.ok(since(&position)).await["recovered"], false);
        let gap = client.push().await;
        let expected = json!({"type": "gap", "topic": topic, "from": 2, "to": 2, "reason": "expired"});
        assert_eq!(gap, expected);
        assert_eq!(client.ok(since(&json!({"epoch": "another", "offset": 2}))).await["recovered"], false);
        assert_eq!(client.push().await["reason"], "reset");
    }
}
