//! JSON values (RFC 8259): text in, events out, and back.

mod reader;
mod writer;

pub(crate) use reader::Reader;
pub use writer::Writer;

use super::{Sink, ValueError, walk};

/// Reads one JSON value and tells it to `sink`.
///
/// # Errors
/// Any [`ValueError`] but [`ValueError::Reserved`] and [`ValueError::Extension`].
pub fn read(text: &[u8], sink: &mut impl Sink) -> Result<(), ValueError> {
    walk::whole::<Reader<'_>>(text, sink)
}
