//! WebSocket frames: the close code of each violation, and unusual frames that are valid.

use rialto::Codec;
use serde_json::json;

use crate::support::raw::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, masked, promise, unmasked};
use crate::support::{Raw, Running, Wire, encode};
use crate::websocket::witness::Witness;

const RESERVED_BITS: [u8; 3] = [0x40, 0x20, 0x10];

/// A publish to the topic that the listener of [`each_closes`] has subscribed; it must never arrive.
fn publish(codec: Codec) -> Vec<u8> {
    encode(codec, &json!({"type": "publish", "topic": "t", "data": "must not arrive"}))
}

/// Sends each case in another session and expects the close code. Healthy sessions before and after are not affected, and
/// nothing is delivered.
async fn each_closes(codec: Codec, cases: Vec<(&str, Vec<u8>, u16)>) {
    let running = Running::start();
    let mut witness = Witness::new(&running).await;
    let mut listener = running.client(codec).await;
    listener.subscribe("t").await;
    for (what, bytes, code) in cases {
        let mut raw = running.raw(codec).await;
        raw.try_send(&bytes).await;
        let rest = raw.rest().await;
        let closed = rest.last().unwrap_or_else(|| panic!("{what}: dropped without a Close")).code();
        assert_eq!(closed, code, "{} {what}: {rest:?}", codec.name());
        assert_eq!(rest.len(), 1, "{what}: who breaks the rules of WebSocket gets a Close and nothing else");
        witness.is_well().await;
    }
    listener.ping().await;
    assert_eq!(listener.take_all(), Vec::<serde_json::Value>::new());
    listener.close().await;
    witness.close().await;
    running.becomes_empty().await;
}

fn data(codec: Codec) -> u8 {
    if codec == Codec::Json { TEXT } else { BINARY }
}

#[tokio::test]
async fn frames_that_rfc_6455_forbids_close_with_1002() {
    for codec in Codec::ALL {
        let (data, message) = (data(codec), publish(codec));
        let mut cases = vec![
            ("not masked", unmasked(FIN | data, &message), 1002),
            ("a ping that is not masked", unmasked(FIN | PING, b"x"), 1002),
            ("a close that is not masked", unmasked(FIN | CLOSE, &[3, 232]), 1002),
            ("an empty frame that is not masked", unmasked(FIN | data, b""), 1002),
            ("a continuation of nothing", masked(FIN | CONTINUATION, &message), 1002),
            ("a continuation of nothing that goes on", masked(CONTINUATION, &message), 1002),
            ("data inside data", [masked(data, b"x"), masked(FIN | data, &message)].concat(), 1002),
            ("a start inside data", [masked(data, b"x"), masked(data, b"x")].concat(), 1002),
            ("a ping in fragments", masked(PING, b"x"), 1002),
            ("a pong in fragments", masked(PONG, b"x"), 1002),
            ("a close in fragments", masked(CLOSE, &[3, 232]), 1002),
            ("a ping of 126 bytes", masked(FIN | PING, &[b'x'; 126]), 1002),
            ("a pong of 126 bytes", masked(FIN | PONG, &[b'x'; 126]), 1002),
            ("a close of 126 bytes", masked(FIN | CLOSE, &[&[3, 232][..], &[b'x'; 124]].concat()), 1002),
        ];
        let whole = masked(FIN | data, &message);
        let (key_and_payload, length) = (&whole[whole.len() - message.len() - 4..], message.len() as u64);
        let long = |marker: u8, length: &[u8]| [&[FIN | data, 0x80 | marker][..], length, key_and_payload].concat();
        cases.push(("a length of eight bytes that needs fewer", long(127, &length.to_be_bytes()), 1002));
        let short = masked(FIN | PING, b"x");
        cases.push((
            "a length of two bytes that needs one",
            [&[FIN | PING, 0xfe, 0, 1][..], &short[2..]].concat(),
            1002,
        ));
        cases.extend(RESERVED_BITS.map(|bit| ("a reserved bit", masked(FIN | bit | data, &message), 1002)));
        cases.extend(RESERVED_BITS.map(|bit| ("a reserved bit in a ping", masked(FIN | bit | PING, b"x"), 1002)));
        let opcodes = (0x3..=0x7).chain(0xb..=0xf);
        cases.extend(opcodes.map(|opcode| ("a reserved opcode", masked(FIN | opcode, b"x"), 1002)));
        each_closes(codec, cases).await;
    }
}

