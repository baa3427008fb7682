//! The rules for values, which are the same in both codecs and in every place of a frame.

use rialto::Codec;
use serde_json::json;

use crate::support::raw::{FIN, masked};
use crate::support::{Client, Running, decode};
use crate::websocket::witness::Witness;

/// A map of encoded values, valid or not.
fn map(codec: Codec, entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let parts = entries.iter().map(|(key, value)| match codec {
        Codec::Json => [format!("\"{key}\":").as_bytes(), value].concat(),
        Codec::MessagePack => [&[0xa0 | key.len() as u8], key.as_bytes(), value].concat(),
    });
    let parts: Vec<Vec<u8>> = parts.collect();
    match codec {
        Codec::Json => [b"{", &parts.join(&b',')[..], b"}"].concat(),
        Codec::MessagePack => [&[0x80 | parts.len() as u8], &parts.concat()[..]].concat(),
    }
}

fn text(codec: Codec, text: &str) -> Vec<u8> {
    match codec {
        Codec::Json => format!("\"{text}\"").into_bytes(),
        Codec::MessagePack => [&[0xa0 | text.len() as u8], text.as_bytes()].concat(),
    }
}

fn array(codec: Codec, inner: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Json => [b"[", inner, b"]"].concat(),
        Codec::MessagePack => [&[0x91], inner].concat(),
    }
}

fn nested(codec: Codec, depth: usize) -> Vec<u8> {
    let empty = if codec == Codec::Json { &b"[]"[..] } else { b"\x90" };
    (1..depth).fold(empty.to_vec(), |inner, _| array(codec, &inner))
}

/// Invalid values, each with a part of its error message.
fn faults(codec: Codec) -> Vec<(&'static str, Vec<u8>)> {
    let is_json = codec == Codec::Json;
    let either = |json: &'static [u8], msgpack: &'static [u8]| if is_json { json.to_vec() } else { msgpack.to_vec() };
    let mut faults = vec![
        ("nested deeper than 32", nested(codec, 33)),
        ("nested deeper than 32", nested(codec, 1_000)),
        ("not finite", either(b"1e999", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00")),
        ("not finite", either(b"-1e999", b"\xca\xff\x80\x00\x00")),
        ("key is not a string", either(b"{1:2}", b"\x81\x01\x02")),
        ("key is not a string", either(b"[{\"a\":{null:2}}]", b"\x91\x81\xa1a\x81\xc0\x02")),
    ];
    faults.extend(if is_json {
        vec![("half a surrogate pair", br#""\ud800""#.to_vec()), ("half a surrogate pair", br#"{"\udc00":1}"#.to_vec())]
    } else {
        vec![
            ("not UTF-8", b"\xa2\xff\xfe".to_vec()),
            ("not UTF-8", b"\x81\xa1\xff\x01".to_vec()),
            ("extension", b"\xd4\x05x".to_vec()),
            ("extension", b"\x91\xd6\xff\x00\x00\x00\x00".to_vec()),
            ("0xc1", b"\xc1".to_vec()),
        ]
    });
    faults
}

/// Frames that are valid but for one value, with the value in every place.
fn frames_around(codec: Codec, value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let id = if codec == Codec::Json { b"700".to_vec() } else { b"\xcd\x02\xbc".to_vec() };
    let (one, value) = (if codec == Codec::Json { b"1".to_vec() } else { b"\x01".to_vec() }, value.to_vec());
    let say = |said: &str| text(codec, said);
    let since = map(codec, &[("epoch", say("e")), ("offset", one.clone()), ("zzz", value.clone())]);
    let delivery = map(codec, &[("policy", say("latest")), ("zzz", value.clone())]);
    let topics = array(codec, &map(codec, &[("topic", say("t")), ("zzz", value.clone())]));
    // The id is last: what is before it must not hide it.
    let publish = |field| {
        map(
            codec,
            &[
                ("data", one.clone()),
                ("topic", say("t")),
                (field, value.clone()),
                ("type", say("publish")),
                ("id", id.clone()),
            ],
        )
    };
    let subscribe = |field, held: &Vec<u8>| {
        map(codec, &[("topic", say("t")), (field, held.clone()), ("type", say("subscribe")), ("id", id.clone())])
    };
    vec![
        (
            "payload",
            map(codec, &[("data", value.clone()), ("topic", say("t")), ("type", say("publish")), ("id", id.clone())]),
        ),
        ("payload of a ping", map(codec, &[("data", value.clone()), ("type", say("ping")), ("id", id.clone())])),
        ("unknown field", publish("zzz")),
        ("field for other operations", publish("since")),
        ("field for other maps", publish("epoch")),
        ("in \"since\"", subscribe("since", &since)),
        ("in \"delivery\"", subscribe("delivery", &delivery)),
        (
            "in an item of \"topics\"",
            map(codec, &[("topics", topics), ("type", say("unsubscribe")), ("id", id.clone())]),
        ),
    ]
}

#[tokio::test]
async fn an_invalid_value_is_rejected_anywhere_in_a_frame_and_reported_to_its_sender_only() {
    let running = Running::start();
    let mut witness = Witness::new(&running).await;
    let mut readers: Vec<Client> = Vec::new();
    for codec in Codec::ALL {
        let mut reader = running.client(codec).await;
        reader.subscribe("t").await;
        readers.push(reader);
    }
    for codec in Codec::ALL {
        let mut session = running.client(codec).await;
        for (part, value) in faults(codec) {
            for (place, frame) in frames_around(codec, &value) {
                let what = format!("{} {part} as {place}", codec.name());
                session.send_bytes(frame).await;
                session.ping().await;
                let received = session.take_all();
                assert_eq!(received.len(), 1, "{what}: {received:?}");
                // The id is last, and cannot be read in a frame that is invalid JSON before it.
                let is_frame = codec == Codec::MessagePack || part != "key is not a string";
                let id = if is_frame { json!(700) } else { json!(null) };
                let expected = (&json!("error"), &json!("bad_request"), &id);
                assert_eq!(
                    (&received[0]["type"], &received[0]["code"], &received[0]["id"]),
                    expected,
                    "{what}: {received:?}"
                );
                assert!(received[0]["message"].as_str().unwrap().contains(part), "{what}: {received:?}");
            }
            witness.is_well().await;
        }
        session.publish("t", json!(codec.name())).await;
        for reader in &mut readers {
            assert_eq!(reader.message().await["data"], codec.name(), "no refused message comes before this");
            assert_eq!(reader.take_all(), Vec::<serde_json::Value>::new());
        }
    }
}

#[tokio::test]
async fn a_value_at_the_limit_is_accepted_in_every_place_of_a_frame() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut session = running.client(codec).await;
        // The values of "since", "delivery" and "topics" begin one or two levels further out.
        for (place, frame) in frames_around(codec, &nested(codec, 30)) {
            session.send_bytes(frame).await;
            let reply = session.reply(700).await;
            assert_ne!(reply["type"], "error", "{} {place}: {reply}", codec.name());
        }
    }
}

#[tokio::test]
async fn an_unknown_field_may_be_duplicated() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut session = running.client(codec).await;
        let (one, other) = (text(codec, "one"), text(codec, "other"));
        let frame = map(codec, &[("zzz", one), ("type", text(codec, "ping")), ("zzz", other.clone()), ("data", other)]);
        session.send_bytes(frame).await;
        let pong = session.push().await;
        assert_eq!((&pong["type"], &pong["data"]), (&json!("pong"), &json!("other")));
    }
}

