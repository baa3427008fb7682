//! The languages of plugins, and their detection from the files of a folder.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::Value;
use toml::de::DeTable;

use super::project::Project;

/// A language with a template and a build of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Language {
    /// Rust
    Rust,
    /// JavaScript
    Js,
    /// Python
    Python,
}

impl Language {
    /// The language of a plugin's folder.
    ///
    /// # Errors
    /// When the folder is not that of a plugin.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let has = |file: &str| folder.join(file).is_file();
        match () {
            () if has("Cargo.toml") => Ok(Self::Rust),
            () if has("package.json") => Ok(Self::Js),
            () if has("pyproject.toml") => Ok(Self::Python),
            () => bail!(
                "{} is not the folder of a plugin: it has no Cargo.toml, package.json or pyproject.toml; \
                 `rialto plugin new NAME` makes one",
                folder.display()
            ),
        }
    }

    /// Its name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Js => "JavaScript",
            Self::Python => "Python",
        }
    }
}

/// The plugin described by a `package.json`.
///
/// # Errors
/// Names what is missing.
pub(super) fn of_package_json(folder: &Path) -> Result<Project> {
    let path = folder.join("package.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let told: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let field = |value: &Value, name: &str| {
        let text = value.as_str().map(str::to_owned);
        text.with_context(|| format!("{}: `{name}` is missing, or not a text", path.display()))
    };
    let needs = match &told["rialto"]["needs"] {
        Value::Array(words) => words.iter().map(|word| field(word, "rialto.needs")).collect::<Result<_>>()?,
        _ => bail!("{}: `rialto.needs` is missing: a list of capabilities, which may be empty", path.display()),
    };
    Project::new(
        folder,
        field(&told["name"], "name")?,
        field(&told["version"], "version")?,
        needs,
        field(&told["rialto"]["source"], "rialto.source")?,
    )
}

/// The plugin described by a `pyproject.toml`. Its source is the folder, a colon and the module.
///
/// # Errors
/// Names what is missing.
pub(super) fn of_pyproject(folder: &Path) -> Result<Project> {
    let path = folder.join("pyproject.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let told = DeTable::parse(&text).with_context(|| path.display().to_string())?;
    let find = |keys: [&str; 3]| {
        let mut table = told.get_ref();
        let [first, rest @ ..] = keys;
        let mut value = table.get(first)?.get_ref();
        for key in rest.into_iter().filter(|key| !key.is_empty()) {
            table = value.as_table()?;
            value = table.get(key)?.get_ref();
        }
        Some(value)
    };
    let text = |keys: [&str; 3]| {
        let found = find(keys).and_then(|value| value.as_str().map(str::to_owned));
        let name = keys.into_iter().filter(|key| !key.is_empty()).collect::<Vec<_>>().join(".");
        found.with_context(|| format!("{}: `{name}` is missing, or not a text", path.display()))
    };
    let words = find(["tool", "rialto", "needs"]).and_then(|value| value.as_array());
    let words =
        words.with_context(|| format!("{}: `tool.rialto.needs` is missing: a list of capabilities", path.display()))?;
    let needs = words.iter().filter_map(|word| word.get_ref().as_str().map(str::to_owned)).collect();
    let source = format!("{}:{}", text(["tool", "rialto", "folder"])?, text(["tool", "rialto", "module"])?);
    Project::new(folder, text(["project", "name", ""])?, text(["project", "version", ""])?, needs, source)
}
