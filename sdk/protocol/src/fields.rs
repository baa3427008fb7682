//! The envelope of a request: its known fields as the raw bytes of their values, all of them held to the rules for values
//! once. It interprets none of them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use crate::value::walk::{self, Reader, Scalar, Token};
use crate::value::{Discard, ValueError, json, msgpack};
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
    /// Reads a frame and checks every value in it. The error is a sentence for the sender.
    pub(crate) fn read(codec: Codec, frame: &'b [u8]) -> Result<Self, String> {
        let mut fields = Self { codec, values: [None; NAMES.len()] };
        let is_map = match codec {
            Codec::Json => fields.gather::<json::Reader<'b>>(frame, |reader| walk::value(reader, &mut Discard)),
            Codec::MessagePack => {
                fields.gather::<msgpack::Reader<'b>>(frame, |reader| walk::value(reader, &mut Discard))
            }
        };
        if is_map? { Ok(fields) } else { Err("the frame is not a map".to_owned()) }
    }

    /// Reads a map within a frame, whose values have been checked with the frame; none when it is something else.
    fn inner(codec: Codec, raw: &'b [u8]) -> Result<Option<Self>, String> {
        let mut fields = Self { codec, values: [None; NAMES.len()] };
        let is_map = match codec {
            Codec::Json => fields.gather::<json::Reader<'b>>(raw, Reader::skip),
            Codec::MessagePack => fields.gather::<msgpack::Reader<'b>>(raw, Reader::skip),
        };
        is_map.map(|is_map| is_map.then_some(fields))
    }

    /// Reads a map field by field and passes over the values with `pass`; says no when it is something else.
    fn gather<R: Reader<'b>>(
        &mut self,
        bytes: &'b [u8],
        pass: impl Fn(&mut R) -> Result<(), ValueError>,
    ) -> Result<bool, String> {
        let mut reader = R::new(bytes);
        let Token::Map(mut inside) = reader.token().map_err(describe)? else { return Ok(false) };
        while reader.more(&mut inside).map_err(describe)? {
            let key = reader.key().map_err(describe)?;
            let start = reader.position();
            pass(&mut reader).map_err(|error| format!("field \"{}\": {error}", shorten(&key)))?;
            let Some(place) = Field::place(&key) else { continue };
            if self.values[place].replace(&bytes[start..reader.position()]).is_some() {
                return Err(format!("field \"{}\" stands twice", NAMES[place]));
            }
        }
        reader.finish().map_err(describe)?;
        Ok(true)
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        self.values[field as usize].is_some()
    }

    pub(crate) fn text(&self, field: Field) -> Result<Option<Cow<'b, str>>, String> {
        self.decode(field, "a string", |scalar| match scalar {
            Scalar::Text(text) => Some(text),
            _ => None,
        })
    }

    pub(crate) fn number(&self, field: Field, expected: &'static str) -> Result<Option<u64>, String> {
        self.decode(field, expected, |scalar| match scalar {
            Scalar::Unsigned(number) => Some(number),
            _ => None,
        })
    }

    pub(crate) fn flag(&self, field: Field) -> Result<Option<bool>, String> {
        self.decode(field, "true or false", |scalar| match scalar {
            Scalar::Bool(flag) => Some(flag),
            _ => None,
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

    /// Makes something of each map in a list field, one at a time, and stops at the first error.
    pub(crate) fn each<T>(
        &self,
        field: Field,
        make: impl Fn(&Fields<'b>) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, String> {
        let Some(raw) = self.values[field as usize] else { return Ok(None) };
        let no_list = || format!("field \"{}\" is not a list of maps", field.name());
        let make_one = |item| match Fields::inner(self.codec, item) {
            Ok(Some(map)) => make(&map),
            Ok(None) => Err(no_list()),
            Err(message) => Err(format!("field \"{}\": {message}", field.name())),
        };
        let made = match self.codec {
            Codec::Json => each_item::<json::Reader<'b>, T>(raw, make_one),
            Codec::MessagePack => each_item::<msgpack::Reader<'b>, T>(raw, make_one),
        };
        made.ok_or_else(no_list)?.map(Some)
    }

    /// The payload in `data` or `bytes`.
    pub(crate) fn payload(&self) -> Result<Option<Payload>, String> {
        if self.has(Field::Data) && self.has(Field::Bytes) {
            return Err("fields \"data\" and \"bytes\" exclude each other".to_owned());
        }
        if let Some(raw) = self.values[Field::Data as usize] {
            return Ok(Some(Payload::checked(self.codec.into(), Bytes::copy_from_slice(raw))));
        }
        let bytes = self.decode(Field::Bytes, "bytes (bin, or base64 text in JSON)", |scalar| match scalar {
            Scalar::Text(text) if self.codec == Codec::Json => BASE64.decode(text.as_bytes()).ok(),
            Scalar::Bytes(bytes) => Some(bytes.to_vec()),
            _ => None,
        })?;
        Ok(bytes.map(Payload::bytes))
    }

    fn decode<T>(
        &self,
        field: Field,
        expected: &'static str,
        decode: impl FnOnce(Scalar<'b>) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(raw) = self.values[field as usize] else { return Ok(None) };
        match scalar(self.codec, raw).and_then(decode) {
            Some(value) => Ok(Some(value)),
            None => Err(format!("field \"{}\" is not {expected}", field.name())),
        }
    }
}

/// The `id` of a frame that is no request, as far as it can be made out. A value that breaks a rule does not hide it,
/// wherever that stands.
pub(crate) fn salvage_id(codec: Codec, frame: &[u8]) -> Option<u64> {
    let raw = match codec {
        Codec::Json => find_id::<json::Reader<'_>>(frame),
        Codec::MessagePack => find_id::<msgpack::Reader<'_>>(frame),
    };
    match scalar(codec, raw?)? {
        Scalar::Unsigned(id @ 1..) => Some(id),
        _ => None,
    }
}

/// The raw value of the one `id` of a map, up to where it can be read.
fn find_id<'b, R: Reader<'b>>(frame: &'b [u8]) -> Option<&'b [u8]> {
    let mut reader = R::new(frame);
    let Ok(Token::Map(mut inside)) = reader.token() else { return None };
    let mut id = None;
    while let Ok(true) = reader.more(&mut inside) {
        let Ok(key) = reader.skip_key() else { break };
        let start = reader.position();
        if reader.skip().is_err() {
            break;
        }
        let is_id = matches!(R::new(key).token(), Ok(Token::Scalar(Scalar::Text(name))) if name == Field::Id.name());
        if is_id && id.replace(&frame[start..reader.position()]).is_some() {
            return None;
        }
    }
    id
}

fn describe(error: ValueError) -> String {
    format!("the frame: {error}")
}

/// Makes something of each item of an array whose items have been checked; gives none when it is something else.
fn each_item<'b, R: Reader<'b>, T>(
    raw: &'b [u8],
    make: impl Fn(&'b [u8]) -> Result<T, String>,
) -> Option<Result<Vec<T>, String>> {
    let mut reader = R::new(raw);
    let Ok(Token::Array(mut inside)) = reader.token() else { return None };
    let mut made = Vec::new();
    while reader.more(&mut inside).ok()? {
        let start = reader.position();
        reader.skip().ok()?;
        match make(&raw[start..reader.position()]) {
            Ok(one) => made.push(one),
            Err(message) => return Some(Err(message)),
        }
    }
    Some(Ok(made))
}

fn scalar(codec: Codec, raw: &[u8]) -> Option<Scalar<'_>> {
    fn first<'b, R: Reader<'b>>(raw: &'b [u8]) -> Option<Scalar<'b>> {
        match R::new(raw).token() {
            Ok(Token::Scalar(scalar)) => Some(scalar),
            _ => None,
        }
    }
    match codec {
        Codec::Json => first::<json::Reader<'_>>(raw),
        Codec::MessagePack => first::<msgpack::Reader<'_>>(raw),
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