/// A mebibyte of `[{"":0},…]`: a tree of it would be many times as large.
fn amplification(codec: Codec, bytes: usize) -> Vec<u8> {
    match codec {
        Codec::Json => format!("[{}]", vec![r#"{"":0}"#; bytes / 7].join(",")).into_bytes(),
        Codec::MessagePack => {
            let count = bytes / 3;
            [&[0xdd][..], &(count as u32).to_be_bytes(), &b"\x81\xa0\x00".repeat(count)].concat()
        }
    }
}

#[tokio::test]
async fn a_payload_of_a_mebibyte_of_small_maps_arrives_unchanged() {
    let running = Running::with(|config| {
        config.limits.message_bytes = 1 << 20;
        config.limits.outbox_bytes = 4 << 20;
    });
    let mut witness = Witness::new(&running).await;
    for codec in Codec::ALL {
        let mut raw = running.raw(codec).await;
        raw.request(&json!({"type": "subscribe", "topic": codec.name(), "id": 1})).await;
        assert_eq!(raw.frame_value().await["type"], "ok");
        let data = amplification(codec, (1 << 20) - 200);
        for (kind, field) in [("publish", "data"), ("history", "zzz")] {
            let frame =
                map(codec, &[("type", text(codec, kind)), ("topic", text(codec, codec.name())), (field, data.clone())]);
            raw.send(&masked(FIN | raw.data_opcode(), &frame)).await;
            let answer = raw.frame().await.expect("an answer");
            if kind == "publish" {
                let arrived = answer.payload.windows(data.len()).any(|window| window == data);
                assert!(arrived, "{}: {} bytes arrived", codec.name(), answer.payload.len());
            } else {
                assert_eq!(decode(codec, &answer.payload)["code"], "unavailable");
            }
            witness.is_well().await;
        }
    }
}

#[tokio::test]
async fn whole_numbers_beyond_64_bits_and_minus_zero_are_doubles() {
    let running = Running::start();
    let [mut json_client, mut msgpack_client] =
        [running.client(Codec::Json).await, running.client(Codec::MessagePack).await];
    msgpack_client.subscribe("t").await;
    for (number, double) in [
        ("1234567890123456789012345678901234567890", 1.234_567_890_123_456_8e39),
        ("18446744073709551616", 18_446_744_073_709_551_616.0),
        ("-9223372036854775809", -9_223_372_036_854_775_808.0),
        ("-0", -0.0),
        ("1e-999", 0.0),
        ("0.1e1", 1.0),
    ] {
        let frame = format!(r#"{{"type":"publish","topic":"t","data":{number}}}"#);
        json_client.send_bytes(frame.into_bytes()).await;
        let arrived = msgpack_client.message().await["data"].clone();
        assert!(arrived.is_f64(), "{number} became {arrived}");
        assert_eq!(arrived.as_f64().unwrap().to_bits(), f64::to_bits(double), "{number} became {arrived}");
    }
}
