//! Both codecs against independent implementations: what they accept, what they refuse, and that nothing is altered.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use proptest::prelude::*;
use rialto_protocol::value::{Discard, ValueError, json, msgpack};
use rialto_protocol::{Codec, DEPTH_MAX, Encoding, ErrorCode, Frame, Operation, Payload, Request};
use serde_json::Value;

fn to_msgpack(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    json::read(text.as_bytes(), &mut msgpack::Writer::new(&mut out)).unwrap();
    out
}

fn to_json(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    msgpack::read(bytes, &mut json::Writer::new(&mut out)).unwrap();
    String::from_utf8(out).unwrap()
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::vec((".{0,8}", inner), 0..20).prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_value_survives_both_codecs(value in any_value()) {
        let text = value.to_string();
        let bytes = to_msgpack(&text);
        // An independent reader sees the same value in our bytes …
        let seen: Value = rmp_serde::from_slice(&bytes).unwrap();
        prop_assert_eq!(&seen, &value);
        // … and we see the same value in bytes that an independent writer made.
        let theirs = rmp_serde::to_vec_named(&value).unwrap();
        let back: Value = serde_json::from_str(&to_json(&theirs)).unwrap();
        prop_assert_eq!(&back, &value);
        let back: Value = serde_json::from_str(&to_json(&bytes)).unwrap();
        prop_assert_eq!(&back, &value);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = json::read(&bytes, &mut Discard);
        let _ = msgpack::read(&bytes, &mut Discard);
        for codec in Codec::ALL {
            let _ = Request::decode(codec, &bytes);
        }
    }

    #[test]
    fn a_cut_off_value_is_refused(value in any_value(), part in 0.0..1.0) {
        let bytes = to_msgpack(&value.to_string());
        let cut = (bytes.len() as f64 * part) as usize;
        prop_assert!(msgpack::read(&bytes[..cut], &mut Discard).is_err());
    }

    #[test]
    fn one_request_in_both_codecs_means_the_same(value in any_value(), topic in "[a-z.]{1,20}", id in 1u64..) {
        let request = serde_json::json!({"type": "publish", "id": id, "topic": topic, "data": value, "unknown": [1, {}]});
        let text = request.to_string();
        let bytes = rmp_serde::to_vec_named(&request).unwrap();
        let from_json = Request::decode(Codec::Json, text.as_bytes()).unwrap();
        let from_msgpack = Request::decode(Codec::MessagePack, &bytes).unwrap();
        prop_assert_eq!((from_json.id, from_msgpack.id), (Some(id), Some(id)));
        let (Operation::Publish(one), Operation::Publish(other)) = (from_json.operation, from_msgpack.operation) else {
            panic!("not a publish");
        };
        prop_assert_eq!(&one.topic, &other.topic);
        let payload = |payload: &Payload| match payload.encoding() {
            Encoding::Json => serde_json::from_slice::<Value>(payload.content()).unwrap(),
            _ => rmp_serde::from_slice(payload.content()).unwrap(),
        };
        prop_assert_eq!(payload(&one.payload), payload(&other.payload));
    }
}

#[test]
fn the_depth_limit_is_the_same_in_both_codecs() {
    for (depth, accepted) in [(0, true), (DEPTH_MAX, true), (DEPTH_MAX + 1, false), (100_000, false)] {
        let text = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let bytes: Vec<u8> = std::iter::repeat_n(0x91, depth).chain([1]).collect();
        let outcomes = (json::read(text.as_bytes(), &mut Discard), msgpack::read(&bytes, &mut Discard));
        if accepted {
            assert_eq!(outcomes, (Ok(()), Ok(())), "{depth}");
        } else {
            assert_eq!(outcomes, (Err(ValueError::Depth), Err(ValueError::Depth)), "{depth}");
        }
    }
}

