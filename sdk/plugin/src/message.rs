//! What clients send: a message that was published and what becomes of it, and a raw message.

use crate::error::Result;
use crate::payload::{DecodeError, EncodeError, Encoding, Payload};
use crate::session::Session;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A message that was published to a topic of this plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Who published it; `None` when the program that embeds the broker did.
    pub session: Option<Session>,
    /// The topic it was published to.
    pub topic: String,
    /// Its data as it came.
    pub payload: Payload,
}

/// What becomes of a message that a client published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes out as it came.
    Accept,
    /// It goes out with this payload instead; see [`Message::replace`].
    Replace(Payload),
    /// It goes nowhere; the client's publish still succeeds, without a position.
    Swallow,
}

/// One message of a socket on a raw endpoint, without any envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
}

impl Raw {
    /// Reads a text message as JSON, a binary one as MessagePack.
    ///
    /// # Errors
    /// When it is not a `T`. With `?` the hook ends in a rejection; the session is told nothing.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        let (encoding, content) = match self {
            Self::Text(text) => (Encoding::Json, text.clone().into_bytes()),
            Self::Binary(bytes) => (Encoding::Msgpack, bytes.clone()),
        };
        Payload { encoding, content }.decode()
    }
}

impl Message {
    /// A message as a host hands it to [`Plugin::on_publish`](crate::Plugin::on_publish).
    pub fn new(session: Option<Session>, topic: impl Into<String>, payload: Payload) -> Self {
        Self { session, topic: topic.into(), payload }
    }

    /// Reads the data, whichever codec it came in.
    ///
    /// # Errors
    /// When the data is not a `T`. With `?` the client gets a rejection that says so.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.payload.decode()
    }

    /// The verdict that this message goes out with `value` instead, in the codec it came in (JSON for bytes).
    ///
    /// # Errors
    /// When `value` cannot be encoded.
    pub fn replace(&self, value: &(impl Serialize + ?Sized)) -> Result<Verdict, EncodeError> {
        Payload::encode(self.payload.encoding, value).map(Verdict::Replace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_is_in_the_codec_of_the_message() {
        let table = [
            (Payload::json(&1), Encoding::Json),
            (Payload::msgpack(&1), Encoding::Msgpack),
            (Ok(Payload::bytes(*b"1")), Encoding::Json),
        ];
        for (payload, expected) in table {
            let message = Message::new(None, "a", payload.expect("a number can be encoded"));
            let Ok(Verdict::Replace(replaced)) = message.replace(&"two") else { panic!("no replacement") };
            assert_eq!(replaced.encoding, expected);
            assert_eq!(replaced.decode::<String>().as_deref(), Ok("two"));
        }
    }
}
