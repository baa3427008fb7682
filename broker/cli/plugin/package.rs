//! A plugin crate and what it is built from: path dependencies, registry dependencies, source files.

use super::record::sha256_hex;
use super::toolchain::{TARGET, cargo, output_of};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders of a crate that do not go into the plugin.
const OTHER_DIRS: [&str; 4] = ["target", "tests", "benches", "examples"];

/// A plugin crate as cargo sees it.
pub(super) struct Package {
    /// Its name.
    pub(super) name: String,
    /// Its version.
    pub(super) version: String,
    /// Its folder as it was given, for messages.
    pub(super) dir: PathBuf,
    /// Its manifest, as cargo names it.
    pub(super) manifest: PathBuf,
    /// The root of its workspace, or its own folder.
    pub(super) workspace_dir: PathBuf,
    /// Where cargo builds.
    pub(super) target_dir: PathBuf,
    /// Whether cargo must leave the lock file as it is.
    pub(super) locked: bool,
    /// Itself and its dependencies, sorted.
    pub(super) parts: Vec<Part>,
}

/// A crate that a plugin is built from.
pub(super) struct Part {
    /// Name and version, such as `serde-1.0.229`.
    pub(super) name: String,
    /// The folder that it is compiled from.
    pub(super) dir: PathBuf,
    /// Whether it is a local crate, whose sources may change under the same version.
    pub(super) local: bool,
    /// Its features, and where it comes from unless it is local.
    selection: String,
}

impl Package {
    /// Asks cargo about the crate in `dir`.
    ///
    /// # Errors
    /// When cargo cannot read it or resolve its dependencies.
    pub(super) fn find(dir: &Path, locked: bool) -> Result<Self> {
        let manifest = fs::canonicalize(dir.join("Cargo.toml"))
            .with_context(|| format!("cannot find {}", dir.join("Cargo.toml").display()))?;
        let mut metadata = cargo("metadata", &manifest);
        metadata.args(["--format-version", "1", "--filter-platform", TARGET]);
        metadata.args(locked.then_some("--locked"));
        let metadata: Value = serde_json::from_str(&output_of(&mut metadata)?).context("cargo metadata")?;
        let packages = metadata["packages"].as_array().context("cargo metadata without packages")?;
        let own = packages
            .iter()
            .find(|package| fs::canonicalize(text(&package["manifest_path"])).is_ok_and(|path| path == manifest))
            .with_context(|| format!("{} is a workspace without a crate of its own", dir.display()))?;
        Ok(Self {
            name: text(&own["name"]).to_owned(),
            version: text(&own["version"]).to_owned(),
            dir: dir.to_owned(),
            manifest: text(&own["manifest_path"]).into(),
            workspace_dir: text(&metadata["workspace_root"]).into(),
            target_dir: text(&metadata["target_directory"]).into(),
            locked,
            parts: parts(packages, &manifest, locked)?,
        })
    }

    /// A digest of all that the plugin is built from: the files of local crates, names, versions and features of the
    /// others.
    ///
    /// # Errors
    /// When a source file cannot be read.
    pub(super) fn sources_digest(&self) -> Result<String> {
        let mut lines = BTreeSet::new();
        for part in &self.parts {
            lines.insert(format!("{} {}", part.name, part.selection));
            if part.local {
                add_files(&part.dir, &part.name, true, &mut lines)?;
            }
        }
        let list = lines.into_iter().collect::<Vec<_>>().join("\n");
        Ok(sha256_hex(list.as_bytes()))
    }
}

/// The crates that a plugin is built from: `cargo tree` lists them with their features, the metadata have their paths.
fn parts(packages: &[Value], manifest: &Path, locked: bool) -> Result<Vec<Part>> {
    let mut tree = cargo("tree", manifest);
    tree.args(["--edges", "normal,build", "--target", TARGET, "--prefix", "none", "--no-dedupe"]);
    tree.args(["--format", "{p}|{f}"]).args(locked.then_some("--locked"));
    let tree: BTreeSet<String> = output_of(&mut tree)?.lines().map(|line| line.replace(" (proc-macro)", "")).collect();
    let mut parts = Vec::new();
    for line in &tree {
        let (crate_, features) = line.rsplit_once('|').with_context(|| format!("cargo tree: {line:?}"))?;
        let mut words = crate_.splitn(3, ' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let version = version.trim_start_matches('v');
        let place = words.next().unwrap_or_default().trim_matches(['(', ')']);
        let package = packages
            .iter()
            .find(|package| is_crate(package, name, version, place))
            .with_context(|| format!("cargo metadata do not know {crate_}"))?;
        let local = package["source"].is_null();
        parts.push(Part {
            name: format!("{name}-{version}"),
            dir: Path::new(text(&package["manifest_path"])).parent().unwrap_or(Path::new("")).to_owned(),
            local,
            selection: if local { features.to_owned() } else { format!("{} {features}", text(&package["source"])) },
        });
    }
    Ok(parts)
}

/// Whether metadata are of this crate; `place` is empty for a crate from the default registry.
fn is_crate(package: &Value, name: &str, version: &str, place: &str) -> bool {
    let is_local = place.starts_with('/') || Path::new(place).is_absolute();
    text(&package["name"]) == name && text(&package["version"]) == version && package["source"].is_null() == is_local
}

/// Adds one line for each file of a crate that can affect a plugin: its manifest, `build.rs`, and files in folders.
fn add_files(dir: &Path, name: &str, is_root: bool, lines: &mut BTreeSet<String>) -> Result<()> {
    let entries = dir.read_dir().with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{name}/{file_name}");
        if path.is_dir() {
            let other = is_root && OTHER_DIRS.contains(&file_name.as_str());
            if !other && !file_name.starts_with('.') && !path.join("Cargo.toml").exists() {
                add_files(&path, &name, false, lines)?;
            }
        } else if !is_root || file_name == "Cargo.toml" || file_name == "build.rs" {
            let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            lines.insert(format!("{name} {}", sha256_hex(&content)));
        }
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
