//! MessagePack payloads: Rialto accepts exactly what rmpv reads and the protocol carries, and JSON subscribers are told
//! the same value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rialto_fuzz::tree::{Planter, Tree};
use rialto_protocol::value::{Discard, ValueError, json, msgpack};
use rialto_protocol::{Codec, DEPTH_MAX, Encoding, Frame, Payload};

fuzz_target!(|bytes: &[u8]| {
    let outcome = msgpack::read(bytes, &mut Discard);
    let carried = Tree::of_msgpack(bytes).filter(|tree| tree.depth() <= DEPTH_MAX);
    match (&outcome, &carried) {
        (Ok(()), Some(_)) | (Err(_), None) => {}
        // rmpv takes the byte that MessagePack never uses for nil.
        (Err(ValueError::Reserved(at) | ValueError::Key(at)), Some(_)) if bytes[*at] == 0xc1 => {}
        (ours, theirs) => panic!("Rialto says {ours:?}, rmpv reads {theirs:?}"),
    }
    let payload = Payload::new(Encoding::MessagePack, bytes.to_vec());
    assert_eq!(payload.as_ref().err(), outcome.as_ref().err(), "a payload is what the reader accepts");
    match outcome {
        Ok(()) => {}
        Err(error) => return assert!(is_so(&error, bytes), "{error}"),
    }
    let (payload, tree) = (payload.expect("compared above"), carried.expect("compared above"));
    let mut planter = Planter::default();
    msgpack::read(bytes, &mut planter).expect("it was read before");
    assert_eq!(planter.grown(), tree, "read from the bytes");

    let repacked = written(|out| msgpack::read(bytes, &mut msgpack::Writer::new(out)));
    assert_eq!(repacked, tree.to_msgpack(), "written as MessagePack, in its shortest forms");
    let told = tree.as_json_says_it();
    let text = written(|out| msgpack::read(bytes, &mut json::Writer::new(out)));
    assert_eq!(Tree::of_json(&text).as_ref(), Some(&told), "written as JSON");
    let back = written(|out| json::read(&text, &mut msgpack::Writer::new(out)));
    assert_eq!(Tree::of_msgpack(&back).as_ref(), Some(&told), "to JSON and back");

    for codec in Codec::ALL {
        let mut frame = Vec::new();
        Frame::Message { topic: "t", offset: 1, time: 2, from: None, payload: &payload }.encode(codec, &mut frame);
        let (frame, data) = match codec {
            Codec::Json => (Tree::of_json(&frame), &told),
            Codec::MessagePack => (Tree::of_msgpack(&frame), &tree),
        };
        let Some(Tree::Map(fields)) = frame else { panic!("a message in {codec:?} is {frame:?}") };
        assert_eq!(fields.last(), Some(&("data".to_owned(), data.clone())), "a message in {codec:?}");
    }
});

fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), ValueError>) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out).expect("it was read before");
    out
}

/// Whether an error names a byte that is there, and one that may be what it says.
fn is_so(error: &ValueError, bytes: &[u8]) -> bool {
    let at = |at: usize, may_be: fn(u8) -> bool| bytes.get(at).is_some_and(|byte| may_be(*byte));
    match *error {
        ValueError::Json { .. } | ValueError::Surrogate(_) | ValueError::Unwritable(_) => false,
        ValueError::Truncated(end) => end == bytes.len(),
        ValueError::Reserved(place) => at(place, |byte| byte == 0xc1),
        ValueError::Utf8(place) => bytes[place..].iter().any(|byte| !byte.is_ascii()),
        ValueError::Extension(place) => at(place, |byte| matches!(byte, 0xc7..=0xc9 | 0xd4..=0xd8)),
        ValueError::Key(place) => at(place, |byte| !matches!(byte, 0xa0..=0xbf | 0xd9..=0xdb)),
        ValueError::NotFinite(place) => at(place, |byte| matches!(byte, 0xca | 0xcb)),
        ValueError::Depth => bytes.len() > DEPTH_MAX,
        ValueError::Trailing(place) => 0 < place && place < bytes.len(),
    }
}
