//! Both codecs are one protocol: they accept the same frames, refuse the same ones in the same words, and mean the same. Only
//! of frames that are not JSON at all does that codec say just that.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

mod model;

use model::any::{self, Entries};
use model::{Key, Model, content, meaning, write};
use proptest::prelude::*;
use rialto_protocol::{Codec, Encoding, ErrorCode, Frame, Payload, Request, RequestError};
use serde_json::Value;

/// What the two codecs say to one frame, written in two of its many forms.
fn decode_both(entries: &Entries, seeds: [u64; 2]) -> [Result<Value, RequestError>; 2] {
    let frame = Model::Map(entries.clone());
    let [json, msgpack] = [0, 1].map(|index| write(Codec::ALL[index], &frame, seeds[index]));
    let json = Request::decode(Codec::Json, &json).map(|request| meaning(&request));
    [json, Request::decode(Codec::MessagePack, &msgpack).map(|request| meaning(&request))]
}

/// The id that an answer must repeat.
fn readable_id(entries: &[(Key, Model)]) -> Option<u64> {
    let mut ids = entries.iter().filter(|(key, _)| key.is("id"));
    match (ids.next(), ids.next()) {
        (Some((_, Model::Whole(id))), None) => u64::try_from(*id).ok().filter(|id| *id > 0),
        _ => None,
    }
}

/// The entries up to the first that JSON has no form for: more of a frame cannot be read there.
fn json_part(entries: &Entries) -> &[(Key, Model)] {
    let count = entries.iter().take_while(|(key, value)| key.is_json() && value.is_json()).count();
    &entries[..count]
}

/// What is said of a frame that is not JSON, if nothing was wrong before the place where that shows.
fn is_no_json(error: &RequestError) -> bool {
    let says = |what| error.message.starts_with(what);
    says("the frame: not valid JSON: expected value at byte ") || says("the frame: a map key is not a string (byte ")
}

/// An error without places, and without the one thing that each codec can do wrong in its own way.
fn words(error: &RequestError) -> String {
    let message = error.message.replace("half a surrogate pair", "a text is not UTF-8");
    let (what, place) = message.rsplit_once("byte ").unwrap_or((&message, ""));
    assert!(place.len() < 10, "{message}");
    what.to_owned()
}

/// Both codecs agree; gives what they agree on.
fn agreed(entries: &Entries, seeds: [u64; 2]) -> Result<Option<Value>, TestCaseError> {
    match decode_both(entries, seeds) {
        [Ok(one), Ok(other)] => {
            // As text, since 0.0 equals -0.0.
            prop_assert_eq!(one.to_string(), other.to_string());
            Ok(Some(one))
        }
        [Err(one), Err(other)] => {
            let in_json = json_part(entries);
            prop_assert_eq!((one.id, one.code), (readable_id(in_json), ErrorCode::BadRequest), "{}", one);
            prop_assert_eq!((other.id, other.code), (readable_id(entries), ErrorCode::BadRequest), "{}", other);
            if in_json.len() == entries.len() || !is_no_json(&one) {
                prop_assert_eq!(words(&one), words(&other));
            }
            Ok(None)
        }
        [json, msgpack] => Err(TestCaseError::fail(format!("JSON: {json:?}\nMessagePack: {msgpack:?}"))),
    }
}

/// The value of a field, as a JSON session would see it.
fn said(entries: &Entries, name: &str) -> Option<Value> {
    entries.iter().find(|(key, _)| key.is(name)).map(|(_, value)| value.seen())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_right_request_is_accepted_and_means_what_it_says(entries in any::request(), seeds in any::<[u64; 2]>()) {
        let Some(meant) = agreed(&entries, seeds)? else { panic!("refused: {:?}", decode_both(&entries, seeds)) };
        for name in ["type", "id", "token", "client", "instance", "user", "password", "data", "bytes", "key", "method", "plugin"] {
            if name != "data" || said(&entries, "bytes").is_none() {
                let (meant, said) = (meant.get(name).map(Value::to_string), said(&entries, name).map(|said| said.to_string()));
                prop_assert_eq!(meant, said, "{}", name);
            }
        }
        for name in ["topic", "since", "before", "limit", "last", "delivery", "echo", "presence"] {
            let Some(said) = said(&entries, name) else { continue };
            let meant = meant.get("topics").map_or(&meant, |topics| &topics[0]);
            prop_assert_eq!(&meant[name], &said, "{}", name);
        }
        if let (Some(Value::Array(said)), Some(Value::Array(meant))) = (said(&entries, "topics"), meant.get("topics")) {
            prop_assert_eq!(said.len(), meant.len());
            for (said, meant) in said.iter().zip(meant) {
                for (name, value) in said.as_object().unwrap() {
                    prop_assert_eq!(value, &meant[name], "{}", name);
                }
            }
        }
    }

    #[test]
    fn a_damaged_request_is_judged_alike((entries, is_sure) in any::damaged_request(), seeds in any::<[u64; 2]>()) {
        let outcome = agreed(&entries, seeds)?;
        prop_assert!(!(is_sure && outcome.is_some()), "accepted as {:?}", outcome);
    }

    #[test]
    fn a_wild_frame_is_judged_alike(entries in any::wild_frame(), seeds in any::<[u64; 2]>()) {
        let must_be_refused = entries.iter().any(|(key, value)| !matches!(key, Key::Text(_)) || !value.is_carried());
        let outcome = agreed(&entries, seeds)?;
        prop_assert!(!(must_be_refused && outcome.is_some()), "accepted as {:?}", outcome);
    }

    #[test]
    fn a_payload_keeps_its_meaning_in_either_codec_and_back(value in any::value(), seed in any::<u64>()) {
        let expected = value.seen().to_string();
        for codec in Codec::ALL {
            let payload = Payload::new(Encoding::from(codec), write(codec, &value, seed)).unwrap();
            prop_assert_eq!(content(&payload).to_string(), expected.as_str());
            // There, …
            for other in Codec::ALL {
                let across = carried(&payload, other);
                prop_assert_eq!(content(&across).to_string(), expected.as_str(), "{} in {}", codec.name(), other.name());
                // … and back.
                let back = carried(&across, codec);
                prop_assert_eq!(content(&back).to_string(), expected.as_str(), "{} and back", other.name());
            }
        }
    }

    #[test]
    fn what_is_not_carried_is_refused_in_either_codec(value in any::faulty_value(), seeds in any::<[u64; 2]>()) {
        for (codec, seed) in Codec::ALL.into_iter().zip(seeds) {
            let refused = Payload::new(Encoding::from(codec), write(codec, &value, seed));
            prop_assert!(refused.is_err(), "{}: {:?}", codec.name(), refused);
        }
    }
}

/// The payload as a session of the codec gets it.
fn carried(payload: &Payload, codec: Codec) -> Payload {
    let mut frame = Vec::new();
    Frame::Message { topic: "t", offset: 1, time: 2, from: None, payload }.encode(codec, &mut frame);
    // A message has the fields of a publish but for its type.
    let (pattern, kind): (&[u8], &[u8]) = (b"message", b"publish");
    let at = frame.windows(pattern.len()).position(|window| window == pattern).unwrap();
    frame[at..at + kind.len()].copy_from_slice(kind);
    match Request::decode(codec, &frame).unwrap().operation {
        rialto_protocol::Operation::Publish(publish) => publish.payload,
        other => panic!("{other:?}"),
    }
}
