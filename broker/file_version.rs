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

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_file_moved_into_place_is_another_version_though_time_and_length_are_the_same() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (path, next) = (folder.path().join("keys"), folder.path().join("next"));
        for file in [&path, &next] {
            fs::write(file, "same length")?;
            File::options().write(true).open(file)?.set_modified(SystemTime::UNIX_EPOCH)?;
        }
        let before = FileVersion::of(&path);
        assert!(before.is_some());
        assert_eq!(FileVersion::of(&path), before);
        fs::rename(&next, &path)?;
        assert_ne!(FileVersion::of(&path), before);
        fs::remove_file(&path)?;
        assert_eq!(FileVersion::of(&path), None);
        Ok(())
    }
}
