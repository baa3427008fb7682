//! Single values in either codec as a stream of events: read, checked and written without building a tree.
//!
//! Both readers feed the same [`Sink`] under the same rules, so the two codecs accept the same set of values: nested at most
//! [`DEPTH_MAX`](crate::DEPTH_MAX) deep, finite numbers, string keys, texts that are Unicode, no extension types, nothing
//! after the value.

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

/// Whether bytes have been held to the rules for values before.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Validity {
    Unchecked,
    Checked,
}

/// Why bytes are not one value that the protocol carries. Bytes are counted from the start of what was read, in MessagePack to
/// where the fault begins, in JSON to where serde_json noticed it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// Something that stands nowhere in JSON (RFC 8259).
    #[error("not valid JSON: {fault} at byte {at}")]
    Json {
        /// What is wrong, in the words of serde_json.
        fault: String,
        /// Where.
        at: usize,
    },
    /// The bytes end inside the value, or a length in them is larger than what follows.
    #[error("the value is cut off at byte {0}")]
    Truncated(usize),
    /// The byte 0xc1, which MessagePack never uses.
    #[error("not valid MessagePack: reserved byte 0xc1 at byte {0}")]
    Reserved(usize),
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8 (byte {0})")]
    Utf8(usize),
    /// An escape in a JSON text that is one half of a surrogate pair.
    #[error("half a surrogate pair (byte {0})")]
    Surrogate(usize),
    /// A MessagePack extension type.
    #[error("extension types are not carried (byte {0})")]
    Extension(usize),
    /// A map key that is not a string.
    #[error("a map key is not a string (byte {0})")]
    Key(usize),
    /// NaN, an infinity, or a number in JSON that is larger than any double.
    #[error("a number is not finite (byte {0})")]
    NotFinite(usize),
    /// Nesting over the limit.
    #[error("nested deeper than {}", crate::DEPTH_MAX)]
    Depth,
    /// Bytes after the value.
    #[error("bytes after the value (byte {0})")]
    Trailing(usize),
    /// What a program handed over as a value cannot be written as JSON.
    #[error("cannot be written as JSON: {0}")]
    Unwritable(String),
}
