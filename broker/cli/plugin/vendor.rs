//! The SDK, the crates it depends on and the plugin protocol, embedded in this binary: a new plugin gets a copy, so that it
//! builds without this repository.

use std::path::Path;

use anyhow::{Context, Result};
use include_dir::{Dir, include_dir};

use super::new::write;

static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sdk/plugin/src");
static PROTOCOL: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sdk/protocol/src");
const WIT: &str = include_str!("../../../sdk/plugin/wit/v1/plugin.wit");
const WIT_1_1: &str = include_str!("../../../sdk/plugin/wit/v1_1/plugin.wit");
const README: &str = include_str!("../../../sdk/plugin/README.md");
const MANIFEST: &str = include_str!("../../../sdk/plugin/Cargo.toml");
const PROTOCOL_MANIFEST: &str = include_str!("../../../sdk/protocol/Cargo.toml");
const WORKSPACE: &str = include_str!("../../../Cargo.toml");

/// Writes the SDK for Rust, and the crate that its test double needs, into folders of their names.
///
/// # Errors
/// When they cannot be written.
pub(super) fn write_sdk(vendor: &Path) -> Result<()> {
    let folder = vendor.join("rialto-plugin");
    write_all(&SDK, &folder.join("src"))?;
    write(&folder.join("wit/v1/plugin.wit"), WIT)?;
    write(&folder.join("wit/v1_1/plugin.wit"), WIT_1_1)?;
    write(&folder.join("README.md"), README)?;
    write(&folder.join("Cargo.toml"), standalone(MANIFEST, WORKSPACE)?.replace("../protocol", "../rialto-protocol"))?;
    let folder = vendor.join("rialto-protocol");
    write_all(&PROTOCOL, &folder.join("src"))?;
    write(&folder.join("Cargo.toml"), standalone(PROTOCOL_MANIFEST, WORKSPACE)?)
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

/// A crate's manifest without what it inherits from its workspace, and without the dependencies of its tests.
fn standalone(manifest: &str, workspace: &str) -> Result<String> {
    let mut text = String::new();
    let mut section = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        if section == "[lints]" || section == "[dev-dependencies]" {
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

/// The line of a key in a TOML section.
fn inherited<'w>(workspace: &'w str, section: &str, key: &str) -> Option<&'w str> {
    let lines = workspace.lines().skip_while(|line| *line != section).skip(1);
    let mut lines = lines.take_while(|line| !line.starts_with('['));
    lines.find(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" =")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_of_vendored_crates_stand_alone() {
        for manifest in [MANIFEST, PROTOCOL_MANIFEST] {
            let text = standalone(manifest, WORKSPACE).expect("all keys are found");
            assert!(
                !text.contains("workspace") && text.contains("edition = \"2024\"") && text.contains("serde = {"),
                "{text}"
            );
        }
    }
}
