//! Values and frames as a person thinks of them, carried by the protocol or not, that either codec can write. What a test
//! expects is told by this model, which knows nothing of the code under test.
#![allow(dead_code, unused_imports, reason = "each test program uses a part of this")]

pub(crate) mod any;
mod meaning;
mod write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Number, Value};

pub(crate) use meaning::{content, meaning};
pub(crate) use write::write;

/// The deepest value that is carried, as broker/book/src/protocol/frames.md says.
pub(crate) const DEPTH_MAX: usize = 32;

/// One value.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    Null,
    Bool(bool),
    /// A whole number of 64 bits, with or without a sign.
    Whole(i128),
    /// A finite number.
    Float(f64),
    /// NaN or an infinity; JSON has a number too large or a word for it.
    NotFinite(f64),
    Text(String),
    /// A text that is not Unicode: half a surrogate pair in JSON, no UTF-8 in MessagePack.
    BrokenText,
    /// A `bin`; JSON has its base64 text.
    Bytes(Vec<u8>),
    Array(Vec<Model>),
    Map(Vec<(Key, Model)>),
}

/// The key of an entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Key {
    Text(String),
    /// As [`Model::BrokenText`].
    Broken,
    Number(u8),
}

impl Key {
    pub(crate) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Text(text) if text == name)
    }

    /// As [`Model::is_json`].
    pub(crate) fn is_json(&self) -> bool {
        !matches!(self, Self::Number(_))
    }
}

impl Model {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn map(entries: impl IntoIterator<Item = (&'static str, Model)>) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (Key::Text(key.to_owned()), value)).collect())
    }

    /// The bytes that a base64 text stands for.
    pub(crate) fn bytes(base64: &str) -> Self {
        Self::Bytes(BASE64.decode(base64).expect("base64"))
    }

    /// So many arrays in one another around this.
    pub(crate) fn in_arrays(self, count: usize) -> Self {
        (0..count).fold(self, |inner, _| Self::Array(vec![inner]))
    }

    /// Whether the protocol carries it.
    pub(crate) fn is_carried(&self) -> bool {
        self.is_carried_in(DEPTH_MAX)
    }

    fn is_carried_in(&self, depth_left: usize) -> bool {
        match self {
            Self::NotFinite(_) | Self::BrokenText => false,
            Self::Array(items) => depth_left > 0 && items.iter().all(|item| item.is_carried_in(depth_left - 1)),
            Self::Map(entries) => {
                let is_good =
                    |(key, value): &(Key, Self)| matches!(key, Key::Text(_)) && value.is_carried_in(depth_left - 1);
                depth_left > 0 && entries.iter().all(is_good)
            }
            _ => true,
        }
    }

    /// Whether JSON has a form for it, carried or not.
    pub(crate) fn is_json(&self) -> bool {
        match self {
            Self::NotFinite(number) => !number.is_nan(),
            Self::Array(items) => items.iter().all(Self::is_json),
            Self::Map(entries) => entries.iter().all(|(key, value)| key.is_json() && value.is_json()),
            _ => true,
        }
    }

    /// What a JSON session sees of a value that is carried. Of a key that stands twice the last counts.
    pub(crate) fn seen(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => (*flag).into(),
            Self::Whole(number) => match u64::try_from(*number) {
                Ok(number) => number.into(),
                Err(_) => i64::try_from(*number).expect("64 bits").into(),
            },
            Self::Float(number) => Number::from_f64(*number).expect("finite").into(),
            Self::Text(text) => text.as_str().into(),
            Self::Bytes(bytes) => BASE64.encode(bytes).into(),
            Self::Array(items) => items.iter().map(Self::seen).collect(),
            Self::Map(entries) => entries
                .iter()
                .map(|(key, value)| match key {
                    Key::Text(key) => (key.clone(), value.seen()),
                    other => panic!("{other:?} is not carried"),
                })
                .collect(),
            Self::NotFinite(_) | Self::BrokenText => panic!("{self:?} is not carried"),
        }
    }
}

impl From<&Value> for Model {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => match number.as_i128() {
                Some(number) => Self::Whole(number),
                None => Self::Float(number.as_f64().expect("a double")),
            },
            Value::String(text) => Self::text(text),
            Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Object(entries) => {
                Self::Map(entries.iter().map(|(key, value)| (Key::Text(key.clone()), value.into())).collect())
            }
        }
    }
}
