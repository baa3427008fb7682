//! The SDK and the plugin protocol as this binary carries them: a new plugin gets a copy, and so needs nothing else of ours.

use std::path::Path;

use anyhow::{Context, Result};
use include_dir::{Dir, include_dir};

use super::new::write;

static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sdk/plugin/src");
const WIT: &str = include_str!("../../../sdk/plugin/wit/v1/plugin.wit");
const README: &str = include_str!("../../../sdk/plugin/README.md");
const MANIFEST: &str = include_str!("../../../sdk/plugin/Cargo.toml");
const WORKSPACE: &str = include_str!("../../../Cargo.toml");

/// Writes the SDK for Rust as a crate of its own.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write_sdk(folder: &Path) -> Result<()> {
    write_all(&SDK, &folder.join("src"))?;
    write(&folder.join("wit/v1/plugin.wit"), WIT)?;
    write(&folder.join("README.md"), README)?;
    write(&folder.join("Cargo.toml"), standalone(MANIFEST, WORKSPACE)?)
}

/// Writes the protocol alone.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write_wit(folder: &Path) -> Result<()> {
    write(&folder.join("plugin.wit"), WIT)
}

fn write_all(from: &Dir<'_>, to: &Path) -> Result<()> {
    for file in from.files() {
        write(&to.join(file.path()), file.contents())?;
    }
    from.dirs().try_for_each(|dir| write_all(dir, to))
}

/// A crate's manifest without what it takes from its workspace.
fn standalone(manifest: &str, workspace: &str) -> Result<String> {
    let mut text = String::new();
    let mut section = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        if section == "[lints]" {
            continue;
        }
        match line.strip_suffix(".workspace = true") {
            None => text.push_str(line),
            Some(key) => {
                let home = if section == "[package]" { "[workspace.package]" } else { "[workspace.dependencies]" };
                text.push_str(inherited(workspace, home, key).with_context(|| format!("the workspace has no {key}"))?);
            }
        }
        text.push('\n');
    }
    Ok(text)
}

/// The line of a key in a section.
fn inherited<'w>(workspace: &'w str, section: &str, key: &str) -> Option<&'w str> {
    let lines = workspace.lines().skip_while(|line| *line != section).skip(1);
    let mut lines = lines.take_while(|line| !line.starts_with('['));
    lines.find(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" =")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_of_the_sdk_stands_alone() {
        let text = standalone(MANIFEST, WORKSPACE).expect("all keys are found");
        assert!(
            !text.contains("workspace") && text.contains("edition = \"2024\"") && text.contains("serde = {"),
            "{text}"
        );
    }
}
