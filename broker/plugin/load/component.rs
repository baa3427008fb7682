//! The outer shape of a component or core module, read from its sections: imports and exports. An invalid file is
//! reported before the compiler starts; none of its code is compiled or run.

use std::collections::BTreeSet;

use wasmparser::{ComponentExternalKind, ComponentTypeRef, Encoding, Parser, Payload as Section};

use crate::plugin::protocol::{HOOKS, PACKAGE};
use crate::plugin::{LoadError, Protocol};

/// The major version of the protocol: a component may import interfaces of any minor version.
const MAJOR: &str = "1";

/// The interfaces that plugins may import.
const IMPORTS: [&str; 6] = ["messages", "sessions", "state", "system", "timers", "types"];

/// The most names that an error lists, and the most characters of each.
const NAMES_MAX: usize = 5;
const NAME_CHARS_MAX: usize = 100;

/// The parser's message for a file that ends too early.
const END_OF_FILE: &str = "unexpected end";

/// The imports and exports of a component or core module.
#[derive(Debug)]
pub(in crate::plugin) struct ComponentShape {
    /// Whether it is a core module, which has to be wrapped into a component.
    pub(in crate::plugin) is_module: bool,
    /// The imported interfaces, or the modules of core imports.
    imports: BTreeSet<String>,
    exports: Vec<String>,
}

impl ComponentShape {
    /// Reads the sections of a file.
    ///
    /// # Errors
    /// [`LoadError::NotAComponent`] for a file that is not WebAssembly, cut off or damaged.
    pub(in crate::plugin) fn read(wasm: &[u8]) -> Result<Self, LoadError> {
        check_header(wasm).map_err(LoadError::NotAComponent)?;
        let mut shape = Self { is_module: false, imports: BTreeSet::new(), exports: Vec::new() };
        shape.walk(wasm).map_err(|error| LoadError::NotAComponent(describe(&error, wasm.len())))?;
        Ok(shape)
    }

