//! JSON payloads: Rialto accepts exactly what RFC 8259 and its own depth rule allow, and alters nothing on the way to
//! MessagePack and back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rialto_fuzz::grammar::{self, Refusal};
use rialto_fuzz::tree::{Planter, Tree};
use rialto_protocol::value::{Discard, ValueError, json, msgpack};
use rialto_protocol::{Codec, DEPTH_MAX, Encoding, Frame, Payload};

fuzz_target!(|text: &[u8]| {
    let outcome = json::read(text, &mut Discard);
    match (&outcome, grammar::check(text, DEPTH_MAX)) {
        (Ok(()), Ok(())) | (Err(ValueError::Depth), Err(Refusal::Depth)) => {}
        // Whether the whole is UTF-8 is asked before how deep it goes.
        (Err(ValueError::Utf8(_)), Err(Refusal::Depth)) if std::str::from_utf8(text).is_err() => {}
        (Err(error), Err(Refusal::Text)) if *error != ValueError::Depth => {}
        (ours, reference) => panic!("Rialto says {ours:?}, RFC 8259 says {reference:?}"),
    }
    let payload = Payload::new(Encoding::Json, text.to_vec());
    assert_eq!(payload.as_ref().err(), outcome.as_ref().err(), "a payload is what the reader accepts");
    let Ok(payload) = payload else { return };
    let theirs = Tree::of_json(text).expect("serde_json accepts what the grammar does");
    assert!(theirs.depth() <= DEPTH_MAX);
    assert_eq!(read_json(text), theirs, "read from the text");

    let rewritten = written(|out| json::read(text, &mut json::Writer::new(out)));
    assert_eq!(Tree::of_json(&rewritten).as_ref(), Some(&theirs), "written as JSON");
    let packed = written(|out| json::read(text, &mut msgpack::Writer::new(out)));
    assert_eq!(Tree::of_msgpack(&packed).as_ref(), Some(&theirs), "written as MessagePack");
    let back = written(|out| msgpack::read(&packed, &mut json::Writer::new(out)));
    assert_eq!(back, rewritten, "to MessagePack and back");
    assert_eq!(packed, theirs.to_msgpack(), "MessagePack in its shortest forms");

    delivered(&payload, &theirs);
});

fn read_json(text: &[u8]) -> Tree {
    let mut planter = Planter::default();
    json::read(text, &mut planter).expect("it was read before");
    planter.grown()
}

fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), ValueError>) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out).expect("it was read before");
    out
}

/// A message with this payload is the same to subscribers of either codec.
fn delivered(payload: &Payload, data: &Tree) {
    let frame = Frame::Message { topic: "t", offset: 1, time: 2, from: None, payload };
    let envelope = [
        ("type", Tree::Text("message".into())),
        ("topic", Tree::Text("t".into())),
        ("offset", Tree::Unsigned(1)),
        ("time", Tree::Unsigned(2)),
        ("data", data.clone()),
    ];
    let whole = Tree::Map(envelope.map(|(key, value)| (key.to_owned(), value)).into());
    for (codec, read) in [(Codec::Json, Tree::of_json as fn(&[u8]) -> _), (Codec::MessagePack, Tree::of_msgpack)] {
        let mut bytes = Vec::new();
        frame.encode(codec, &mut bytes);
        assert_eq!(read(&bytes).as_ref(), Some(&whole), "a message in {codec:?}");
    }
}
