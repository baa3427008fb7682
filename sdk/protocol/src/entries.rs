//! A map that the broker sent, as the raw bytes of its values. Unlike the fields of requests it takes any names, and passes
//! over what nobody asks for.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use thiserror::Error;

use crate::value::msgpack::{Scalar, scalar};
use crate::value::{Validity, ValueError, json, msgpack};
use crate::{Codec, Payload};

/// Why bytes are not a frame that a broker sends.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// They are no value.
    #[error("the frame: {0}")]
    Frame(ValueError),
    /// They are a value, but no map.
    #[error("the frame is not a map")]
    NoMap,
    /// A field is not there.
    #[error("field \"{0}\" is missing")]
    Missing(&'static str),
    /// A field is of another kind.
    #[error("field \"{0}\" is not {1}")]
    Kind(&'static str, &'static str),
    /// The value in a field is none that the protocol carries.
    #[error("field \"{0}\": {1}")]
    Value(&'static str, ValueError),
}

/// One map. What it gives out are parts of the frame, not copies.
#[derive(Clone, Debug)]
pub(crate) struct Entries<'b> {
    codec: Codec,
    frame: &'b Bytes,
    entries: Vec<(Cow<'b, str>, &'b [u8])>,
}

impl<'b> Entries<'b> {
    /// Reads a whole frame.
    pub(crate) fn of(codec: Codec, frame: &'b Bytes) -> Result<Self, FrameError> {
        Self::read(codec, frame, frame).map_err(FrameError::Frame)?.ok_or(FrameError::NoMap)
    }

    /// Reads a map in a frame; none when the bytes are something else. Values are only passed over: those that are used are
    /// checked when they are.
    fn read(codec: Codec, frame: &'b Bytes, raw: &'b [u8]) -> Result<Option<Self>, ValueError> {
        let mut entries = Vec::with_capacity(8);
        let mut fault = None;
        let mut take = |key: Result<Cow<'b, str>, ValueError>, value: Result<&'b [u8], ValueError>| match (key, value) {
            (Ok(key), Ok(value)) => entries.push((key, value)),
            (Err(error), _) | (_, Err(error)) => {
                fault.get_or_insert(error);
            }
        };
        let is_map = match codec {
            Codec::Json => json::entries(raw, Validity::Checked, take),
            Codec::MessagePack => {
                msgpack::entries(raw, Validity::Checked, |key, value| take(key.map(Cow::Borrowed), value))
            }
        }?;
        fault.map_or(Ok(is_map.then_some(Self { codec, frame, entries })), Err)
    }

    pub(crate) fn raw(&self, name: &str) -> Option<&'b [u8]> {
        self.entries.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<Option<Cow<'b, str>>, FrameError> {
        self.decode(name, "a string", |raw| match self.codec {
            Codec::Json => json::text(raw).ok(),
            Codec::MessagePack => match scalar(raw)? {
                Scalar::Text(text) => Some(Cow::Borrowed(text)),
                _ => None,
            },
        })
    }

    /// A text that may also be null, which is none.
    pub(crate) fn text_or_null(&self, name: &'static str) -> Result<Option<Cow<'b, str>>, FrameError> {
        let is_null = self.raw(name).is_some_and(|raw| match self.codec {
            Codec::Json => raw == b"null",
            Codec::MessagePack => matches!(scalar(raw), Some(Scalar::Null)),
        });
        if is_null { Ok(None) } else { self.text(name) }
    }

    pub(crate) fn number(&self, name: &'static str) -> Result<Option<u64>, FrameError> {
        self.decode(name, "a whole number", |raw| match self.codec {
            Codec::Json => serde_json::from_slice(raw).ok(),
            Codec::MessagePack => match scalar(raw)? {
                Scalar::Unsigned(number) => Some(number),
                _ => None,
            },
        })
    }

    pub(crate) fn flag(&self, name: &'static str) -> Result<Option<bool>, FrameError> {
        self.decode(name, "true or false", |raw| match self.codec {
            Codec::Json => serde_json::from_slice(raw).ok(),
            Codec::MessagePack => match scalar(raw)? {
                Scalar::Bool(flag) => Some(flag),
                _ => None,
            },
        })
    }

    pub(crate) fn map(&self, name: &'static str) -> Result<Option<Self>, FrameError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        match Self::read(self.codec, self.frame, raw) {
            Ok(Some(map)) => Ok(Some(map)),
            Ok(None) => Err(FrameError::Kind(name, "a map")),
            Err(error) => Err(FrameError::Value(name, error)),
        }
    }

    /// Makes something of each map in a list.
    pub(crate) fn each<T>(
        &self,
        name: &'static str,
        make: impl Fn(&Self) -> Result<T, FrameError>,
    ) -> Result<Option<Vec<T>>, FrameError> {
        let Some(items) = self.items(name)? else { return Ok(None) };
        let make_one = |raw| match Self::read(self.codec, self.frame, raw) {
            Ok(Some(map)) => make(&map),
            Ok(None) => Err(FrameError::Kind(name, "a list of maps")),
            Err(error) => Err(FrameError::Value(name, error)),
        };
        items.into_iter().map(make_one).collect::<Result<_, _>>().map(Some)
    }

    /// The texts of a list; items of other kinds are passed over.
    pub(crate) fn texts(&self, name: &'static str) -> Result<Option<Vec<String>>, FrameError> {
        let Some(items) = self.items(name)? else { return Ok(None) };
        let text = |raw| match self.codec {
            Codec::Json => json::text(raw).ok().map(Cow::into_owned),
            Codec::MessagePack => match scalar(raw)? {
                Scalar::Text(text) => Some(text.to_owned()),
                _ => None,
            },
        };
        Ok(Some(items.into_iter().filter_map(text).collect()))
    }

    fn items(&self, name: &'static str) -> Result<Option<Vec<&'b [u8]>>, FrameError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let mut items = Vec::new();
        let is_list = match self.codec {
            Codec::Json => json::items(raw, |item| items.push(item)),
            Codec::MessagePack => msgpack::items(raw, |item| items.push(item)),
        };
        match is_list {
            Ok(true) => Ok(Some(items)),
            Ok(false) => Err(FrameError::Kind(name, "a list")),
            Err(error) => Err(FrameError::Value(name, error)),
        }
    }

    /// The payload in `data` or `bytes`.
    pub(crate) fn payload(&self) -> Result<Option<Payload>, FrameError> {
        if let Some(payload) = self.value("data")? {
            return Ok(Some(payload));
        }
        let bytes = self.decode("bytes", "bytes (bin, or base64 text in JSON)", |raw| match self.codec {
            Codec::Json => BASE64.decode(json::text(raw).ok()?.as_bytes()).ok().map(Bytes::from),
            Codec::MessagePack => match scalar(raw)? {
                Scalar::Bytes(bytes) => Some(self.frame.slice_ref(bytes)),
                _ => None,
            },
        })?;
        Ok(bytes.map(Payload::bytes))
    }

    /// The value of a field as a payload.
    pub(crate) fn value(&self, name: &'static str) -> Result<Option<Payload>, FrameError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let payload = Payload::new(self.codec.into(), self.frame.slice_ref(raw));
        payload.map(Some).map_err(|error| FrameError::Value(name, error))
    }

    fn decode<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        decode: impl FnOnce(&'b [u8]) -> Option<T>,
    ) -> Result<Option<T>, FrameError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        decode(raw).map(Some).ok_or(FrameError::Kind(name, expected))
    }
}
