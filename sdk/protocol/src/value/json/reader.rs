//! The JSON reader: serde_json reads, this tells what it reads and holds it to the rules. It builds no tree.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use crate::DEPTH_MAX;
use crate::value::{Discard, Sink, Validity, ValueError};

/// Makes sure that bytes are Unicode, so that nothing has to look at that again.
pub(super) fn unicode(bytes: &[u8]) -> Result<&str, ValueError> {
    std::str::from_utf8(bytes).map_err(|error| ValueError::Utf8(error.valid_up_to()))
}

/// Tells one value to a sink.
pub(super) fn value(text: &str, sink: &mut impl Sink) -> Result<(), ValueError> {
    let mut reader = Deserializer::from_str(text);
    let mut walk = Walk { sink, is_too_deep: false };
    let told = Value { walk: &mut walk, depth: 0 }.deserialize(&mut reader);
    match told {
        Ok(()) => reader.end().map_err(|error| ValueError::Trailing(place(text.as_bytes(), &error))),
        Err(_) if walk.is_too_deep => Err(ValueError::Depth),
        Err(error) => Err(fault(text.as_bytes(), &error)),
    }
}

/// Gives the entries of a map one after the other, values as they are written; says no when it is something else.
///
/// serde_json passes over a value without going deeper into its own calls, and keeps one byte for each level that is open.
pub(crate) fn entries<'b>(
    bytes: &'b [u8],
    validity: Validity,
    mut each: impl FnMut(Result<Cow<'b, str>, ValueError>, Result<&'b [u8], ValueError>),
) -> Result<bool, ValueError> {
    let mut reader = Deserializer::from_str(unicode(bytes)?);
    let read = reader.deserialize_map(Entries(|key: &'b RawValue, raw: &'b RawValue| {
        let checked = match validity {
            Validity::Unchecked => value(raw.get(), &mut Discard),
            Validity::Checked => Ok(()),
        };
        each(text(key.get().as_bytes()), checked.map(|()| raw.get().as_bytes()));
    }));
    finish(bytes, &mut reader, read)
}

/// Gives the items of an array one after the other, as they are written; says no when it is something else.
pub(crate) fn items<'b>(bytes: &'b [u8], mut each: impl FnMut(&'b [u8])) -> Result<bool, ValueError> {
    let mut reader = Deserializer::from_str(unicode(bytes)?);
    let read = reader.deserialize_seq(Items(|raw: &'b RawValue| each(raw.get().as_bytes())));
    finish(bytes, &mut reader, read)
}

/// Reads a text. It is part of what is read unless it has escapes.
pub(crate) fn text(bytes: &[u8]) -> Result<Cow<'_, str>, ValueError> {
    Deserializer::from_str(unicode(bytes)?).deserialize_str(Text).map_err(|error| fault(bytes, &error))
}

fn finish<'b>(
    bytes: &[u8],
    reader: &mut Deserializer<impl serde_json::de::Read<'b>>,
    read: serde_json::Result<()>,
) -> Result<bool, ValueError> {
    match read {
        Ok(()) => reader.end().map(|()| true).map_err(|error| ValueError::Trailing(place(bytes, &error))),
        // JSON, but of another kind than was asked for.
        Err(error) if error.is_data() => Ok(false),
        Err(error) => Err(fault(bytes, &error)),
    }
}

/// serde_json tells only in words what is wrong; each of those that matter here has a test.
fn fault(bytes: &[u8], error: &serde_json::Error) -> ValueError {
    if error.is_eof() {
        return ValueError::Truncated(bytes.len());
    }
    let at = place(bytes, error);
    let words = error.to_string();
    match words.split_once(" at line ").map_or(words.as_str(), |(fault, _)| fault) {
        "key must be a string" => ValueError::Key(at),
        "number out of range" => ValueError::NotFinite(at),
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => ValueError::Surrogate(at),
        fault => ValueError::Json { fault: fault.to_owned(), at },
    }
}

/// The byte at which serde_json noticed; it counts lines and columns, both from 1.
fn place(bytes: &[u8], error: &serde_json::Error) -> usize {
    let lines_before = error.line().saturating_sub(1);
    let line_start: usize = bytes.split_inclusive(|byte| *byte == b'\n').take(lines_before).map(<[u8]>::len).sum();
    (line_start + error.column()).saturating_sub(1)
}

/// What all levels of a value share.
struct Walk<'s, S> {
    sink: &'s mut S,
    is_too_deep: bool,
}

/// The value that comes next, so many levels deep.
struct Value<'w, 's, S> {
    walk: &'w mut Walk<'s, S>,
    depth: usize,
}

impl<'w, 's, S: Sink> Value<'w, 's, S> {
    /// One level further in, before anything calls itself for that.
    fn enter<E: de::Error>(self) -> Result<(&'w mut Walk<'s, S>, usize), E> {
        if self.depth == DEPTH_MAX {
            self.walk.is_too_deep = true;
            return Err(E::custom(ValueError::Depth));
        }
        Ok((self.walk, self.depth + 1))
    }
}

impl<'de, S: Sink> DeserializeSeed<'de> for Value<'_, '_, S> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Value<'_, '_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.walk.sink.null();
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.walk.sink.bool(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.walk.sink.unsigned(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.walk.sink.signed(value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.walk.sink.float(value);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.walk.sink.text(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let (walk, depth) = self.enter()?;
        walk.sink.array();
        while items.next_element_seed(Value { walk: &mut *walk, depth })?.is_some() {}
        walk.sink.end();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let (walk, depth) = self.enter()?;
        walk.sink.map();
        while entries.next_key_seed(Key(&mut *walk.sink))?.is_some() {
            entries.next_value_seed(Value { walk: &mut *walk, depth })?;
        }
        walk.sink.end();
        Ok(())
    }
}

struct Key<'s, S>(&'s mut S);

impl<'de, S: Sink> DeserializeSeed<'de> for Key<'_, S> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<S: Sink> Visitor<'_> for Key<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<(), E> {
        self.0.key(key);
        Ok(())
    }
}

/// Takes keys as they are written, too: one with half a surrogate pair must not hide what follows.
struct Entries<F>(F);

impl<'de, F: FnMut(&'de RawValue, &'de RawValue)> Visitor<'de> for Entries<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        while let Some((key, value)) = entries.next_entry()? {
            (self.0)(key, value);
        }
        Ok(())
    }
}

struct Items<F>(F);

impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for Items<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.0)(item);
        }
        Ok(())
    }
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
