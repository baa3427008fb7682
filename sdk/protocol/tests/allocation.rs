//! What decoding allocates, counted: one copy of the payload and no tree, and nothing for what is only announced. The JSON
//! reader keeps a byte for each level that is open.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use allocation_counter::{AllocationInfo, measure};
use rialto_protocol::{Codec, DEPTH_MAX, Encoding, Operation, Payload, Request};

const MIB: usize = 1 << 20;

/// Beside the payload: an error's sentence, a text with escapes.
const SMALL_BYTES: u64 = 4_096;

fn publish(codec: Codec, data: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Json => [br#"{"type":"publish","id":7,"topic":"t","data":"#, data, b"}"].concat(),
        Codec::MessagePack => [&b"\x84\xa4type\xa7publish\xa2id\x07\xa5topic\xa1t\xa4data"[..], data].concat(),
    }
}

/// What it takes to pass over so many levels: the JSON reader grows its room for them twofold, again and again.
fn levels_bytes(codec: Codec, levels: usize) -> u64 {
    match codec {
        Codec::Json => 2 * levels as u64,
        Codec::MessagePack => 0,
    }
}

/// Decodes a publish of the data and gives what that allocated.
fn decoding(codec: Codec, data: &[u8]) -> AllocationInfo {
    let frame = publish(codec, data);
    measure(|| {
        let request = Request::decode(codec, &frame).unwrap();
        let Operation::Publish(publish) = request.operation else { panic!("no publish") };
        assert_eq!(publish.payload.content().len(), data.len());
    })
}

/// About a mebibyte of small things that take far more room in a tree than in a frame.
fn amplifications() -> Vec<(&'static str, Codec, Vec<u8>)> {
    let json = |item: &str| format!("[{}]", vec![item; MIB / (item.len() + 1)].join(",")).into_bytes();
    let msgpack = |item: &[u8]| {
        let count = MIB / item.len();
        [&[0xdd][..], &(count as u32).to_be_bytes(), &item.repeat(count)].concat()
    };
    let deep = "[".repeat(DEPTH_MAX - 1) + &"]".repeat(DEPTH_MAX - 1);
    vec![
        ("maps of one", Codec::Json, json(r#"{"":0}"#)),
        ("empty maps", Codec::Json, json("{}")),
        ("numbers", Codec::Json, json("0")),
        ("empty texts", Codec::Json, json(r#""""#)),
        ("nests", Codec::Json, json(&deep)),
        ("maps of one", Codec::MessagePack, msgpack(b"\x81\xa0\x00")),
        ("empty maps", Codec::MessagePack, msgpack(b"\x80")),
        ("numbers", Codec::MessagePack, msgpack(b"\x00")),
        ("empty texts", Codec::MessagePack, msgpack(b"\xa0")),
        ("empty bins", Codec::MessagePack, msgpack(b"\xc4\x00")),
        ("nests", Codec::MessagePack, msgpack(&[&[0x91; DEPTH_MAX - 2][..], b"\x90"].concat())),
    ]
}

#[test]
fn a_payload_is_copied_once_and_never_becomes_a_tree() {
    for (what, codec, data) in amplifications() {
        let allocated = decoding(codec, &data);
        let most = data.len() as u64 + SMALL_BYTES;
        assert!(allocated.bytes_total <= most, "{} {what}: {allocated:?}", codec.name());
        assert!(allocated.count_total <= 4, "{} {what}: {allocated:?}", codec.name());
        assert_eq!(allocated.bytes_current, 0);
    }
}

#[test]
fn a_value_that_nothing_asks_for_is_not_even_copied() {
    for (what, codec, data) in amplifications() {
        let mut frame = publish(codec, &data);
        // The same frame with another field in place of the payload, which a ping has no use for.
        let at = frame.windows(4).position(|window| window == b"data").unwrap();
        frame[at..at + 4].copy_from_slice(b"zzzz");
        let at = frame.windows(7).position(|window| window == b"publish").unwrap();
        frame[at..at + 7].copy_from_slice(b"history");
        let allocated = measure(|| drop(Request::decode(codec, &frame).unwrap()));
        let most = levels_bytes(codec, DEPTH_MAX);
        assert!(allocated.bytes_total <= most, "{} {what}: {allocated:?}", codec.name());
    }
}

#[test]
fn texts_with_escapes_are_only_held_one_at_a_time() {
    let data = format!("[{}]", vec![r#""\n""#; MIB / 5].join(",")).into_bytes();
    let allocated = decoding(Codec::Json, &data);
    assert!(allocated.bytes_max <= data.len() as u64 + SMALL_BYTES, "{allocated:?}");
}

#[test]
fn lengths_with_nothing_behind_them_cost_nothing() {
    let announced = [("str", 0xdb_u8), ("bin", 0xc6), ("array", 0xdd), ("map", 0xdf), ("ext", 0xc9)];
    for (what, marker) in announced {
        for length in [u32::MAX, u32::MAX / 2, 1 << 20] {
            let value = [&[marker][..], &length.to_be_bytes()].concat();
            for behind in [&b""[..], b"\x01", b"\xa1a\x01"] {
                let value = [&value, behind].concat();
                let allocated = measure(|| drop(Payload::new(Encoding::MessagePack, value.clone()).unwrap_err()));
                assert!(allocated.bytes_total <= SMALL_BYTES, "{what} of {length}: {allocated:?}");
                for frame in [publish(Codec::MessagePack, &value), value.clone()] {
                    let allocated = measure(|| drop(Request::decode(Codec::MessagePack, &frame).unwrap_err()));
                    assert!(allocated.bytes_total <= SMALL_BYTES, "{what} of {length} in a frame: {allocated:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_refused_for_its_depth_costs_no_more_than_its_levels() {
    for (codec, open) in [(Codec::Json, &b"["[..]), (Codec::Json, b"{\"\":"), (Codec::MessagePack, b"\x91")] {
        let levels = MIB / open.len();
        let frame = publish(codec, &open.repeat(levels));
        let allocated = measure(|| drop(Request::decode(codec, &frame).unwrap_err()));
        let most = levels_bytes(codec, levels.next_power_of_two()) + SMALL_BYTES;
        assert!(allocated.bytes_total <= most, "{}: {allocated:?}", codec.name());
        let data = [&open.repeat(levels)[..], b"0"].concat();
        let allocated = measure(|| drop(Payload::new(Encoding::from(codec), data.clone()).unwrap_err()));
        assert!(allocated.bytes_total <= data.len() as u64 + SMALL_BYTES, "{}: {allocated:?}", codec.name());
    }
}
