//! The envelope of a request: its known fields as the raw bytes of their values. It interprets none of them.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::payload::check;
use crate::value::msgpack::Reader;
use crate::{Codec, Encoding, Payload};

/// The fields that requests know. Others are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Type,
    Id,
    Topic,
    Topics,
    Data,
    Bytes,
    Key,
    Echo,
    Since,
    Last,
    Delivery,
    Policy,
    Path,
    EveryMs,
    Presence,
    Plugin,
    Method,
    Token,
    Client,
    Epoch,
    Offset,
}

const NAMES: [&str; 21] = [
    "type", "id", "topic", "topics", "data", "bytes", "key", "echo", "since", "last", "delivery", "policy", "field",
    "every_ms", "presence", "plugin", "method", "token", "client", "epoch", "offset",
];

impl Field {
    pub(crate) fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    fn place(name: &str) -> Option<usize> {
        NAMES.iter().position(|known| *known == name)
    }
}

/// One map with the raw value of each known field.
#[derive(Debug)]
pub(crate) struct Fields<'b> {
    codec: Codec,
    values: [Option<&'b [u8]>; NAMES.len()],
}

impl<'b> Fields<'b> {
    /// Reads one map. The error is a sentence for the sender.
    pub(crate) fn read(codec: Codec, bytes: &'b [u8]) -> Result<Self, String> {
        let mut fields = Self { codec, values: [None; NAMES.len()] };
        match codec {
            Codec::Json => fields.read_json(bytes)?,
            Codec::MessagePack => fields.read_msgpack(bytes)?,
        }
        Ok(fields)
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        self.values[field as usize].is_some()
    }

