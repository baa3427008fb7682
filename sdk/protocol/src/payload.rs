//! The payload of a message: the bytes a publisher sent, and how to write them in either codec.

use bytes::Bytes;

use crate::value::{self, Discard, Sink, ValueError};
use crate::{Codec, value::json, value::msgpack};

/// How the content of a payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// One JSON value; travels as `data`.
    Json,
    /// One MessagePack value; travels as `data`.
    MessagePack,
    /// Opaque bytes; travel as `bytes`: MessagePack `bin`, base64 text in JSON.
    Bytes,
}

impl From<Codec> for Encoding {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::Json => Self::Json,
            Codec::MessagePack => Self::MessagePack,
        }
    }
}

/// A checked payload. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    encoding: Encoding,
    content: Bytes,
}

impl Payload {
    /// Takes content after checking that it is one value the protocol carries.
    ///
    /// # Errors
    /// What is wrong with the value. Opaque bytes are always right.
    pub fn new(encoding: Encoding, content: impl Into<Bytes>) -> Result<Self, ValueError> {
        let content = content.into();
        check(encoding, &content)?;
        Ok(Self { encoding, content })
    }

    /// Takes content that [`check`] has passed already.
    pub(crate) fn checked(encoding: Encoding, content: Bytes) -> Self {
        Self { encoding, content }
    }

    /// A JSON payload from anything serde can write as JSON.
    ///
    /// # Errors
    /// When the value cannot be written as JSON, or is nested too deep.
    pub fn json(value: &(impl serde::Serialize + ?Sized)) -> Result<Self, ValueError> {
        let text = serde_json::to_vec(value).map_err(|error| ValueError::Unwritable(error.to_string()))?;
        Self::new(Encoding::Json, text)
    }

    /// A payload of opaque bytes.
    pub fn bytes(content: impl Into<Bytes>) -> Self {
        Self { encoding: Encoding::Bytes, content: content.into() }
    }

    /// How the content is written.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The content as it was written.
    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// The content as JSON text, transcoded if it is written otherwise; opaque bytes are a base64 text.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        if self.encoding == Encoding::Json {
            return self.content.clone();
        }
        let mut text = Vec::new();
        self.tell(&mut json::Writer::new(&mut text));
        text.into()
    }

    /// Appends the content to `out` as a value in a codec, transcoded if it is written otherwise. Opaque bytes are a base64
    /// text in JSON.
    pub fn encode(&self, codec: Codec, out: &mut Vec<u8>) {
        match codec {
            Codec::Json => self.tell(&mut json::Writer::new(out)),
            Codec::MessagePack => self.tell(&mut msgpack::Writer::new(out)),
        }
    }

    /// The content as a value of the program, by way of JSON.
    ///
    /// # Errors
    /// When it is another value than the type takes.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.to_json())
    }

    /// The name of the field this payload travels in.
    pub(crate) fn field(&self) -> &'static str {
        match self.encoding {
            Encoding::Json | Encoding::MessagePack => "data",
            Encoding::Bytes => "bytes",
        }
    }

    /// Tells the payload to a sink.
    pub(crate) fn tell(&self, sink: &mut impl Sink) {
        let told = match self.encoding {
            Encoding::Json => json::read(&self.content, sink),
            Encoding::MessagePack => msgpack::read(&self.content, sink),
            Encoding::Bytes => {
                sink.bytes(&self.content);
                Ok(())
            }
        };
        told.expect("a payload was checked when it was made");
    }
}

/// Checks that `content` is one value the protocol carries.
pub(crate) fn check(encoding: Encoding, content: &[u8]) -> Result<(), ValueError> {
    match encoding {
        Encoding::Json => value::json::read(content, &mut Discard),
        Encoding::MessagePack => value::msgpack::read(content, &mut Discard),
        Encoding::Bytes => Ok(()),
    }
}
