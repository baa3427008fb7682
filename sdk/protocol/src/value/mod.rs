//! Single values in either codec as a stream of events: read, checked and written without building a tree.
//!
//! Both readers feed the same [`Sink`] under the same rules, so the two codecs accept the same set of values:
//! nested at most [`DEPTH_MAX`](crate::DEPTH_MAX) deep, finite numbers, string keys, no extension types, nothing after
//! the value.

pub mod json;
pub mod msgpack;

use thiserror::Error;

/// What a reader tells of a value, in the order of the text.
pub trait Sink {
    /// `null` or `nil`.
    fn null(&mut self);
    /// A boolean.
    fn bool(&mut self, value: bool);
    /// A whole number that is not negative.
    fn unsigned(&mut self, value: u64);
    /// A negative whole number.
    fn signed(&mut self, value: i64);
    /// A finite floating point number.
    fn float(&mut self, value: f64);
    /// A text.
    fn text(&mut self, value: &str);
    /// A MessagePack `bin`; JSON writes it as base64 text (RFC 4648 section 4).
    fn bytes(&mut self, value: &[u8]);
    /// An array begins.
    fn array(&mut self);
    /// A map begins.
    fn map(&mut self);
    /// The key of the value that follows.
    fn key(&mut self, key: &str);
    /// The innermost array or map ends.
    fn end(&mut self);
}

/// A sink that only lets the reader check.
#[derive(Debug, Default)]
pub struct Discard;

impl Sink for Discard {
    fn null(&mut self) {}
    fn bool(&mut self, _: bool) {}
    fn unsigned(&mut self, _: u64) {}
    fn signed(&mut self, _: i64) {}
    fn float(&mut self, _: f64) {}
    fn text(&mut self, _: &str) {}
    fn bytes(&mut self, _: &[u8]) {}
    fn array(&mut self) {}
    fn map(&mut self) {}
    fn key(&mut self, _: &str) {}
    fn end(&mut self) {}
}

/// Why bytes are not one value that the protocol carries.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// The bytes are not JSON; the text says what and where.
    #[error("not valid JSON: {0}")]
    Json(String),
    /// The bytes end inside the value, or a length in them is larger than what follows.
    #[error("not valid MessagePack: the value is cut off at byte {0}")]
    Truncated(usize),
    /// The byte 0xc1, which MessagePack never uses.
    #[error("not valid MessagePack: reserved byte 0xc1 at byte {0}")]
    Reserved(usize),
    /// A MessagePack `str` that is not UTF-8.
    #[error("not valid MessagePack: text that is not UTF-8 at byte {0}")]
    Utf8(usize),
    /// A MessagePack extension type.
    #[error("extension types are not carried (byte {0})")]
    Extension(usize),
    /// A map key that is not a string.
    #[error("a map key is not a string (byte {0})")]
    Key(usize),
    /// NaN or an infinity.
    #[error("a number is not finite (byte {0})")]
    NotFinite(usize),
    /// Nesting over the limit.
    #[error("nested deeper than {}", crate::DEPTH_MAX)]
    Depth,
    /// Bytes after the value.
    #[error("bytes after the value (byte {0})")]
    Trailing(usize),
}
