//! What a component says of itself without being run: its manifest section, and the hash of its bytes.

use std::fmt::Write as _;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use wasmparser::{Parser, Payload as Section};

/// The custom section in which the SDK leaves the manifest.
const SECTION: &str = "rialto:manifest";

/// Name and version of a component, and what identifies its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The plugin's own name, `unnamed` when the component does not say.
    pub(crate) name: String,
    /// The plugin's own version, `?` when the component does not say.
    pub(crate) version: String,
    /// SHA-256 of the file, in hexadecimal.
    pub(crate) hash: String,
    /// The file's size.
    pub(crate) bytes: usize,
}

#[derive(Deserialize)]
struct Said {
    name: String,
    version: String,
}

impl Manifest {
    /// Reads the manifest of a component, or of the modules inside it.
    pub(crate) fn read(wasm: &[u8]) -> Self {
        let said = said(wasm);
        let mut hash = String::with_capacity(64);
        for byte in Sha256::digest(wasm) {
            write!(hash, "{byte:02x}").expect("writing into memory does not fail");
        }
        let (name, version) = said.map_or(("unnamed".to_owned(), "?".to_owned()), |said| (said.name, said.version));
        Self { name: printable(&name), version: printable(&version), hash, bytes: wasm.len() }
    }
}

fn said(wasm: &[u8]) -> Option<Said> {
    // The parser walks into nested modules and components by itself.
    for section in Parser::new(0).parse_all(wasm) {
        match section {
            Ok(Section::CustomSection(section)) if section.name() == SECTION => {
                return serde_json::from_slice(section.data()).ok();
            }
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    None
}

/// The component is foreign: what it says of itself reaches terminals and logs only in this form.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_component_have_a_hash_and_no_name() {
        let manifest = Manifest::read(b"");
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("unnamed", "?"));
        assert_eq!(manifest.hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn what_a_component_says_of_itself_is_made_printable() {
        assert_eq!(printable("a\u{1b}[31mb\n"), "a[31mb");
        assert_eq!(printable(&"x".repeat(100)).len(), 64);
    }
}
