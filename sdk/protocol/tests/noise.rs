//! Bytes that nobody meant: no decoder panics, what it takes is what others read in it, and what it took it takes again.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

mod model;

use std::cell::Cell;

use model::any::{self, Entries};
use model::{DEPTH_MAX, Model, meaning, write};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rialto_protocol::value::{Discard, ValueError, json, msgpack};
use rialto_protocol::{Codec, Request};
use serde_json::Value;

/// One small injury.
#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Set(Index, u8),
    Remove(Index, usize),
    Repeat(Index, usize),
    Insert(Index, Vec<u8>),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    // Bytes that mean much in one codec or the other.
    let telling = b"{}[],:\"\\eE.-0 \x00\x01\x0f\x7f\x80\x81\x8f\x90\x91\xa0\xa1\xbf\xc0\xc1\xc4\xc7\xca\xcb\xcf\xd4\xd9\xdb\xdc\xdd\xde\xdf\xff";
    let place = any::<Index>;
    prop_oneof![
        (place(), 0..8_u8).prop_map(|(place, bit)| Damage::Flip(place, 1 << bit)),
        (place(), select(telling.to_vec())).prop_map(|(place, byte)| Damage::Set(place, byte)),
        (place(), 1..4_usize).prop_map(|(place, length)| Damage::Remove(place, length)),
        (place(), 1..30_usize).prop_map(|(place, length)| Damage::Repeat(place, length)),
        (place(), vec(select(telling.to_vec()), 1..4)).prop_map(|(place, bytes)| Damage::Insert(place, bytes)),
        place().prop_map(Damage::Cut),
    ]
}

impl Damage {
    fn inflict(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        let span = |place: &Index, span: usize| place.index(length)..length.min(place.index(length) + span);
        match self {
            Self::Flip(place, bit) => bytes[place.index(length)] ^= bit,
            Self::Set(place, byte) => bytes[place.index(length)] = *byte,
            Self::Remove(place, count) => drop(bytes.drain(span(place, *count))),
            Self::Repeat(place, count) => {
                let again = bytes[span(place, *count)].to_vec();
                bytes.splice(place.index(length)..place.index(length), again);
            }
            Self::Insert(place, more) => drop(bytes.splice(place.index(length)..place.index(length), more.clone())),
            Self::Cut(place) => bytes.truncate(place.index(length)),
        }
    }
}

/// Decodes; what is accepted is written again in both codecs, and decodes to the same. Says whether it was accepted.
fn holds(codec: Codec, bytes: &[u8], seed: u64) -> Result<bool, TestCaseError> {
    let Ok(request) = Request::decode(codec, bytes) else { return Ok(false) };
    let meant = meaning(&request);
    for other in Codec::ALL {
        let again = write(other, &frame(&meant), seed);
        match Request::decode(other, &again) {
            Ok(request) => prop_assert_eq!(meaning(&request).to_string(), meant.to_string()),
            Err(error) => return Err(TestCaseError::fail(format!("{meant} in {}: {error}", other.name()))),
        }
    }
    Ok(true)
}

/// The frame that says what was meant.
fn frame(meant: &Value) -> Model {
    let Model::Map(mut entries) = Model::from(meant) else { panic!("{meant} is no frame") };
    for (key, value) in &mut entries {
        if let (true, Value::String(text)) = (key.is("bytes"), value.seen()) {
            *value = Model::bytes(&text);
        }
    }
    Model::Map(entries)
}

/// What a reader that is not under test makes of MessagePack: one value that is carried, or not.
fn is_carried_msgpack(mut bytes: &[u8]) -> bool {
    fn is_carried(value: &rmpv::Value, depth_left: usize) -> bool {
        match value {
            rmpv::Value::Ext(..) => false,
            rmpv::Value::String(text) => text.is_str(),
            rmpv::Value::F32(number) => number.is_finite(),
            rmpv::Value::F64(number) => number.is_finite(),
            rmpv::Value::Array(items) => depth_left > 0 && items.iter().all(|item| is_carried(item, depth_left - 1)),
            rmpv::Value::Map(entries) => {
                let is_good = |(key, value): &(rmpv::Value, rmpv::Value)| {
                    key.as_str().is_some() && is_carried(value, depth_left - 1)
                };
                depth_left > 0 && entries.iter().all(is_good)
            }
            _ => true,
        }
    }
    let value = rmpv::decode::read_value_with_max_depth(&mut bytes, 1_000);
    value.is_ok_and(|value| bytes.is_empty() && is_carried(&value, DEPTH_MAX))
}

