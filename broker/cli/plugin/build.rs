//! `rialto plugin build`: builds a plugin into a component with its build record, and checks that a committed one is up to
//! date.

use super::compile::compile;
#[cfg(feature = "plugins")]
use super::language::{Language, of_package_json, of_pyproject};
use super::package::Package;
#[cfg(feature = "plugins")]
use super::project::Project;
use super::record::{Record, sha256_hex};
use super::toolchain::Toolchain;
#[cfg(feature = "plugins")]
use super::{javascript, python};
use crate::cli::escaped;
#[cfg(feature = "plugins")]
use crate::plugin::Inspection;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Options of `rialto plugin build`.
///
/// Cargo is run as usual and obeys `RUSTC`, `RUSTFLAGS`, `CARGO_TARGET_DIR` and the like; `RIALTO_PLUGIN_CARGO_ARGS` holds
/// more arguments for it, separated by spaces.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Folder of the plugin: with a Cargo.toml, package.json or pyproject.toml.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// File to write [default: <target>/plugins/<crate>.wasm].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write a record of toolchain, sources and result beside the output, as <output>.toml.
    #[arg(long)]
    record: bool,
    /// Write nothing, but fail unless FILE is what these sources build.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "record"])]
    check: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the crate does not compile into a plugin, a file cannot be written, or the checked file is stale.
pub(crate) fn build(args: &BuildArgs) -> Result<()> {
    #[cfg(feature = "plugins")]
    match Language::of(&args.dir)? {
        Language::Rust => {}
        Language::Js => {
            let project = of_package_json(&args.dir)?;
            return write_other(&project, javascript::build(&project)?, args);
        }
        Language::Python => {
            let project = of_pyproject(&args.dir)?;
            return write_other(&project, python::build(&project)?, args);
        }
    }
    if !args.dir.join("Cargo.toml").is_file() {
        bail!("{} is not the folder of a crate: it has no Cargo.toml", args.dir.display());
    }
    let toolchain = Toolchain::find(&args.dir)?;
    let package = Package::find(&args.dir, args.check.is_some())?;
    match &args.check {
        Some(file) => check(&toolchain, &package, file),
        None => write(&toolchain, &package, args),
    }
}

fn write(toolchain: &Toolchain, package: &Package, args: &BuildArgs) -> Result<()> {
    let component = compile(toolchain, package)?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => package.target_dir.join("plugins").join(&package.name).with_added_extension("wasm"),
    };
    write_whole(&out, &component)?;
    let record = Record::of(&toolchain.version, package, &component)?;
    if args.record {
        write_whole(&record_path(&out), record.to_toml(&package.name).as_bytes())?;
    }
    let Package { name, version, .. } = package;
    let Record { bytes, sha256, .. } = record;
    say(&format!("{name} {version}: {bytes} bytes, sha256 {sha256}, {}", out.display()))
}

/// Writes the component of a plugin that is not written in Rust.
#[cfg(feature = "plugins")]
fn write_other(project: &Project, component: Vec<u8>, args: &BuildArgs) -> Result<()> {
    if args.record || args.check.is_some() {
        bail!("--record and --check are for plugins in Rust: builds of other languages are not reproducible");
    }
    let component = project.with_manifest(component);
    if let Some(fault) = Inspection::of(&component)?.fault {
        bail!("{} does not fit: {fault}", project.name);
    }
    let out = args.out.clone().unwrap_or_else(|| project.out());
    write_whole(&out, &component)?;
    let (bytes, sha256) = (component.len(), sha256_hex(&component));
    say(&format!("{} {}: {bytes} bytes, sha256 {sha256}, {}", project.name, project.version, out.display()))
}

/// Compares `file` with a build of the sources; with another toolchain than the recorded one, compares the sources.
fn check(toolchain: &Toolchain, package: &Package, file: &Path) -> Result<()> {
    let present = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let record = Record::read(&record_path(file))?;
    match record {
        Some(record) if record.rustc != toolchain.version || !toolchain.cargo_args.is_empty() => {
            let note = format!(
                "note: {} was built with {}, this is {}{}: other toolchains give other bytes, so its recorded sources \
                 are compared instead",
                file.display(),
                record.rustc,
                toolchain.version,
                if toolchain.cargo_args.is_empty() { "" } else { " with RIALTO_PLUGIN_CARGO_ARGS" },
            );
            writeln!(io::stderr(), "{}", escaped::line(&note))?;
            check_record(&record, package, file, &present)?;
        }
        _ => {
            let component = compile(toolchain, package)?;
            if component != present {
                let (bytes, sha256) = (component.len(), sha256_hex(&component));
                let problem = format!("these sources build {bytes} bytes with sha256 {sha256}");
                bail!(stale(package, file, &problem));
            }
        }
    }
    say(&format!("{} {}: {} is fresh", package.name, package.version, file.display()))
}

/// Names and versions are whatever the package says.
fn say(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{}", escaped::line(text))?;
    Ok(())
}

fn check_record(record: &Record, package: &Package, file: &Path, present: &[u8]) -> Result<()> {
    if record.sha256 != sha256_hex(present) {
        bail!(stale(package, file, "its build record is of another file"));
    }
    if record.sources != package.sources_digest()? {
        bail!(stale(package, file, "its sources have changed since"));
    }
    Ok(())
}

fn stale(package: &Package, file: &Path, problem: &str) -> String {
    let (file, dir) = (file.display(), package.dir.display());
    format!("{file} is stale: {problem}; run: rialto plugin build {dir} --out {file} --record")
}

fn record_path(component: &Path) -> PathBuf {
    component.with_extension("toml")
}

/// Writes a file atomically: a reader sees the old or the new content, never a part of it.
fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let aside = path.with_added_extension("new");
    let written = match path.parent() {
        Some(parent) => fs::create_dir_all(parent),
        None => Ok(()),
    };
    written
        .and_then(|()| fs::write(&aside, content))
        .and_then(|()| fs::rename(&aside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
