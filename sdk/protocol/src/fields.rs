//! The envelope of a request: its known fields as the raw bytes of their values, all of them held to the rules for values
//! once. It interprets none of them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use crate::value::msgpack::{Scalar, scalar};
use crate::value::{Validity, ValueError, json, msgpack};
use crate::{Codec, Payload};

/// The fields that requests know. Others are checked like these and then passed over.
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
    Instance,
    Epoch,
    Offset,
    Before,
    Limit,
    Session,
    User,
    Code,
    Pattern,
    After,
    ForMs,
    Password,
    Roles,
    Action,
}

const NAMES: [&str; 33] = [
    "type", "id", "topic", "topics", "data", "bytes", "key", "echo", "since", "last", "delivery", "policy", "field",
    "every_ms", "presence", "plugin", "method", "token", "client", "instance", "epoch", "offset", "before", "limit",
    "session", "user", "code", "pattern", "after", "for_ms", "password", "roles", "action",
];

impl Field {
    pub(crate) fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    fn place(name: &str) -> Option<usize> {
        NAMES.iter().position(|known| *known == name)
    }
}

/// What is kept of a field whose value breaks a rule, or that stands twice: no value in either codec.
const NOTHING: &[u8] = b"";

/// One map with the raw value of each known field.
#[derive(Debug)]
pub(crate) struct Fields<'b> {
    codec: Codec,
    values: [Option<&'b [u8]>; NAMES.len()],
}

impl<'b> Fields<'b> {
    /// Reads a frame as far as that can be done and checks every value in it. With it comes what is wrong first, a sentence
    /// for the sender; what follows that is read for its `id` only.
    pub(crate) fn read(codec: Codec, frame: &'b [u8]) -> (Self, Result<(), String>) {
        let (fields, outcome) = Self::gather(codec, frame, Validity::Unchecked);
        let outcome = outcome.and_then(|is_map| if is_map { Ok(()) } else { Err("the frame is not a map".to_owned()) });
        (fields, outcome)
    }

    /// Reads a map within a frame, whose values have been checked with the frame; none when it is something else.
    fn inner(codec: Codec, raw: &'b [u8]) -> Result<Option<Self>, String> {
        let (fields, is_map) = Self::gather(codec, raw, Validity::Checked);
        Ok(is_map?.then_some(fields))
    }