#[test]
fn each_value_the_protocol_does_not_carry_is_refused() {
    for (bytes, expected) in [
        (&b""[..], ValueError::Truncated(0)),
        (&[0xc1], ValueError::Reserved(0)),
        (&[0x01, 0x02], ValueError::Trailing(1)),
        (&[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], ValueError::NotFinite(0)),
        (&[0xca, 0x7f, 0x80, 0, 0], ValueError::NotFinite(0)),
        (&[0x81, 0x01, 0x02], ValueError::Key(1)),
        (&[0xa1, 0xff], ValueError::Utf8(1)),
        (&[0xd4, 0x01, 0x00], ValueError::Extension(0)),
        (&[0xd6, 0xff, 0, 0, 0, 0], ValueError::Extension(0)),
        (&[0xdd, 0xff, 0xff, 0xff, 0xff], ValueError::Truncated(5)),
        (&[0xdf, 0xff, 0xff, 0xff, 0xff], ValueError::Truncated(5)),
        (&[0xdb, 0xff, 0xff, 0xff, 0xff], ValueError::Truncated(5)),
        (&[0xc6, 0xff, 0xff, 0xff, 0xff], ValueError::Truncated(5)),
    ] {
        assert_eq!(msgpack::read(bytes, &mut Discard), Err(expected), "{bytes:x?}");
    }
    let json_fault = |fault: &str, at| ValueError::Json { fault: fault.to_owned(), at };
    for (text, expected) in [
        (&b""[..], ValueError::Truncated(0)),
        (b"{", ValueError::Truncated(1)),
        (b"[1", ValueError::Truncated(2)),
        (b"\"\\", ValueError::Truncated(2)),
        (b"\"\\u12", ValueError::Truncated(5)),
        (b"tru", ValueError::Truncated(3)),
        (b"-", ValueError::Truncated(1)),
        (b"1.", ValueError::Truncated(2)),
        (b"1e+", ValueError::Truncated(3)),
        (b"1 2", ValueError::Trailing(2)),
        (b"1\n\n 2", ValueError::Trailing(4)),
        (b"NaN", json_fault("expected value", 0)),
        (b"'a'", json_fault("expected value", 0)),
        (b"+1", json_fault("expected value", 0)),
        (b"[\n1,\n\nx]", json_fault("expected value", 6)),
        (b"[1,]", json_fault("trailing comma", 3)),
        (b"{\"a\":1,}", json_fault("trailing comma", 7)),
        ("\u{feff}1".as_bytes(), json_fault("expected value", 0)),
        (b"-01", json_fault("invalid number", 2)),
        (b"[1 2]", json_fault("expected `,` or `]`", 3)),
        (b"[1}", json_fault("expected `,` or `]`", 2)),
        (b"{\"a\" 1}", json_fault("expected `:`", 5)),
        (b"\"a\nb\"", json_fault("control character (\\u0000-\\u001F) found while parsing a string", 2)),
        (b"\"\\n\0\"", json_fault("control character (\\u0000-\\u001F) found while parsing a string", 3)),
        (b"\"\\x\"", json_fault("invalid escape", 2)),
        (b"\"\\u00g0\"", json_fault("invalid escape", 6)),
        (b"{1:2}", ValueError::Key(1)),
        (b"{\"a\":1, null:2}", ValueError::Key(8)),
        (b"1e999", ValueError::NotFinite(4)),
        (b"[-1e999]", ValueError::NotFinite(6)),
        (b"\"\\ud800\"", ValueError::Surrogate(7)),
        (b"\"\\udc00\\ud800\"", ValueError::Surrogate(6)),
        (b"\"\\ud83dx\"", ValueError::Surrogate(7)),
        (b"\"\\ud83d\\n\"", ValueError::Surrogate(8)),
        (b"\"\\ud83d\\ud83d\"", ValueError::Surrogate(12)),
        (b"{\"\\ud800\":1}", ValueError::Surrogate(8)),
        (b"\"\\ud83d\\u0041\"", ValueError::Surrogate(12)),
        (b"\"ab\xff\"", ValueError::Utf8(3)),
        (b"\"\\n\xc3\"", ValueError::Utf8(3)),
    ] {
        let shown = String::from_utf8_lossy(text);
        assert_eq!(json::read(text, &mut Discard), Err(expected), "{shown}");
        assert!(serde_json::from_slice::<Value>(text).is_err(), "{shown} is JSON, say others");
    }
}