fn agrees_with_others(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (ours, theirs) = (json::read(bytes, &mut Discard), serde_json::from_slice::<Value>(bytes));
    // They allow more depth than we do.
    if ours != Err(ValueError::Depth) {
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} but {:?}", ours, theirs);
    }
    let ours = msgpack::read(bytes, &mut Discard);
    // They take the byte that is never used for nil.
    if !matches!(ours, Err(ValueError::Reserved(_))) {
        prop_assert_eq!(ours.is_ok(), is_carried_msgpack(bytes), "{:?}", ours);
    }
    Ok(())
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() }
}

/// Runs one property and makes sure that it came across enough that was accepted, and enough that was not.
fn both_come_up<S: Strategy>(strategy: &S, property: impl Fn(S::Value) -> Result<bool, TestCaseError>) {
    let counts = Cell::new([0_u32; 2]);
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let outcome = runner.run(strategy, |value| {
        let mut now = counts.get();
        now[usize::from(property(value)?)] += 1;
        counts.set(now);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let [refused, accepted] = counts.get();
    assert!(
        refused >= 50 && accepted >= 50,
        "{refused} refused, {accepted} accepted: the damage is too much or too little"
    );
}

fn damaged(codec: Codec) -> impl Strategy<Value = (Vec<u8>, u64)> {
    let frame = |entries: Entries| Model::Map(entries);
    (any::request().prop_map(frame), vec(damage(), 0..4), any::<u64>()).prop_map(move |(frame, damages, seed)| {
        let mut bytes = write(codec, &frame, seed);
        for damage in damages {
            damage.inflict(&mut bytes);
        }
        (bytes, seed)
    })
}

#[test]
fn a_damaged_json_frame_is_refused_or_means_something_that_can_be_said_again() {
    both_come_up(&damaged(Codec::Json), |(bytes, seed)| {
        agrees_with_others(&bytes)?;
        holds(Codec::Json, &bytes, seed)
    });
}

#[test]
fn a_damaged_msgpack_frame_is_refused_or_means_something_that_can_be_said_again() {
    both_come_up(&damaged(Codec::MessagePack), |(bytes, seed)| {
        agrees_with_others(&bytes)?;
        holds(Codec::MessagePack, &bytes, seed)
    });
}

#[test]
fn damaged_values_are_taken_as_others_take_them() {
    for codec in Codec::ALL {
        let value = (any::value(), vec(damage(), 0..3), any::<u64>());
        both_come_up(&value, |(value, damages, seed)| {
            let mut bytes = write(codec, &value, seed);
            for damage in damages {
                damage.inflict(&mut bytes);
            }
            agrees_with_others(&bytes)?;
            Ok(match codec {
                Codec::Json => json::read(&bytes, &mut Discard).is_ok(),
                Codec::MessagePack => msgpack::read(&bytes, &mut Discard).is_ok(),
            })
        });
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes_are_judged_as_others_judge_them(bytes in vec(any::<u8>(), 0..60)) {
        agrees_with_others(&bytes)?;
        for codec in Codec::ALL {
            holds(codec, &bytes, 1)?;
        }
    }

    #[test]
    fn pieces_of_json_are_judged_as_others_judge_them(pieces in vec(select(JSON.to_vec()), 0..12)) {
        let text = pieces.concat();
        agrees_with_others(text.as_bytes())?;
        holds(Codec::Json, text.as_bytes(), 1)?;
        let frame = format!("{{\"id\":7,\"type\":\"ping\",\"data\":{text}}}");
        holds(Codec::Json, frame.as_bytes(), 1)?;
    }
}

/// Pieces that JSON is made of, and some that it is not.
const JSON: [&str; 48] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\"\"",
    "\"a\"",
    "\"id\"",
    "\"\\",
    "\\\"",
    "\\u",
    "\\ud83d",
    "\\ude00",
    "00e9",
    "\\n",
    "\\x",
    "é",
    "\u{0}",
    "\u{1f}",
    "\u{7f}",
    "\u{feff}",
    " ",
    "\n",
    "\t\r",
    "\u{a0}",
    "0",
    "00",
    "1",
    "-",
    "-0",
    "+",
    ".",
    ".5",
    "1.",
    "e",
    "E9",
    "e+",
    "1e999",
    "18446744073709551616",
    "-9223372036854775809",
    "true",
    "false",
    "null",
    "nul",
    "NaN",
    "//",
];
