//! JSON values: the reader that checks and the writer that sinks write through. Text in, events out, and back.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Sink, ValueError};
use crate::DEPTH_MAX;

/// Reads one JSON value and tells it to `sink`.
///
/// # Errors
/// [`ValueError::Json`] for anything RFC 8259 does not allow, lone surrogates, numbers beyond a double and bytes after
/// the value; [`ValueError::Depth`].
pub fn read(text: &[u8], sink: &mut impl Sink) -> Result<(), ValueError> {
    let mut too_deep = false;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Value { sink, depth: 0, too_deep: &mut too_deep };
    match value.deserialize(&mut reader).and_then(|()| reader.end()) {
        Ok(()) => Ok(()),
        Err(_) if too_deep => Err(ValueError::Depth),
        Err(error) => Err(ValueError::Json(error.to_string())),
    }
}

struct Value<'s, S> {
    sink: &'s mut S,
    depth: usize,
    too_deep: &'s mut bool,
}

impl<S: Sink> Value<'_, S> {
    fn inner<E: de::Error>(&mut self) -> Result<Value<'_, S>, E> {
        if self.depth == DEPTH_MAX {
            *self.too_deep = true;
            return Err(E::custom("too deep"));
        }
        Ok(Value { sink: self.sink, depth: self.depth + 1, too_deep: self.too_deep })
    }
}

impl<'de, S: Sink> DeserializeSeed<'de> for Value<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Value<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.sink.null();
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.sink.bool(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.sink.unsigned(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.sink.signed(value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.sink.float(value);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.sink.text(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let mut inner = self.inner()?;
        inner.sink.array();
        while items.next_element_seed(inner.again())?.is_some() {}
        inner.sink.end();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let mut inner = self.inner()?;
        inner.sink.map();
        while entries.next_key_seed(Key(inner.sink))?.is_some() {
            entries.next_value_seed(inner.again())?;
        }
        inner.sink.end();
        Ok(())
    }
}

impl<S: Sink> Value<'_, S> {
    fn again(&mut self) -> Value<'_, S> {
        Value { sink: self.sink, depth: self.depth, too_deep: self.too_deep }
    }
}

struct Key<'s, S>(&'s mut S);

impl<'de, S: Sink> DeserializeSeed<'de> for Key<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<S: Sink> Visitor<'_> for Key<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string key")
    }

    fn visit_str<E>(self, key: &str) -> Result<(), E> {
        self.0.key(key);
        Ok(())
    }
}

/// Writes the events of a value as compact JSON to the end of a buffer.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    comma: bool,
    closers: Vec<u8>,
}

impl<'o> Writer<'o> {
    /// A writer that appends to `out`.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, comma: false, closers: Vec::new() }
    }

    /// Appends a value that is JSON already.
    pub fn raw(&mut self, json: &[u8]) {
        self.separate();
        self.out.extend_from_slice(json);
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    fn scalar(&mut self, value: &(impl serde::Serialize + ?Sized)) {
        self.separate();
        serde_json::to_writer(&mut *self.out, value).expect("a scalar always serializes into memory");
    }

    fn open(&mut self, opener: u8, closer: u8) {
        self.separate();
        self.out.push(opener);
        self.closers.push(closer);
        self.comma = false;
    }
}

impl Sink for Writer<'_> {
    fn null(&mut self) {
        self.scalar(&());
    }

    fn bool(&mut self, value: bool) {
        self.scalar(&value);
    }

    fn unsigned(&mut self, value: u64) {
        self.scalar(&value);
    }

    fn signed(&mut self, value: i64) {
        self.scalar(&value);
    }

    fn float(&mut self, value: f64) {
        self.scalar(&value);
    }

    fn text(&mut self, value: &str) {
        self.scalar(value);
    }

    fn bytes(&mut self, value: &[u8]) {
        self.scalar(&BASE64.encode(value));
    }

    fn array(&mut self) {
        self.open(b'[', b']');
    }

    fn map(&mut self) {
        self.open(b'{', b'}');
    }

    fn key(&mut self, key: &str) {
        self.scalar(key);
        self.out.push(b':');
        self.comma = false;
    }

    fn end(&mut self) {
        self.out.push(self.closers.pop().expect("an end follows its beginning"));
        self.comma = true;
    }
}