    /// Reads the outermost component or module only: nested ones import from what surrounds them.
    fn walk(&mut self, wasm: &[u8]) -> wasmparser::Result<()> {
        let mut depth = 0_usize;
        for section in Parser::new(0).parse_all(wasm) {
            match section? {
                Section::Version { encoding, .. } => {
                    depth += 1;
                    self.is_module |= depth == 1 && encoding == Encoding::Module;
                }
                Section::End(_) => depth = depth.saturating_sub(1),
                Section::ComponentImportSection(imports) if depth == 1 => {
                    for import in imports {
                        let import = import?;
                        // Types are imported for resources that an interface uses; they grant nothing.
                        if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                            self.imports.insert(import.name.name.to_owned());
                        }
                    }
                }
                Section::ComponentExportSection(exports) if depth == 1 => {
                    for export in exports {
                        let export = export?;
                        if export.kind != ComponentExternalKind::Type {
                            self.exports.push(export.name.name.to_owned());
                        }
                    }
                }
                Section::ImportSection(imports) if depth == 1 => {
                    for import in imports.into_imports() {
                        self.imports.insert(import?.module.to_owned());
                    }
                }
                Section::ExportSection(exports) if depth == 1 => {
                    for export in exports {
                        self.exports.push(export?.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Its imports, made printable.
    pub(in crate::plugin) fn imports(&self) -> Vec<String> {
        self.imports.iter().map(|name| printable(name, NAME_CHARS_MAX)).collect()
    }

    /// Its exports, made printable.
    pub(in crate::plugin) fn exports(&self) -> Vec<String> {
        self.exports.iter().map(|name| printable(name, NAME_CHARS_MAX)).collect()
    }

    /// Whether it imports an interface of the protocol, in any compatible version.
    pub(in crate::plugin) fn uses(&self, interface: &str) -> bool {
        self.imports.iter().any(|import| interface_of(import) == Some(interface))
    }

    /// The version of the protocol whose hooks it exports: the newest, if there are several.
    fn exported(&self) -> Option<Protocol> {
        self.exports.iter().filter_map(|export| Protocol::of_export(export, self.is_module)).max()
    }

    /// The version of the protocol that it is for; the oldest where it does not say.
    pub(in crate::plugin) fn protocol(&self) -> Protocol {
        self.exported().unwrap_or(Protocol::V1_0)
    }

    /// Checks by name that it imports nothing but the protocol's interfaces and exports the hooks of a version. Returns
    /// that version.
    ///
    /// # Errors
    /// [`LoadError::World`] names the foreign import or the missing export, and how to build the plugin without it.
    pub(in crate::plugin) fn check(&self) -> Result<Protocol, LoadError> {
        let exported = self.exported();
        let wrong = |text: String| Err(LoadError::World(self.protocol(), text));
        let other = self.exports.iter().find_map(|export| export.strip_prefix(HOOKS));
        if let Some(other) = other.filter(|_| exported.is_none()) {
            let version = printable(other.split('#').next().unwrap_or_default(), NAME_CHARS_MAX);
            let known = Protocol::ALL.map(Protocol::version).join(" and ");
            return wrong(format!("it is for version {version} of the protocol, this broker has {known}"));
        }
        let foreign = self.imports.iter().filter(|import| interface_of(import).is_none());
        let foreign: Vec<&str> = foreign.map(String::as_str).collect();
        if !foreign.is_empty() {
            return wrong(format!("it imports {}{}", list(&foreign), advice(&foreign)));
        }
        if let Some(protocol) = exported {
            return Ok(protocol);
        }
        let what = if self.is_module { "a core module" } else { "a component" };
        let exports: Vec<&str> = self.exports.iter().map(String::as_str).collect();
        let exports = if exports.is_empty() { "nothing".to_owned() } else { list(&exports) };
        let hooks = Protocol::V1_0.hooks();
        let advice = "in Rust `rialto_plugin::export!(YourPlugin);` exports the hooks";
        wrong(format!("it is {what} that exports no hooks ({hooks}) but {exports}; {advice}"))
    }
}

/// The protocol interface that an import names.
fn interface_of(import: &str) -> Option<&str> {
    let (interface, version) = import.strip_prefix(PACKAGE)?.split_once('@')?;
    (IMPORTS.contains(&interface) && version.split('.').next() == Some(MAJOR)).then_some(interface)
}

/// How to build a plugin without these imports.
fn advice(imports: &[&str]) -> &'static str {
    let any = |test: fn(&str) -> bool| imports.iter().any(|import| test(import));
    if any(|import| import.starts_with("wasi")) {
        ": plugins have no WASI. Build Rust for wasm32-unknown-unknown, JavaScript with every entry of `disableFeatures` \
         set, Python with `--stub-wasi`; `rialto plugin build` does so"
    } else if any(|import| import.contains("wbindgen") || import.starts_with("wasm-bindgen")) {
        ": that is glue for browsers (wasm-bindgen); a dependency asks for it, often by a feature `js` or `wasm-bindgen`"
    } else if any(|import| import == "env") {
        ": a function is declared in the sources but was not linked"
    } else if any(|import| import.starts_with(PACKAGE)) {
        ": this version of the protocol does not have it"
    } else {
        ", which plugins do not get"
    }
}

fn check_header(wasm: &[u8]) -> Result<(), String> {
    let shown = || wasm.iter().take(16).flat_map(|byte| byte.escape_ascii()).map(char::from).collect::<String>();
    if wasm.is_empty() {
        return Err("the file is empty".to_owned());
    }
    if wasm.len() < 8 && (b"\0asm\x01\0\0\0".starts_with(wasm) || b"\0asm\x0d\0\x01\0".starts_with(wasm)) {
        return Err(format!("the file is cut off: it ends after {} bytes", wasm.len()));
    }
    if !wasm.starts_with(b"\0asm") {
        let text = wasm.trim_ascii_start();
        let is_text = text.starts_with(b"(module") || text.starts_with(b"(component") || text.starts_with(b";;");
        let hint = if is_text { "; this is the text format, `wasm-tools parse` makes the binary of it" } else { "" };
        return Err(format!("the file does not begin like WebAssembly but with \"{}\"{hint}", shown()));
    }
    if !Parser::is_core_wasm(wasm) && !Parser::is_component(wasm) {
        return Err(format!("the file is of an unknown version of WebAssembly, it begins with \"{}\"", shown()));
    }
    Ok(())
}

fn describe(error: &wasmparser::Error, bytes: usize) -> String {
    if error.message().contains(END_OF_FILE) {
        return format!("the file is cut off or damaged: it has {bytes} bytes and ends in the middle of something");
    }
    format!("the file is damaged at byte {}: {}", error.offset(), printable(error.message(), 200))
}

fn list(names: &[&str]) -> String {
    let shown: Vec<String> =
        names.iter().take(NAMES_MAX).map(|name| format!("\"{}\"", printable(name, NAME_CHARS_MAX))).collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// Text without invisible and control characters: names in a component are untrusted, and reach terminals and logs in
/// this form only.
pub(in crate::plugin) fn printable(text: &str, characters: usize) -> String {
    let is_hidden = |character: char| character != ' ' && crate::topic::is_invisible(character);
    text.chars().filter(|character| !is_hidden(*character)).take(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(wasm: &[u8]) -> String {
        ComponentShape::read(wasm).expect_err("no WebAssembly").to_string()
    }

    #[test]
    fn a_file_that_is_not_webassembly_is_reported_by_its_first_bytes() {
        for (wasm, expected) in [
            (&b""[..], "the file is empty"),
            (b"\0as", "cut off: it ends after 3 bytes"),
            (b"\0asm\x0d\0\x01", "cut off: it ends after 7 bytes"),
            (b"#!/bin/sh\n", "but with \"#!/bin/sh\\n\""),
            (b"\x7fELF\x02", "but with \"\\x7fELF\\x02\""),
            (b"  (module)", "text format"),
            (b"\0asm\x07\0\0\0", "unknown version"),
            (b"\0asm\x01\0\0\0\x01\x7f", "cut off or damaged"),
            (b"\0asm\x01\0\0\0\xff\0", "damaged at byte"),
        ] {
            let text = refused(wasm);
            assert!(text.starts_with("not a WebAssembly component: ") && text.contains(expected), "{text}");
        }
    }

    #[test]
    fn imports_are_matched_by_interface_and_major_version() {
        let cases = [
            ("rialto:plugin/state@1.0.0", Some("state")),
            ("rialto:plugin/state@1.2.0", Some("state")),
            ("rialto:plugin/state@2.0.0", None),
            ("rialto:plugin/files@1.0.0", None),
            ("wasi:io/poll@0.2.0", None),
        ];
        for (import, expected) in cases {
            assert_eq!(interface_of(import), expected, "{import}");
        }
    }

    #[test]
    fn too_many_names_are_counted() {
        let names: Vec<String> = (0..9).map(|n| format!("n{n}\u{1b}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(list(&names), "\"n0\", \"n1\", \"n2\", \"n3\", \"n4\" and 4 more");
    }
}
