//! What somebody says, as clients send it.

use crate::refusal::Refusal;
use rialto_plugin::prelude::*;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// The text of a message. Clients send it as a string, or as `text` of a map whose other fields count for nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can be said: not empty, at most `characters_max` long, no control characters but line feed and tab.
    pub(crate) fn check(&self, characters_max: u32) -> Result<()> {
        if self.0.trim().is_empty() {
            return Err(Refusal::Empty.because("the message is empty"));
        }
        let length = self.0.chars().count();
        if length > characters_max as usize {
            let reason = format!("the message has {length} characters, the limit is {characters_max}");
            return Err(Refusal::TooLong { length, limit: characters_max }.because(reason));
        }
        let control = self.0.chars().find(|&c| c.is_control() && c != '\n' && c != '\t');
        if let Some(c) = control {
            let reason = format!("the message contains a control character (U+{:04X})", u32::from(c));
            return Err(Refusal::InvalidText.because(reason));
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a string, or a map with a string `text`")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Text, E> {
        Ok(Text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Text, A::Error> {
        #[derive(Deserialize)]
        struct Fields {
            text: String,
        }
        Fields::deserialize(MapAccessDeserializer::new(fields)).map(|fields| Text(fields.text))
    }
}
