//! Notices by a file's metadata that it has changed. It reads no file.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

/// The metadata that distinguishes one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileVersion {
    modified: SystemTime,
    bytes: u64,
    inode: u64,
}

impl FileVersion {
    /// What is there now, if anything is.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let about = std::fs::metadata(path).ok()?;
        Some(Self { modified: about.modified().ok()?, bytes: about.len(), inode: about.ino() })
    }

    /// A version that differs from others by its length alone.
    #[cfg(test)]
    pub(crate) fn with_bytes(bytes: u64) -> Self {
        Self { modified: SystemTime::UNIX_EPOCH, bytes, inode: 1 }
    }
}
