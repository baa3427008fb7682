//! The build record beside a committed component: its toolchain, its sources and its hash.

use super::package::Package;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::{fs, io};

/// How a component was built.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// What `rustc -V` printed.
    pub(super) rustc: String,
    /// The digest of the component.
    pub(super) sha256: String,
    /// Its size.
    pub(super) bytes: usize,
    /// The digest of its sources.
    pub(super) sources: String,
}

impl Record {
    /// The record of a component that has just been built.
    ///
    /// # Errors
    /// When a source file cannot be read.
    pub(super) fn of(rustc: &str, package: &Package, component: &[u8]) -> Result<Self> {
        Ok(Self {
            rustc: rustc.to_owned(),
            sha256: sha256_hex(component),
            bytes: component.len(),
            sources: package.sources_digest()?,
        })
    }

    /// Reads a record, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, or lacks something.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        Self::from_toml(&text).with_context(|| format!("{} is not a record of a plugin", path.display())).map(Some)
    }

    pub(super) fn to_toml(&self, name: &str) -> String {
        let Self { rustc, sha256, bytes, sources } = self;
        format!(
            "# How {name}.wasm was built. `rialto plugin build --record` writes this, `--check` reads it.\n\
             rustc = \"{rustc}\"\nsha256 = \"{sha256}\"\nbytes = {bytes}\nsources = \"{sources}\"\n"
        )
    }

    /// Reads what [`Record::to_toml`] writes: one key and one value a line, nothing escaped.
    fn from_toml(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let entries = text.lines().filter_map(|line| line.split_once(" = "));
            entries.filter(|(found, _)| *found == key).map(|(_, value)| value.trim_matches('"').to_owned()).next()
        };
        Some(Self {
            rustc: value("rustc")?,
            sha256: value("sha256")?,
            bytes: value("bytes")?.parse().ok()?,
            sources: value("sources")?,
        })
    }
}

/// The SHA-256 digest in hexadecimal digits.
pub(super) fn sha256_hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            rustc: "rustc 1.95.0 (59807616e 2026-04-14)".to_owned(),
            sha256: sha256_hex(b""),
            bytes: 7,
            sources: "abc".to_owned(),
        };
        assert_eq!(record.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let toml = record.to_toml("chat");
        assert_eq!(Record::from_toml(&toml), Some(record));
        assert_eq!(Record::from_toml(&toml.replace("bytes = 7", "bytes = x")), None);
        assert_eq!(Record::from_toml(""), None);
    }
}
