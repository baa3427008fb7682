//! `rialto plugin new`: creates a folder with a working plugin and its tests.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::language::Language;
use super::vendor;

/// Create a folder with a working plugin to start from.
#[derive(Debug, Args)]
pub(in crate::cli) struct NewArgs {
    /// The plugin's name, and the folder's: 1 to 64 of a-z, 0-9 and -, a letter first.
    name: String,
    /// The language it is written in.
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
}

/// A file of a template.
type File = (&'static str, &'static str);

/// The text of a file of the templates.
macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("../../../sdk/plugin/templates/", $path))
    };
}

const RUST: &[File] = &[
    ("Cargo.toml", template!("rust/Cargo.toml.template")),
    ("src/lib.rs", template!("rust/src/lib.rs")),
    ("tests/plugin.rs", template!("rust/tests/plugin.rs")),
];

const JAVASCRIPT: &[File] = &[
    ("package.json", template!("js/package.json")),
    ("src/plugin.js", template!("js/src/plugin.js")),
    ("test/host.js", template!("js/test/host.js")),
    ("test/plugin.test.js", template!("js/test/plugin.test.js")),
];

const PYTHON: &[File] = &[
    ("pyproject.toml", template!("python/pyproject.toml")),
    ("src/plugin.py", template!("python/src/plugin.py")),
    ("tests/__init__.py", template!("python/tests/__init__.py")),
    ("tests/host.py", template!("python/tests/host.py")),
    ("tests/test_plugin.py", template!("python/tests/test_plugin.py")),
];

/// The files of plugins in every language.
const COMMON: &[File] = &[
    ("rialto.toml", template!("rialto.toml")),
    ("README.md", template!("README.md")),
    (".gitignore", template!("gitignore")),
];

/// Limits for components that contain a language runtime.
const LARGE: &str = "\
# The component contains the runtime of its language, which takes its time to start.
component_bytes = 33_554_432
memory_bytes = 67_108_864
hook_ms = 250";

/// Time to compile those, on a busy machine.
const SLOW: &str = "[sandbox]\n# Compiling it takes a while, once: the result is cached.\ncompile_ms = 300_000\n";

/// Runs the command.
///
/// # Errors
/// When the name is invalid, or the folder exists or cannot be written.
pub(super) fn run(args: &NewArgs) -> Result<()> {
    let name = args.name.as_str();
    check(name)?;
    let folder = PathBuf::from(name);
    if folder.exists() {
        bail!("{name} already exists: choose another name, or remove it");
    }
    let (files, source, limits, sandbox) = match args.lang {
        Language::Rust => (RUST, "src/lib.rs", "", "[sandbox]"),
        Language::Js => (JAVASCRIPT, "src/plugin.js", LARGE, SLOW),
        Language::Python => (PYTHON, "src/plugin.py", LARGE, SLOW),
    };
    let words = [
        ("{{name}}", name.to_owned()),
        ("{{crate}}", name.replace('-', "_")),
        ("{{Type}}", camel(name)),
        ("{{Language}}", args.lang.name().to_owned()),
        ("{{source}}", source.to_owned()),
        ("{{limits}}", limits.to_owned()),
        ("{{sandbox}}", sandbox.to_owned()),
    ];
    for (path, text) in files.iter().chain(COMMON) {
        let text = words.iter().fold((*text).to_owned(), |text, (word, value)| text.replace(word, value));
        write(&folder.join(path), text.trim_end().to_owned() + "\n")?;
    }
    match args.lang {
        Language::Rust => vendor::write_sdk(&folder.join("vendor"))?,
        Language::Js | Language::Python => vendor::write_wit(&folder.join("vendor/wit"))?,
    }
    writeln!(
        io::stdout(),
        "{name} is a plugin in {}. What next:\n\n  cd {name}\n  rialto plugin build\n  rialto --config rialto.toml\n\n\
         README.md says how to try it, {source} is where to begin.",
        args.lang.name()
    )?;
    Ok(())
}

fn check(name: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if !begins || name.len() > 64 || !name.bytes().all(fits) || name.ends_with('-') {
        bail!("{name:?} cannot be the name of a plugin: 1 to 64 of the characters a-z, 0-9 and -, a letter first");
    }
    if matches!(name, "test" | "core" | "std" | "alloc" | "self" | "crate" | "rialto-plugin" | "super") {
        bail!("{name:?} is a reserved name; choose another");
    }
    Ok(())
}

/// `market-maker` as `MarketMaker`.
fn camel(name: &str) -> String {
    let mut text = String::new();
    for part in name.split('-') {
        let mut characters = part.chars();
        text.extend(characters.next().map(|first| first.to_ascii_uppercase()));
        text.extend(characters);
    }
    text
}

/// Writes a file and the folders it is in.
pub(super) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, content));
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_plugins_and_crates() {
        for (name, good) in [
            ("hello", true),
            ("a-1", true),
            ("", false),
            ("1a", false),
            ("A", false),
            ("a_b", false),
            ("test", false),
            ("a-", false),
        ] {
            assert_eq!(check(name).is_ok(), good, "{name}");
        }
        assert_eq!(camel("market-maker2"), "MarketMaker2");
    }
}
