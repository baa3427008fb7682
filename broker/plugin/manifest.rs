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
    /// The capabilities it asks for; those that its imports stand for when it does not say.
    pub(crate) needs: Vec<String>,
    /// SHA-256 of the file, in hexadecimal.
    pub(crate) hash: String,
    /// The file's size.
    pub(crate) bytes: usize,
}

#[derive(Deserialize)]
struct Said {
    name: String,
    version: String,
    needs: Option<Vec<String>>,
}

/// The interfaces that stand for capabilities.
const INTERFACES: [(&str, &str); 3] = [
    ("rialto:plugin/state@1.0.0", "state"),
    ("rialto:plugin/timers@1.0.0", "timers"),
    ("rialto:plugin/sessions@1.0.0", "sessions"),
];

/// Most capabilities of a manifest.
const NEEDS_MAX: usize = 1_000;

impl Manifest {
    /// Reads the manifest of a component, or of the modules inside it.
    pub(crate) fn read(wasm: &[u8]) -> Self {
        let said = said(wasm);
        let mut hash = String::with_capacity(64);
        for byte in Sha256::digest(wasm) {
            write!(hash, "{byte:02x}").expect("writing into memory does not fail");
        }
        let (name, version, needs) = match said {
            Some(said) => (said.name, said.version, said.needs),
            None => ("unnamed".to_owned(), "?".to_owned(), None),
        };
        let mut needs = needs.unwrap_or_else(|| imported(wasm));
        needs.truncate(NEEDS_MAX);
        Self { name: printable(&name), version: printable(&version), needs, hash, bytes: wasm.len() }
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

/// The capabilities that stand behind what is imported at the top.
fn imported(wasm: &[u8]) -> Vec<String> {
    let mut needs = Vec::new();
    let mut depth = 0;
    for section in Parser::new(0).parse_all(wasm) {
        match section {
            Ok(Section::ModuleSection { .. } | Section::ComponentSection { .. }) => depth += 1,
            Ok(Section::End(_)) => depth -= 1,
            Ok(Section::ComponentImportSection(imports)) if depth == 0 => {
                let names = imports.into_iter().flatten().map(|import| import.name.name);
                let of = |name| INTERFACES.iter().find(|(interface, _)| *interface == name);
                needs.extend(names.filter_map(of).map(|(_, need)| (*need).to_owned()));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    needs
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
