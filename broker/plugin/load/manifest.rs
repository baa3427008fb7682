//! The manifest of a component: name, version and needed capabilities from its manifest section, and its hash. None of
//! its code runs.

use std::fmt::Write as _;
use std::slice;

use rialto_plugin::host::{Capabilities, Capability, NoCapability};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use wasmparser::{Parser, Payload as Section};

use super::component::{ComponentShape, printable};
use crate::plugin::{LoadError, Manifest, Protocol};

/// The custom section into which the SDK writes the manifest.
const SECTION: &str = "rialto:manifest";

/// The most characters of a component's name and versions, and of one capability.
const NAME_CHARS_MAX: usize = 64;
const NEED_CHARS_MAX: usize = 300;

/// The most capabilities of one plugin.
const NEEDS_MAX: usize = 1_000;

#[derive(Deserialize)]
struct ManifestText {
    name: String,
    version: String,
    protocol: Option<String>,
    needs: Option<Vec<String>>,
}

impl Manifest {
    /// Reads the manifest of a component, or of the modules inside it.
    pub(in crate::plugin) fn read(wasm: &[u8], shape: &ComponentShape) -> Self {
        let text = manifest_text(wasm);
        let needs = match text.as_ref().and_then(|text| text.needs.as_ref()) {
            Some(words) => words.iter().take(NEEDS_MAX).map(|word| printable(word, NEED_CHARS_MAX)).collect(),
            None => imported(shape),
        };
        let mut hash = String::with_capacity(64);
        for byte in Sha256::digest(wasm) {
            write!(hash, "{byte:02x}").expect("writing into memory does not fail");
        }
        let short = |text: &str| printable(text, NAME_CHARS_MAX);
        let protocol = text.as_ref().and_then(|text| text.protocol.as_deref()).map(short);
        let (name, version) = text.map_or(("unnamed".to_owned(), "?".to_owned()), |text| (text.name, text.version));
        Self { name: short(&name), version: short(&version), protocol, needs, hash, bytes: wasm.len() }
    }

    /// Checks that it is for the version of the protocol whose hooks the component exports, if it says one.
    ///
    /// # Errors
    /// [`LoadError::World`] with both versions.
    pub(in crate::plugin) fn check_protocol(&self, exported: Protocol) -> Result<(), LoadError> {
        match &self.protocol {
            Some(named) if named != exported.version() => {
                let text = format!("its manifest is for version \"{named}\" of the protocol, its hooks for {exported}");
                Err(LoadError::World(exported, text))
            }
            _ => Ok(()),
        }
    }

    /// Its capabilities as the plugin of this name: all it needs, if they are granted.
    ///
    /// # Errors
    /// Names the capability that is not granted, and the line that would grant it.
    pub(in crate::plugin) fn check(&self, plugin: &str, grants: &[Capability]) -> Result<Capabilities, LoadError> {
        let invalid = |error: NoCapability| LoadError::Needs(format!("cannot have what it needs: {error}"));
        let needs = self.needs.iter().map(|word| Capability::parse(word).map_err(invalid));
        let needs = needs.collect::<Result<Vec<_>, _>>()?;
        let is_granted = |need: &&Capability| Capabilities::of(slice::from_ref(*need), grants).is_ok();
        let missing: Vec<&Capability> = needs.iter().filter(|need| !is_granted(need)).collect();
        let all: Vec<&Capability> = grants.iter().chain(missing.iter().copied()).collect();
        Capabilities::of(&needs, grants).map_err(|_| {
            let (missing, all) = (quoted(&missing), quoted(&all));
            LoadError::Needs(format!("needs {missing}, which is not granted; in [plugin.{plugin}]: grants = [{all}]"))
        })
    }
}

/// Capabilities in the syntax of the configuration.
fn quoted(capabilities: &[&Capability]) -> String {
    let quote = |capability: &&Capability| format!("{:?}", capability.to_string());
    capabilities.iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// The capabilities that the imports imply.
fn imported(shape: &ComponentShape) -> Vec<String> {
    let interfaces = ["state", "timers", "sessions"].into_iter();
    interfaces.filter(|interface| shape.uses(interface)).map(str::to_owned).collect()
}

fn manifest_text(wasm: &[u8]) -> Option<ManifestText> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A module without anything, and a section after it.
    fn module(manifest: Option<&str>) -> Vec<u8> {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        if let Some(manifest) = manifest {
            let name = SECTION.as_bytes();
            let size = u8::try_from(1 + name.len() + manifest.len()).expect("a small section");
            assert!(size < 128, "one byte holds the size");
            wasm.extend([0, size, name.len() as u8]);
            wasm.extend(name);
            wasm.extend(manifest.as_bytes());
        }
        wasm
    }

    fn read(manifest: Option<&str>) -> Manifest {
        let wasm = module(manifest);
        Manifest::read(&wasm, &ComponentShape::read(&wasm).expect("a module"))
    }

    #[test]
    fn a_component_without_a_manifest_has_a_hash_and_no_name() {
        let manifest = read(None);
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("unnamed", "?"));
        assert_eq!(manifest.hash, "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476");
        assert!(manifest.needs.is_empty());
    }

    #[test]
    fn texts_of_a_manifest_are_made_printable() {
        let manifest = read(Some(r#"{"name":"a\u001b[31mb","version":"1\n"}"#));
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("a[31mb", "1"));
    }

    #[test]
    fn a_capability_that_is_not_granted_is_named_with_the_line_to_write() {
        let manifest = read(Some(r#"{"name":"a","version":"1","needs":["state","publish a.b"]}"#));
        let grant =
            |words: &[&str]| words.iter().map(|word| Capability::parse(word).expect("a word")).collect::<Vec<_>>();
        assert!(manifest.check("x", &grant(&["publish a.>", "state", "timers"])).is_ok());
        let text = manifest.check("x", &grant(&["state", "publish b"])).expect_err("not granted").to_string();
        let expected = "needs \"publish a.b\", which is not granted; in [plugin.x]: \
                        grants = [\"state\", \"publish b\", \"publish a.b\"]";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_manifest_for_another_version_than_the_hooks_is_refused() {
        let named = |protocol: &str| read(Some(&format!(r#"{{"name":"a","version":"1","protocol":"{protocol}"}}"#)));
        assert!(read(None).check_protocol(Protocol::V1_1).is_ok());
        assert!(read(Some(r#"{"name":"a","version":"1"}"#)).check_protocol(Protocol::V1_1).is_ok());
        assert!(named("1.0.0").check_protocol(Protocol::V1_0).is_ok());
        assert!(named("1.1.0").check_protocol(Protocol::V1_1).is_ok());
        for (protocol, exported) in [("9.9.9", Protocol::V1_0), ("1.1.0", Protocol::V1_0), ("1.0.0", Protocol::V1_1)] {
            let text = named(protocol).check_protocol(exported).expect_err("another version").to_string();
            let expected = format!(
                "does not fit the world rialto:plugin/plugin@{exported}: its manifest is for version \"{protocol}\" of \
                 the protocol, its hooks for {exported}"
            );
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn an_unknown_capability_is_reported() {
        let text = read(Some(r#"{"name":"a","version":"1","needs":["files"]}"#));
        let text = text.check("x", &Capability::OWN).expect_err("unknown").to_string();
        assert!(text.starts_with("cannot have what it needs: `files` is no capability: "), "{text}");
    }
}
