//! Compiles a plugin crate to a core module and wraps it into a component, reproducibly.
//!
//! The same sources, lock file and toolchain build the same bytes wherever the sources, cargo's home, the toolchain and the
//! target folder are: cargo builds with a fixed profile, and rustc replaces the paths of all crates by their names.

use super::package::Package;
use super::toolchain::{TARGET, Toolchain, cargo};
use crate::plugin::{can_componentize, componentize};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};
use wasmparser::{Parser, Payload};

/// The custom section that `rialto_plugin::export!` embeds.
const MANIFEST_SECTION: &str = "rialto:manifest";

/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// The profile for plugins, independent of the workspace. Debug information is stripped, but names stay, so that a trap
/// shows functions; an overflow is a trap, not a wrong number.
const PROFILE: [&str; 11] = [
    "inherits = \"release\"",
    "opt-level = \"s\"",
    "lto = \"fat\"",
    "codegen-units = 1",
    "panic = \"abort\"",
    "overflow-checks = true",
    "package.\"*\".overflow-checks = true",
    "debug-assertions = false",
    "debug = false",
    "strip = \"debuginfo\"",
    "incremental = false",
];

/// Builds the component of a plugin crate.
///
/// # Errors
/// When the crate does not compile, has no library, exports no plugin, or the result is not a valid component.
pub(super) fn compile(toolchain: &Toolchain, package: &Package) -> Result<Vec<u8>> {
    can_componentize().map_err(anyhow::Error::msg)?;
    toolchain.check_target()?;
    let module = compile_module(toolchain, package)?;
    let module = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    if !has_manifest(&module)? {
        bail!("{} exports no plugin; add: rialto_plugin::export!(YourPlugin);", package.name);
    }
    componentize(&module)
        .map_err(|error| anyhow::anyhow!("{error}").context(format!("{} is not a plugin component", package.name)))
}

/// Runs cargo and returns the path of the core module.
fn compile_module(toolchain: &Toolchain, package: &Package) -> Result<PathBuf> {
    let mut command = cargo("rustc", &package.manifest);
    // Only a `cdylib` alone can be optimised at link time; the crate itself may be a plain library, too.
    command.args(["--lib", "--crate-type", "cdylib", "--target", TARGET, "--profile", "rialto-plugin"]);
    for setting in PROFILE {
        command.arg("--config").arg(format!("profile.rialto-plugin.{setting}"));
    }
    command.args(["--message-format", "json-render-diagnostics"]).args(package.locked.then_some("--locked"));
    command.args(&toolchain.cargo_args);
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain, package)?.join(FLAG_SEPARATOR)).env_remove("RUSTFLAGS");
    let messages = run(&mut command)?;
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut artifacts = messages.filter(|message| {
        message["reason"] == "compiler-artifact" && message["manifest_path"].as_str() == package.manifest.to_str()
    });
    let files = artifacts.find_map(|artifact| artifact["filenames"].as_array().cloned()).unwrap_or_default();
    let module = files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm"));
    Ok(module.with_context(|| format!("cargo built no WebAssembly module of {}", package.name))?.into())
}

/// Runs cargo: its diagnostics go to the terminal, its messages to the caller.
fn run(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo; is Rust installed?")?;
    if !output.status.success() {
        bail!("cargo failed");
    }
    String::from_utf8(output.stdout).context("cargo printed something that is not UTF-8")
}

/// The flags of the environment (those of cargo's configuration files do not apply), and those that replace paths; of
/// several that fit a path, rustc takes the last.
fn flags(toolchain: &Toolchain, package: &Package) -> Result<Vec<String>> {
    let mut flags: Vec<String> = match (env::var("CARGO_ENCODED_RUSTFLAGS"), env::var("RUSTFLAGS")) {
        (Ok(encoded), _) => encoded.split(FLAG_SEPARATOR).map(str::to_owned).collect(),
        (_, Ok(plain)) => plain.split_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    flags.retain(|flag| !flag.is_empty());
    let mut remap = |from: &Path, to: &str| -> Result<()> {
        let from = from.to_str().with_context(|| format!("the path {} is not UTF-8", from.display()))?;
        flags.push(format!("--remap-path-prefix={from}={to}"));
        Ok(())
    };
    remap(&package.workspace_dir, "")?;
    remap(&package.target_dir, "target")?;
    for part in &package.parts {
        if !part.dir.starts_with(&package.workspace_dir) || !part.local {
            remap(&part.dir, &part.name)?;
        }
    }
    remap(&toolchain.library_dir, &toolchain.library_name)?;
    if let Ok(library_dir) = fs::canonicalize(&toolchain.library_dir) {
        remap(&library_dir, &toolchain.library_name)?;
    }
    Ok(flags)
}

fn has_manifest(module: &[u8]) -> Result<bool> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CustomSection(section) = payload.context("cargo built an invalid module")?
            && section.name() == MANIFEST_SECTION
        {
            return Ok(true);
        }
    }
    Ok(false)
}
