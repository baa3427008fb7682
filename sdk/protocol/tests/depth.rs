//! Nesting without end: refused at the limit, on a stack with no room for many levels, with and without optimisation.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use rialto_protocol::value::ValueError;
use rialto_protocol::{Codec, DEPTH_MAX, Encoding, Payload, Request};

/// Runs something where deep recursion would end the process. The JSON reader calls itself once for each level that is
/// carried, which must fit what a thread has; the MessagePack reader does not, and gets a thirty-second part of that.
fn on_a_small_stack<T: Send + 'static>(codec: Codec, run: impl FnOnce() -> T + Send + 'static) -> T {
    let stack_bytes = match codec {
        Codec::Json => 2 << 20,
        Codec::MessagePack => 64 << 10,
    };
    std::thread::Builder::new().stack_size(stack_bytes).spawn(run).unwrap().join().unwrap()
}

/// What opens a level and what closes it again, in each codec.
const LEVELS: [(Codec, &[u8], &[u8]); 6] = [
    (Codec::Json, b"[", b"]"),
    (Codec::Json, b"{\"\":", b"}"),
    (Codec::Json, b" [ 0 , ", b" , 0 ]"),
    (Codec::MessagePack, b"\x91", b""),
    (Codec::MessagePack, b"\x81\xa0", b""),
    (Codec::MessagePack, b"\xdc\x00\x03\x00", b"\x00"),
];

/// The smallest value inside so many levels, closed or left open.
fn nested(codec: Codec, (open, close): (&[u8], &[u8]), depth: usize, is_closed: bool) -> Vec<u8> {
    let inner: &[u8] = if codec == Codec::Json { b"0" } else { b"\x00" };
    let closed = if is_closed { [inner, &close.repeat(depth)].concat() } else { Vec::new() };
    [open.repeat(depth), closed].concat()
}

/// A ping that holds these bytes in a field, its id behind them.
fn ping(codec: Codec, field: &str, value: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Json => [format!("{{\"type\":\"ping\",\"{field}\":").as_bytes(), value, b",\"id\":7}"].concat(),
        Codec::MessagePack => {
            let key = [&[0xa0 | field.len() as u8], field.as_bytes()].concat();
            [&b"\x83\xa4type\xa4ping"[..], &key, value, b"\xa2id\x07"].concat()
        }
    }
}

#[test]
fn values_of_any_depth_are_refused_at_the_limit() {
    for (codec, open, close) in LEVELS {
        for (depth, is_closed) in [
            (DEPTH_MAX + 1, true),
            (1_000, true),
            (1_000, false),
            (1_024 / open.len(), false),
            (65_536 / open.len(), false),
            (65_536 / open.len(), true),
            (1_000_000, false),
        ] {
            let value = nested(codec, (open, close), depth, is_closed);
            let refused = on_a_small_stack(codec, move || Payload::new(Encoding::from(codec), value));
            assert_eq!(refused, Err(ValueError::Depth), "{} {open:x?} {depth} {is_closed}", codec.name());
        }
        let deepest = nested(codec, (open, close), DEPTH_MAX, true);
        on_a_small_stack(codec, move || Payload::new(Encoding::from(codec), deepest)).unwrap();
    }
}

#[test]
fn in_a_frame_depth_counts_from_each_field_and_the_id_is_still_found() {
    for (codec, open, close) in LEVELS {
        for field in ["data", "since", "topics", "zzz"] {
            for (depth, accepted) in [(DEPTH_MAX, true), (DEPTH_MAX + 1, false), (60_000, false)] {
                let frame = ping(codec, field, &nested(codec, (open, close), depth, true));
                let outcome =
                    on_a_small_stack(codec, move || Request::decode(codec, &frame).map(|request| request.id.unwrap()));
                let what = format!("{} {field} {depth}", codec.name());
                match outcome {
                    Ok(id) => assert_eq!((id, accepted), (7, true), "{what}"),
                    Err(error) => {
                        assert_eq!((error.id, accepted), (Some(7), false), "{what}: {error}");
                        assert_eq!(error.message, format!("field \"{field}\": nested deeper than 32"));
                    }
                }
            }
        }
    }
}

#[test]
fn a_frame_that_only_goes_deeper_is_refused() {
    for (codec, open, close) in LEVELS {
        for is_closed in [true, false] {
            let frame = nested(codec, (open, close), 60_000, is_closed);
            let length = frame.len();
            let error = on_a_small_stack(codec, move || Request::decode(codec, &frame).map(drop).unwrap_err());
            let expected = match (codec, open[0]) {
                // What is cut off is not JSON, which is told before any of its values is looked at.
                (Codec::Json, b'{') if !is_closed => format!("the frame: the value is cut off at byte {length}"),
                (_, b'{' | 0x81) => "field \"\": nested deeper than 32".to_owned(),
                _ => "the frame is not a map".to_owned(),
            };
            assert_eq!((error.id, error.message), (None, expected), "{} {open:x?}", codec.name());
        }
    }
}
