//! A plugin that is not written in Rust: its description, and its component.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rialto_plugin::host::Capability;
use serde_json::json;

/// The version of the plugin protocol.
const PROTOCOL: &str = "1.0.0";

/// The custom section with the manifest.
const SECTION: &str = "rialto:manifest";

/// A plugin's folder.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) folder: PathBuf,
    pub(super) name: String,
    pub(super) version: String,
    needs: Vec<String>,
    /// Its source, as its language names it.
    pub(super) source: String,
}

impl Project {
    /// # Errors
    /// When it requests an unknown capability.
    pub(super) fn new(
        folder: &Path,
        name: String,
        version: String,
        needs: Vec<String>,
        source: String,
    ) -> Result<Self> {
        for need in &needs {
            Capability::parse(need).with_context(|| format!("capabilities of {name}"))?;
        }
        let folder = std::path::absolute(folder).with_context(|| folder.display().to_string())?;
        Ok(Self { folder, name, version, needs, source })
    }

    /// The path of its component.
    pub(super) fn out(&self) -> PathBuf {
        self.folder.join("target/plugins").join(&self.name).with_added_extension("wasm")
    }

    /// The WIT of the plugin protocol.
    pub(super) fn wit(&self) -> PathBuf {
        self.folder.join("vendor/wit")
    }

    /// A component with the manifest of the project.
    pub(super) fn with_manifest(&self, mut component: Vec<u8>) -> Vec<u8> {
        let Self { name, version, needs, .. } = self;
        let manifest = json!({"name": name, "version": version, "protocol": PROTOCOL, "needs": needs}).to_string();
        // A custom section (WebAssembly core specification, section 5.5.3), which may be the last of a component.
        let mut section = Vec::new();
        push_number(&mut section, SECTION.len());
        section.extend_from_slice(SECTION.as_bytes());
        section.extend_from_slice(manifest.as_bytes());
        component.push(0);
        push_number(&mut component, section.len());
        component.extend_from_slice(&section);
        component
    }

    /// A program that is run in the folder.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder);
        command
    }
}

/// An unsigned number in LEB128.
fn push_number(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// Runs a program whose output goes to the terminal, with a line that says so.
///
/// # Errors
/// When it is missing, with `hint`, or fails.
pub(super) fn run(command: &mut Command, doing: &str, hint: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    writeln!(std::io::stderr(), "{doing}")?;
    // Standard output is for the command's own output.
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    let status = command.status().with_context(|| format!("cannot run {program}: {hint}"))?;
    if !status.success() {
        bail!("{program} failed: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_groups_of_seven_bits() {
        for (number, expected) in [(0, &[0][..]), (127, &[0x7f]), (128, &[0x80, 1]), (624_485, &[0xe5, 0x8e, 0x26])] {
            let mut bytes = Vec::new();
            push_number(&mut bytes, number);
            assert_eq!(bytes, expected);
        }
    }
}
