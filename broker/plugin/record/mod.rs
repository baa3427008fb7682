//! Recordings of what led to a failure, and their replay.

pub(super) mod recorder;
#[cfg(feature = "cli")]
pub(super) mod replay;