    /// Reads a map field by field; says no when it is something else.
    fn gather(codec: Codec, bytes: &'b [u8], validity: Validity) -> (Self, Result<bool, String>) {
        let mut fields = Self { codec, values: [None; NAMES.len()] };
        let mut fault = None;
        let mut take = |key: Result<Cow<'b, str>, ValueError>, value| {
            let taken = key.map_err(describe).and_then(|key| fields.take(&key, value));
            if let (Err(message), None) = (taken, &fault) {
                fault = Some(message);
            }
        };
        let read = match codec {
            Codec::Json => json::entries(bytes, validity, take),
            Codec::MessagePack => msgpack::entries(bytes, validity, |key, value| take(key.map(Cow::Borrowed), value)),
        };
        (fields, fault.map_or_else(|| read.map_err(describe), Err))
    }

    fn take(&mut self, key: &str, value: Result<&'b [u8], ValueError>) -> Result<(), String> {
        let mut stands_twice = false;
        if let Some(place) = Field::place(key) {
            let raw = value.as_ref().map_or(NOTHING, |raw| *raw);
            stands_twice = self.values[place].replace(raw).is_some();
            if stands_twice {
                self.values[place] = Some(NOTHING);
            }
        }
        match value {
            Err(error) => Err(format!("field \"{}\": {error}", shorten(key))),
            Ok(_) if stands_twice => Err(format!("field \"{}\" stands twice", shorten(key))),
            Ok(_) => Ok(()),
        }
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        self.values[field as usize].is_some()
    }

    pub(crate) fn text(&self, field: Field) -> Result<Option<Cow<'b, str>>, String> {
        self.decode(field, "a string", |raw| match self.codec {
            Codec::Json => json::text(raw).ok(),
            Codec::MessagePack => match scalar(raw)? {
                Scalar::Text(text) => Some(Cow::Borrowed(text)),
                _ => None,
            },
        })
    }

    pub(crate) fn number(&self, field: Field, expected: &'static str) -> Result<Option<u64>, String> {
        self.decode(field, expected, |raw| match self.codec {
            Codec::Json => serde_json::from_slice(raw).ok(),
            Codec::MessagePack => match scalar(raw)? {
                Scalar::Unsigned(number) => Some(number),
                _ => None,
            },
        })
    }

    pub(crate) fn flag(&self, field: Field) -> Result<Option<bool>, String> {
        self.decode(field, "true or false", |raw| match self.codec {
            Codec::Json => serde_json::from_slice(raw).ok(),
            Codec::MessagePack => match scalar(raw)? {
                Scalar::Bool(flag) => Some(flag),
                _ => None,
            },
        })
    }

    pub(crate) fn map(&self, field: Field) -> Result<Option<Fields<'b>>, String> {
        let Some(raw) = self.values[field as usize] else { return Ok(None) };
        match Fields::inner(self.codec, raw) {
            Ok(Some(map)) => Ok(Some(map)),
            Ok(None) => Err(format!("field \"{}\" is not a map", field.name())),
            Err(message) => Err(format!("field \"{}\": {message}", field.name())),
        }
    }

    /// The strings of a list field.
    pub(crate) fn texts(&self, field: Field) -> Result<Option<Vec<Cow<'b, str>>>, String> {
        let Some(raw) = self.values[field as usize] else { return Ok(None) };
        let mut texts = Some(Vec::new());
        let mut take = |text: Option<Cow<'b, str>>| match (text, &mut texts) {
            (Some(text), Some(texts)) => texts.push(text),
            _ => texts = None,
        };
        let is_list = match self.codec {
            Codec::Json => json::items(raw, |item| take(json::text(item).ok())),
            Codec::MessagePack => msgpack::items(raw, |item| match scalar(item) {
                Some(Scalar::Text(text)) => take(Some(Cow::Borrowed(text))),
                _ => take(None),
            }),
        };
        let texts = if is_list.map_err(describe)? { texts } else { None };
        texts.map(Some).ok_or_else(|| format!("field \"{}\" is not a list of strings", field.name()))
    }

    /// Makes something of each map in a list field, one at a time, and stops at the first error, or at once where there are more
    /// than so many.
    pub(crate) fn each<T>(
        &self,
        field: Field,
        most: usize,
        make: impl Fn(&Fields<'b>) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, String> {
        let Some(raw) = self.values[field as usize] else { return Ok(None) };
        let no_list = || format!("field \"{}\" is not a list of maps", field.name());
        let make_one = |item| match Fields::inner(self.codec, item) {
            Ok(Some(map)) => make(&map),
            Ok(None) => Err(no_list()),
            Err(message) => Err(format!("field \"{}\": {message}", field.name())),
        };
        let mut count = 0;
        self.items(raw, |_| count += 1)?;
        if count > most {
            return Err(format!("field \"{}\" has {count} items, and {most} are the most", field.name()));
        }
        let mut made = Ok(Vec::with_capacity(count));
        let take = |item| {
            if let Ok(items) = &mut made {
                match make_one(item) {
                    Ok(one) => items.push(one),
                    Err(message) => made = Err(message),
                }
            }
        };
        if self.items(raw, take)? { made.map(Some) } else { Err(no_list()) }
    }

    /// Visits the items of a list; says no when it is something else.
    fn items(&self, raw: &'b [u8], each: impl FnMut(&'b [u8])) -> Result<bool, String> {
        let is_list = match self.codec {
            Codec::Json => json::items(raw, each),
            Codec::MessagePack => msgpack::items(raw, each),
        };
        is_list.map_err(describe)
    }

    /// The payload in `data` or `bytes`.
    pub(crate) fn payload(&self) -> Result<Option<Payload>, String> {
        if self.has(Field::Data) && self.has(Field::Bytes) {
            return Err("fields \"data\" and \"bytes\" exclude each other".to_owned());
        }
        if let Some(raw) = self.values[Field::Data as usize] {
            return Ok(Some(Payload::checked(self.codec.into(), Bytes::copy_from_slice(raw))));
        }
        let bytes = self.decode(Field::Bytes, "bytes (bin, or base64 text in JSON)", |raw| match self.codec {
            Codec::Json => BASE64.decode(json::text(raw).ok()?.as_bytes()).ok(),
            Codec::MessagePack => match scalar(raw)? {
                Scalar::Bytes(bytes) => Some(bytes.to_vec()),
                _ => None,
            },
        })?;
        Ok(bytes.map(Payload::bytes))
    }

    fn decode<T>(
        &self,
        field: Field,
        expected: &'static str,
        decode: impl FnOnce(&'b [u8]) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(raw) = self.values[field as usize] else { return Ok(None) };
        match decode(raw) {
            Some(value) => Ok(Some(value)),
            None => Err(format!("field \"{}\" is not {expected}", field.name())),
        }
    }
}

fn describe(error: ValueError) -> String {
    format!("the frame: {error}")
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
