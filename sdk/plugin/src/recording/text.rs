//! Values of the SDK as they stand in a recording: readable where they are text, base64 where they are not.

use crate::imports::{Level, Refusal};
use crate::message::Raw;
use crate::payload::{Encoding, Payload};
use crate::session::Session;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes, written as text if they are UTF-8.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Base64 { base64: String },
}

impl Bytes {
    fn of(content: &[u8]) -> Self {
        match std::str::from_utf8(content) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64 { base64: STANDARD.encode(content) },
        }
    }

    fn content<E: serde::de::Error>(self) -> Result<Vec<u8>, E> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Base64 { base64 } => STANDARD.decode(base64).map_err(E::custom),
        }
    }
}

/// Bytes of the state.
pub(super) mod bytes {
    use super::{Bytes, Deserialize, Deserializer, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(content: &[u8], out: S) -> Result<S::Ok, S::Error> {
        Bytes::of(content).serialize(out)
    }

    pub(in super::super) fn deserialize<'d, D: Deserializer<'d>>(input: D) -> Result<Vec<u8>, D::Error> {
        Bytes::deserialize(input)?.content()
    }
}

/// Bytes that may be missing.
pub(super) mod maybe_bytes {
    use super::{Bytes, Deserialize, Deserializer, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(content: &Option<Vec<u8>>, out: S) -> Result<S::Ok, S::Error> {
        content.as_ref().map(|content| Bytes::of(content)).serialize(out)
    }

    pub(in super::super) fn deserialize<'d, D: Deserializer<'d>>(input: D) -> Result<Option<Vec<u8>>, D::Error> {
        Option::<Bytes>::deserialize(input)?.map(Bytes::content).transpose()
    }
}

/// Entries of the state.
pub(super) mod entries {
    use super::{Bytes, Deserialize, Deserializer, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(entries: &[(String, Vec<u8>)], out: S) -> Result<S::Ok, S::Error> {
        let entries: Vec<_> = entries.iter().map(|(key, value)| (key, Bytes::of(value))).collect();
        entries.serialize(out)
    }

    pub(in super::super) fn deserialize<'d, D: Deserializer<'d>>(input: D) -> Result<Vec<(String, Vec<u8>)>, D::Error> {
        let entries = Vec::<(String, Bytes)>::deserialize(input)?;
        entries.into_iter().map(|(key, value)| Ok((key, value.content()?))).collect()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Coded {
    Json(Bytes),
    Msgpack(Bytes),
    Bytes(Bytes),
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let content = Bytes::of(&self.content);
        match self.encoding {
            Encoding::Json => Coded::Json(content),
            Encoding::Msgpack => Coded::Msgpack(content),
            Encoding::Bytes => Coded::Bytes(content),
        }
        .serialize(out)
    }
}

impl<'d> Deserialize<'d> for Payload {
    fn deserialize<D: Deserializer<'d>>(input: D) -> Result<Self, D::Error> {
        let (encoding, content) = match Coded::deserialize(input)? {
            Coded::Json(content) => (Encoding::Json, content),
            Coded::Msgpack(content) => (Encoding::Msgpack, content),
            Coded::Bytes(content) => (Encoding::Bytes, content),
        };
        Ok(Self { encoding, content: content.content()? })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Session")]
struct Known {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    // Recordings of plugins for version 1.0 of the protocol have neither.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    info: Option<Payload>,
}

impl Serialize for Session {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let Self { id, user, roles, info } = self.clone();
        Known { id, user, roles, info }.serialize(out)
    }
}

impl<'d> Deserialize<'d> for Session {
    fn deserialize<D: Deserializer<'d>>(input: D) -> Result<Self, D::Error> {
        let Known { id, user, roles, info } = Known::deserialize(input)?;
        Ok(Self { id, user, roles, info })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Bare {
    Text(String),
    Binary(Bytes),
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => Bare::Text(text.clone()),
            Self::Binary(content) => Bare::Binary(Bytes::of(content)),
        }
        .serialize(out)
    }
}

impl<'d> Deserialize<'d> for Raw {
    fn deserialize<D: Deserializer<'d>>(input: D) -> Result<Self, D::Error> {
        Ok(match Bare::deserialize(input)? {
            Bare::Text(text) => Self::Text(text),
            Bare::Binary(content) => Self::Binary(content.content()?),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Refused {
    Forbidden(String),
    Invalid(String),
    Limit(String),
}

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.clone() {
            Self::Forbidden(text) => Refused::Forbidden(text),
            Self::Invalid(text) => Refused::Invalid(text),
            Self::Limit(text) => Refused::Limit(text),
        }
        .serialize(out)
    }
}

impl<'d> Deserialize<'d> for Refusal {
    fn deserialize<D: Deserializer<'d>>(input: D) -> Result<Self, D::Error> {
        Ok(match Refused::deserialize(input)? {
            Refused::Forbidden(text) => Self::Forbidden(text),
            Refused::Invalid(text) => Self::Invalid(text),
            Refused::Limit(text) => Self::Limit(text),
        })
    }
}

/// How much a log line matters, as a word.
pub(super) mod level {
    use super::{Deserialize, Deserializer, Level, Serialize, Serializer};

    const WORDS: [(&str, Level); 4] =
        [("debug", Level::Debug), ("info", Level::Info), ("warn", Level::Warn), ("error", Level::Error)];

    pub(in super::super) fn serialize<S: Serializer>(level: &Level, out: S) -> Result<S::Ok, S::Error> {
        WORDS[*level as usize].0.serialize(out)
    }

    pub(in super::super) fn deserialize<'d, D: Deserializer<'d>>(input: D) -> Result<Level, D::Error> {
        let word = String::deserialize(input)?;
        let found = WORDS.iter().find(|(known, _)| *known == word);
        found.map(|(_, level)| *level).ok_or_else(|| serde::de::Error::custom(format!("no log level {word:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_earlier_recordings_have_neither_roles_nor_info() {
        let plain = Session::new("s").with_user("ann");
        let known = plain.clone().with_roles(["admin"]).with_info(Payload::json(&"Ann").expect("JSON"));
        for (session, text) in [
            (Session::new("s"), r#"{"id":"s"}"#),
            (plain, r#"{"id":"s","user":"ann"}"#),
            (known, r#"{"id":"s","user":"ann","roles":["admin"],"info":{"json":"\"Ann\""}}"#),
        ] {
            assert_eq!(serde_json::to_string(&session).expect("JSON"), text);
            assert_eq!(serde_json::from_str::<Session>(text).expect("a session"), session);
        }
    }
}