#[tokio::test]
async fn a_message_of_the_wrong_type_closes_with_1003() {
    each_closes(
        Codec::Json,
        vec![
            ("binary", masked(FIN | BINARY, &publish(Codec::Json)), 1003),
            ("MessagePack", masked(FIN | BINARY, &publish(Codec::MessagePack)), 1003),
            ("an empty binary", masked(FIN | BINARY, b""), 1003),
            ("binary in fragments", [masked(BINARY, b"{"), masked(FIN | CONTINUATION, b"}")].concat(), 1003),
        ],
    )
    .await;
    each_closes(
        Codec::MessagePack,
        vec![
            ("text", masked(FIN | TEXT, &publish(Codec::Json)), 1003),
            ("an empty text", masked(FIN | TEXT, b""), 1003),
            ("text in fragments", [masked(TEXT, b"{"), masked(FIN | CONTINUATION, b"}")].concat(), 1003),
        ],
    )
    .await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_closes_with_1007() {
    let whole = |bytes: &[u8]| masked(FIN | TEXT, bytes);
    let halves = |one: &[u8], two: &[u8]| [masked(TEXT, one), masked(FIN | CONTINUATION, two)].concat();
    each_closes(
        Codec::Json,
        vec![
            ("a lone byte", whole(b"{\"type\":\"ping\",\"data\":\"\xff\"}"), 1007),
            ("an overlong form", whole(b"\"\xc0\xaf\""), 1007),
            ("a surrogate", whole(b"\"\xed\xa0\x80\""), 1007),
            ("beyond Unicode", whole(b"\"\xf4\x90\x80\x80\""), 1007),
            ("half a character at the end", whole(b"{\"type\":\"ping\"}\xe2\x82"), 1007),
            ("half a character at the end of fragments", halves(b"{\"type\":\"ping\"}\xe2", b"\x82"), 1007),
            ("half a character between fragments", halves(b"\"\xe2\x82", b"\""), 1007),
            ("a lone byte in the second fragment", halves(b"\"", b"\xff\""), 1007),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_announced_length_over_the_limit_closes_with_1009() {
    for codec in Codec::ALL {
        let data = data(codec);
        let large = vec![b' '; 65_537];
        let half = vec![b' '; 40_000];
        let mut many = masked(data, b"");
        many.extend(masked(CONTINUATION, b"").repeat(300));
        let mut growing = masked(data, &half);
        growing.extend(masked(FIN | CONTINUATION, &half));
        each_closes(
            codec,
            vec![
                ("a byte over the limit", masked(FIN | data, &large), 1009),
                ("a promise over the limit", promise(FIN | data, 65_537), 1009),
                ("a promise of 4 GiB", promise(FIN | data, 1 << 32), 1009),
                ("a promise beyond all numbers", promise(FIN | data, (1 << 63) + 5), 1009),
                ("a promise of everything", promise(FIN | data, u64::MAX), 1009),
                ("fragments over the limit together", growing, 1009),
                ("too many fragments", many, 1009),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn a_message_may_come_in_fragments_cut_anywhere_with_pings_between() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut listener = running.client(codec).await;
        listener.subscribe("t").await;
        let mut raw = running.raw(codec).await;
        let text = "aé€😀\u{10ffff}";
        let message = encode(codec, &json!({"type": "publish", "topic": "t", "data": text}));
        for cut in 0..=message.len() {
            let mut bytes = masked(data(codec), &message[..cut]);
            bytes.extend(masked(FIN | PING, &[cut as u8]));
            bytes.extend(masked(CONTINUATION, b""));
            bytes.extend(masked(FIN | CONTINUATION, &message[cut..]));
            raw.send(&bytes).await;
            assert_eq!(raw.frame().await, Some(Wire { opcode: PONG, payload: vec![cut as u8] }));
            assert_eq!(listener.message().await["data"], text, "{} cut at {cut}", codec.name());
        }
        // Every byte a fragment of its own.
        let mut bytes = masked(data(codec), b"");
        for byte in &message {
            bytes.extend(masked(CONTINUATION, &[*byte]));
        }
        bytes.extend(masked(FIN | CONTINUATION, b""));
        raw.send(&bytes).await;
        assert_eq!(listener.message().await["data"], text);
    }
}

#[tokio::test]
async fn bytes_may_arrive_one_by_one() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut raw = running.raw(codec).await;
        let request = encode(codec, &json!({"type": "ping", "id": 5, "data": "é"}));
        for byte in masked(FIN | data(codec), &request).chunks(1) {
            raw.send(byte).await;
        }
        let pong = raw.frame_value().await;
        assert_eq!((&pong["type"], &pong["data"]), (&json!("pong"), &json!("é")));
    }
}

#[tokio::test]
async fn many_frames_may_arrive_at_once_even_with_the_upgrade() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut first = Vec::new();
        for id in 1..=100 {
            let request = encode(codec, &json!({"type": "ping", "id": id}));
            first.extend(masked(FIN | data(codec), &request));
        }
        let mut raw = Raw::connect_eager(running.address, codec, &first).await;
        for id in 1..=100 {
            assert_eq!(raw.frame_value().await["id"], id);
        }
    }
}

#[tokio::test]
async fn pings_are_answered_with_their_payload_and_pongs_are_not_answered() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut raw = running.raw(codec).await;
        let longest = [0xff; 125];
        for payload in [&b""[..], b"x", b"\x00\xff\xc1", &longest] {
            raw.send(&masked(FIN | PONG, payload)).await;
            raw.send(&masked(FIN | PING, payload)).await;
            assert_eq!(raw.frame().await, Some(Wire { opcode: PONG, payload: payload.to_vec() }));
        }
    }
}

#[tokio::test]
async fn an_empty_text_is_a_bad_request_and_does_not_close() {
    let running = Running::start();
    let mut raw = running.raw(Codec::Json).await;
    raw.send(&masked(FIN | TEXT, b"")).await;
    assert_eq!(raw.frame_value().await["code"], "bad_request");
    raw.request(&json!({"type": "ping", "id": 1})).await;
    assert_eq!(raw.frame_value().await["type"], "pong");
}