    pub(crate) fn text(&self, field: Field) -> Result<Option<Cow<'b, str>>, String> {
        self.decode(field, "a string", |codec, raw| match codec {
            Codec::Json => serde_json::from_slice::<Text<'b>>(raw).ok().map(|text| text.0),
            Codec::MessagePack => Reader::new(raw).key().ok().map(Cow::Borrowed),
        })
    }

    pub(crate) fn number(&self, field: Field, expected: &'static str) -> Result<Option<u64>, String> {
        self.decode(field, expected, |codec, raw| match codec {
            Codec::Json => serde_json::from_slice(raw).ok(),
            Codec::MessagePack => rmp::decode::read_int(&mut &*raw).ok(),
        })
    }

    pub(crate) fn flag(&self, field: Field) -> Result<Option<bool>, String> {
        self.decode(field, "true or false", |codec, raw| match codec {
            Codec::Json => serde_json::from_slice(raw).ok(),
            Codec::MessagePack => rmp::decode::read_bool(&mut &*raw).ok(),
        })
    }

    pub(crate) fn map(&self, field: Field) -> Result<Option<Fields<'b>>, String> {
        self.decode(field, "a map", |codec, raw| Fields::read(codec, raw).ok())
    }

    /// Makes something of each map in a list field, one at a time, and stops at the first error.
    pub(crate) fn each<T>(
        &self,
        field: Field,
        make: impl Fn(&Fields<'b>) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, String> {
        let list = || format!("field \"{}\" is not a list of maps", field.name());
        let Some(raw) = self.values[field as usize] else { return Ok(None) };
        let mut made = Vec::new();
        match self.codec {
            Codec::Json => {
                let items: Vec<&'b RawValue> = serde_json::from_slice(raw).map_err(|_| list())?;
                for item in items {
                    made.push(make(&Fields::read(self.codec, item.get().as_bytes()).map_err(|_| list())?)?);
                }
            }
            Codec::MessagePack => {
                let mut rest = raw;
                for _ in 0..rmp::decode::read_array_len(&mut rest).map_err(|_| list())? {
                    let mut reader = Reader::new(rest);
                    let item = reader.skip().map_err(|_| list())?;
                    made.push(make(&Fields::read(self.codec, item).map_err(|_| list())?)?);
                    rest = &rest[reader.position()..];
                }
            }
        }
        Ok(Some(made))
    }

    /// The payload in `data` or `bytes`.
    pub(crate) fn payload(&self) -> Result<Option<Payload>, String> {
        if self.has(Field::Data) && self.has(Field::Bytes) {
            return Err("fields \"data\" and \"bytes\" exclude each other".to_owned());
        }
        if let Some(raw) = self.values[Field::Data as usize] {
            let encoding = Encoding::from(self.codec);
            check(encoding, raw).map_err(|error| format!("field \"data\": {error}"))?;
            return Ok(Some(Payload::checked(encoding, Bytes::copy_from_slice(raw))));
        }
        let bytes = self.decode(Field::Bytes, "bytes (bin, or base64 text in JSON)", |codec, raw| match codec {
            Codec::Json => BASE64.decode(serde_json::from_slice::<Text<'b>>(raw).ok()?.0.as_bytes()).ok(),
            Codec::MessagePack => {
                let mut rest = raw;
                rmp::decode::read_bin_len(&mut rest).ok()?;
                Some(rest.to_vec())
            }
        })?;
        Ok(bytes.map(Payload::bytes))
    }

    fn decode<T>(
        &self,
        field: Field,
        expected: &'static str,
        decode: impl FnOnce(Codec, &'b [u8]) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.values[field as usize] {
            None => Ok(None),
            Some(raw) => match decode(self.codec, raw) {
                Some(value) => Ok(Some(value)),
                None => Err(format!("field \"{}\" is not {expected}", field.name())),
            },
        }
    }

    fn set(&mut self, place: usize, raw: &'b [u8]) -> Result<(), String> {
        if self.values[place].replace(raw).is_some() {
            return Err(format!("field \"{}\" stands twice", NAMES[place]));
        }
        Ok(())
    }

    fn read_json(&mut self, text: &'b [u8]) -> Result<(), String> {
        let mut reader = serde_json::Deserializer::from_slice(text);
        (&mut reader)
            .deserialize_map(JsonEnvelope(self))
            .and_then(|()| reader.end())
            .map_err(|error| format!("the frame is not a JSON object: {error}"))
    }

    fn read_msgpack(&mut self, bytes: &'b [u8]) -> Result<(), String> {
        let describe = |error| format!("the frame is not a MessagePack map: {error}");
        let mut reader = Reader::new(bytes);
        let Some(entries) = reader.map_header().map_err(describe)? else {
            return Err("the frame is not a MessagePack map".to_owned());
        };
        for _ in 0..entries {
            let key = reader.key().map_err(describe)?;
            // What the value holds is looked at when it is needed; until then it is only passed over.
            let raw = reader.skip().map_err(describe)?;
            if let Some(place) = Field::place(key) {
                self.set(place, raw)?;
            }
        }
        if reader.position() < bytes.len() {
            return Err(format!("bytes after the frame (byte {})", reader.position()));
        }
        Ok(())
    }
}

/// What is repeated to a sender of its own words is kept short and printable.
pub(crate) fn shorten(text: &str) -> String {
    let mut characters = text.chars();
    let mut short: String = characters.by_ref().take(40).flat_map(char::escape_debug).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}

struct JsonEnvelope<'f, 'b>(&'f mut Fields<'b>);

impl<'de> Visitor<'de> for JsonEnvelope<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(place) = entries.next_key_seed(Place)? {
            match place {
                Some(place) => {
                    let raw: &'de RawValue = entries.next_value()?;
                    self.0.set(place, raw.get().as_bytes()).map_err(de::Error::custom)?;
                }
                None => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct Place;

impl<'de> DeserializeSeed<'de> for Place {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Place {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Field::place(name))
    }
}

/// A text that borrows from the frame unless it has escapes.
struct Text<'b>(Cow<'b, str>);

impl<'de: 'b, 'b> Deserialize<'de> for Text<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Text)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