#[test]
fn bad_requests_say_what_is_wrong_and_keep_their_id() {
    for (text, id, part) in [
        (r#"[1]"#, None, "the frame is not a map"),
        (r#"{"id":1}"#, Some(1), "\"type\" is missing"),
        (r#"{"type":"nope","id":2}"#, Some(2), "\"nope\" is unknown"),
        (r#"{"type":"publish","id":3,"data":1}"#, Some(3), "\"topic\" is missing"),
        (r#"{"type":"publish","id":3,"topic":"a"}"#, Some(3), "\"data\" or \"bytes\" is missing"),
        (r#"{"type":"publish","id":3,"topic":"a","data":1,"bytes":"AA=="}"#, Some(3), "exclude each other"),
        (r#"{"type":"publish","id":3,"topic":"a","bytes":"!"}"#, Some(3), "\"bytes\" is not bytes"),
        (r#"{"type":"publish","id":3,"topic":5,"data":1}"#, Some(3), "\"topic\" is not a string"),
        (r#"{"type":"publish","id":3,"topic":"a","data":1e999}"#, Some(3), "\"data\""),
        (r#"{"type":"publish","id":3,"topic":"a","data":1,"echo":"no"}"#, Some(3), "\"echo\" is not true or false"),
        (r#"{"type":"ping","id":0}"#, None, "\"id\" is not a positive integer"),
        (r#"{"type":"ping","id":-1}"#, None, "\"id\" is not a positive integer"),
        (r#"{"type":"ping","id":"1"}"#, None, "\"id\" is not a positive integer"),
        (r#"{"type":"ping","id":1.5}"#, None, "\"id\" is not a positive integer"),
        (r#"{"type":"ping","id":1,"id":2}"#, None, "\"id\" stands twice"),
        (r#"{"type":"subscribe","id":4,"topics":[]}"#, Some(4), "\"topics\" is empty"),
        (r#"{"type":"subscribe","id":4,"topics":[{}]}"#, Some(4), "\"topic\" is missing"),
        (r#"{"type":"subscribe","id":4,"topic":"a","topics":[{"topic":"b"}]}"#, Some(4), "exclude each other"),
        (r#"{"type":"subscribe","id":4,"topic":"a","since":{"epoch":"e"}}"#, Some(4), "\"since\": field \"offset\""),
        (r#"{"type":"subscribe","id":4,"topic":"a","since":[]}"#, Some(4), "\"since\" is not a map"),
        (r#"{"type":"subscribe","id":4,"topics":[[]]}"#, Some(4), "\"topics\" is not a list of maps"),
        (r#"{"type":"call","id":5,"topic":"a"}"#, Some(5), "\"method\" is missing"),
        (r#"{"type":"call","id":5,"method":"m"}"#, Some(5), "\"topic\" and \"plugin\""),
    ] {
        let error = Request::decode(Codec::Json, text.as_bytes()).unwrap_err();
        assert_eq!((error.id, error.code), (id, ErrorCode::BadRequest), "{text}");
        assert!(error.message.contains(part), "{text}: {}", error.message);
        // The same shape in the other codec is refused in the same words, where JSON text allows it to be written.
        if let Ok(value) = serde_json::from_str::<Value>(text)
            && !text.contains(r#""id":1,"id""#)
            && !text.contains(r#""bytes":"#)
        {
            let error = Request::decode(Codec::MessagePack, &rmp_serde::to_vec_named(&value).unwrap()).unwrap_err();
            assert_eq!((error.id, error.code), (id, ErrorCode::BadRequest), "{text}");
            assert!(error.message.contains(part), "{text}: {}", error.message);
        }
    }
}

#[test]
fn an_id_is_repeated_wherever_it_stands_as_long_as_the_frame_is_json_up_to_there() {
    for (text, id, part) in [
        (r#"{"data":1e999,"id":7}"#, Some(7), "field \"data\": a number is not finite"),
        (r#"{"zzz":["\ud800"],"id":7}"#, Some(7), "field \"zzz\": half a surrogate pair"),
        (r#"{"\ud800":1,"id":7}"#, Some(7), "the frame: half a surrogate pair"),
        (r#"{"type":1,"type":2,"\u0069d":7}"#, Some(7), "field \"type\" stands twice"),
        (r#"{"id":7,"data":1e999,"id":8}"#, None, "field \"data\": a number is not finite"),
        (r#"{"id":7,"id":8,"id":9}"#, None, "field \"id\" stands twice"),
        (r#"{"id":1e999,"id":7}"#, None, "field \"id\": a number is not finite"),
        (r#"{"id":7}x"#, Some(7), "the frame: bytes after the value"),
        (r#"{"id":7,"data":NaN}"#, Some(7), "the frame: not valid JSON: expected value at byte 15"),
        (r#"{"id":7,5:1}"#, Some(7), "the frame: a map key is not a string"),
        (r#"{"id":7,"data":[1"#, Some(7), "the frame: the value is cut off"),
        (r#"{"data":1e999,"zzz":NaN,"id":7}"#, None, "field \"data\": a number is not finite"),
        (r#"{"data":NaN,"id":7}"#, None, "the frame: not valid JSON: expected value at byte 8"),
        (r#"{5:1,"id":7}"#, None, "the frame: a map key is not a string"),
        (r#"{"data":[1},"id":7}"#, None, "the frame: not valid JSON: expected `,` or `]` at byte 10"),
    ] {
        let error = Request::decode(Codec::Json, text.as_bytes()).unwrap_err();
        assert_eq!((error.id, error.code), (id, ErrorCode::BadRequest), "{text}: {error}");
        assert!(error.message.starts_with(part), "{text}: {}", error.message);
    }
}

#[test]
fn opaque_bytes_are_bin_in_messagepack_and_base64_in_json() {
    let payload = Payload::bytes(&[0u8, 255, 16][..]);
    let frame = Frame::Message { topic: "t", offset: 1, time: 2, from: None, payload: &payload };
    let mut text = Vec::new();
    frame.encode(Codec::Json, &mut text);
    assert_eq!(text, br#"{"type":"message","topic":"t","offset":1,"time":2,"bytes":"AP8Q"}"#);
    let mut bytes = Vec::new();
    frame.encode(Codec::MessagePack, &mut bytes);
    let seen = rmpv::decode::read_value(&mut &bytes[..]).unwrap();
    assert_eq!(seen["bytes"], rmpv::Value::Binary(vec![0, 255, 16]));
    let back = Request::decode(Codec::Json, br#"{"type":"publish","topic":"t","bytes":"AP8Q"}"#).unwrap();
    let Operation::Publish(publish) = back.operation else { panic!("not a publish") };
    assert_eq!(publish.payload, payload);
}
