//! MessagePack values: bytes in, events out, and back.

mod reader;
mod writer;

pub(crate) use reader::Reader;
pub use writer::Writer;

use super::{Sink, ValueError, walk};

/// Reads one MessagePack value and tells it to `sink`.
///
/// # Errors
/// Any [`ValueError`] but [`ValueError::Json`] and [`ValueError::Surrogate`].
pub fn read(bytes: &[u8], sink: &mut impl Sink) -> Result<(), ValueError> {
    walk::whole::<Reader<'_>>(bytes, sink)
}
