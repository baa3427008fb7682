//! MessagePack values: bytes in, events out, and back.

mod reader;
mod walk;
mod writer;

pub(crate) use reader::Scalar;
pub(crate) use walk::{entries, items, scalar};
pub use writer::Writer;

use super::{Sink, ValueError};

/// Reads one MessagePack value and tells it to `sink`.
///
/// # Errors
/// Any [`ValueError`] but [`ValueError::Json`] and [`ValueError::Surrogate`].
pub fn read(bytes: &[u8], sink: &mut impl Sink) -> Result<(), ValueError> {
    walk::whole(bytes, sink)
}
