//! Recordings of what led to a failure, and their replay.

pub(super) mod recorder;
#[cfg(all(feature = "cli", feature = "plugins"))]
pub(super) mod replay;
