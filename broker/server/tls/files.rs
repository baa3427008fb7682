//! Reads the two files of a certificate and its key, and detects changes. It parses neither.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::pair::PairError;
use crate::config;

/// The content of both files.
pub(super) struct Files {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// A hash of the content, which may be kept longer than a key should be.
pub(super) type Fingerprint = [u8; 32];

impl Files {
    /// Reads both. Links and sizes may change between two calls.
    ///
    /// # Errors
    /// [`PairError::Unreadable`] for the first that cannot be read.
    pub(super) fn read(settings: &config::Tls) -> Result<Self, PairError> {
        Ok(Self { certificate: read(&settings.certificate)?, key: read(&settings.key)? })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update(self.certificate.len().to_le_bytes());
        hash.update(&self.certificate);
        hash.update(&self.key);
        hash.finalize().into()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PairError> {
    let most = config::Tls::FILE_BYTES_MAX;
    let mut bytes = Vec::new();
    let found = std::fs::metadata(path);
    // Opening something other than a regular file, such as a pipe, may block for ever.
    let found = found.and_then(|found| if found.is_file() { Ok(()) } else { Err(no_file()) });
    let opened = found.and_then(|()| File::open(path));
    let read = opened.and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    let read = read.and_then(|_| if bytes.len() as u64 > most { Err(too_large(most)) } else { Ok(()) });
    read.map_err(|reason| PairError::Unreadable { file: path.to_owned(), reason })?;
    Ok(bytes)
}

fn no_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")
}

fn too_large(most: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {most} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_move_from_one_file_to_the_other_are_a_change() {
        let files = |certificate: &str, key: &str| Files { certificate: certificate.into(), key: key.into() };
        assert_eq!(files("a", "b").fingerprint(), files("a", "b").fingerprint());
        for (certificate, key) in [("ab", ""), ("", "ab"), ("a", "c"), ("c", "b")] {
            assert_ne!(files(certificate, key).fingerprint(), files("a", "b").fingerprint(), "{certificate} {key}");
        }
    }
}
