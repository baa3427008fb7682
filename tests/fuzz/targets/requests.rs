//! Requests: whatever the bytes, Rialto answers instead of failing, briefly; and the same request means the same in
//! either codec.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use libfuzzer_sys::fuzz_target;
use rialto_fuzz::tree::Tree;
use rialto_protocol::{Codec, Encoding, ErrorCode, Operation, Payload, Request, RequestError};

/// An error repeats at most a few words of the request.
const SAID_BYTES_MAX: usize = 512;

/// The fields that are a payload; everywhere else a `bin` stands where only text may.
const PAYLOADS: [&str; 2] = ["data", "bytes"];

fuzz_target!(|input: &[u8]| {
    let [codec, frame @ ..] = input else { return };
    let codec = if codec & 1 == 0 { Codec::Json } else { Codec::MessagePack };
    let outcome = Request::decode(codec, frame);
    if let Err(error) = &outcome {
        assert_eq!(error.code, ErrorCode::BadRequest);
        let said = &error.message;
        assert!(said.len() <= SAID_BYTES_MAX, "{} bytes: {said}", said.len());
        assert!(!said.chars().any(char::is_control), "{said:?}");
    }
    let (other, translated) = match codec {
        Codec::Json => (Codec::MessagePack, Tree::of_json(frame).map(with_bin).map(|tree| tree.to_msgpack())),
        Codec::MessagePack => (Codec::Json, Tree::of_msgpack(frame).filter(has_json_form).map(|tree| tree.to_json())),
    };
    let Some(translated) = translated else { return };
    // rmpv takes the byte that MessagePack never uses for nil.
    if outcome.as_ref().is_err_and(|error| error.message.contains("reserved byte 0xc1")) {
        return assert!(frame.contains(&0xc1));
    }
    let decoded = Request::decode(other, &translated);
    assert_eq!(meaning(&outcome), meaning(&decoded), "{other:?}: {}", translated.escape_ascii());
});

/// A request without the way in which its payload is written.
#[derive(Debug, PartialEq)]
enum Meaning<'b> {
    Asked(Option<u64>, Operation<'b>, Option<Tree>),
    Refused(Option<u64>, ErrorCode),
}

fn meaning<'b>(outcome: &Result<Request<'b>, RequestError>) -> Meaning<'b> {
    match outcome {
        Err(error) => Meaning::Refused(error.id, error.code),
        Ok(Request { id, operation }) => {
            let mut operation = operation.clone();
            let payload = match &mut operation {
                Operation::Publish(publish) => Some(std::mem::replace(&mut publish.payload, Payload::bytes(""))),
                Operation::Call(call) => call.payload.take(),
                Operation::Ping(payload) => payload.take(),
                _ => None,
            };
            Meaning::Asked(*id, operation, payload.as_ref().map(content))
        }
    }
}

fn content(payload: &Payload) -> Tree {
    let content = payload.content();
    match payload.encoding() {
        Encoding::Json => Tree::of_json(content).expect("an accepted payload is JSON"),
        Encoding::MessagePack => {
            Tree::of_msgpack(content).expect("an accepted payload is MessagePack").as_json_says_it()
        }
        Encoding::Bytes => Tree::Bytes(content.to_vec()),
    }
}

/// A JSON request with its `bytes` as MessagePack has them.
fn with_bin(tree: Tree) -> Tree {
    let Tree::Map(entries) = tree else { return tree };
    let entries = entries.into_iter().map(|(key, value)| match value {
        Tree::Text(text) if key == "bytes" => (key, BASE64.decode(&text).map_or(Tree::Text(text), Tree::Bytes)),
        value => (key, value),
    });
    Tree::Map(entries.collect())
}

/// Whether a MessagePack request can be said in JSON: there `bin` is text, so it must stand where both are told apart.
fn has_json_form(tree: &Tree) -> bool {
    let Tree::Map(entries) = tree else { return !tree.has_bytes() };
    entries.iter().all(|(key, value)| match value {
        Tree::Text(_) => key != "bytes",
        value => PAYLOADS.contains(&key.as_str()) || !value.has_bytes(),
    })
}
