//! JSON values (RFC 8259): text in, events out, and back.

mod reader;
mod writer;

pub(crate) use reader::{entries, items, text};
pub use writer::Writer;

use super::{Sink, ValueError};

/// Reads one JSON value and tells it to `sink`.
///
/// # Errors
/// Any [`ValueError`] but [`ValueError::Reserved`] and [`ValueError::Extension`].
pub fn read(bytes: &[u8], sink: &mut impl Sink) -> Result<(), ValueError> {
    reader::value(reader::unicode(bytes)?, sink)
}
