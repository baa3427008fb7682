//! The Rust toolchain that builds plugins: its version, its folders, and whether it has the target.

use anyhow::{Context, Result, bail};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target that plugins are compiled for.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// What `rustc` and the environment say about the toolchain.
pub(super) struct Toolchain {
    /// What `rustc -V` prints.
    pub(super) version: String,
    /// The folder of the standard library's sources, which may not exist.
    pub(super) library_dir: PathBuf,
    /// What compiled-in paths of the standard library begin with.
    pub(super) library_name: String,
    /// The folder of the compiled standard library for the target, which may not exist.
    target_library_dir: PathBuf,
    /// More arguments for cargo, from `RIALTO_PLUGIN_CARGO_ARGS`.
    pub(super) cargo_args: Vec<String>,
}

impl Toolchain {
    /// Asks the toolchain that is used in `dir`.
    ///
    /// # Errors
    /// When there is no toolchain.
    pub(super) fn find(dir: &Path) -> Result<Self> {
        let cargo_args = env::var("RIALTO_PLUGIN_CARGO_ARGS").unwrap_or_default();
        let cargo_args: Vec<String> = cargo_args.split_whitespace().map(str::to_owned).collect();
        let details = rustc(dir, &["-vV"])?;
        let commit = details.lines().find_map(|line| line.strip_prefix("commit-hash: ")).unwrap_or("unknown");
        Ok(Self {
            version: rustc(dir, &["-V"])?,
            library_dir: Path::new(&rustc(dir, &["--print", "sysroot"])?).join("lib/rustlib/src/rust"),
            library_name: format!("/rustc/{commit}"),
            target_library_dir: rustc(dir, &["--print", "target-libdir", "--target", TARGET])?.into(),
            cargo_args,
        })
    }

    /// Checks that there is a standard library for the target, or that cargo is configured to build one.
    ///
    /// # Errors
    /// When there is none; the error says how to install it.
    pub(super) fn check_target(&self) -> Result<()> {
        let builds_library = self.cargo_args.iter().any(|argument| argument.contains("build-std"));
        let entries = self.target_library_dir.read_dir().into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name());
        if builds_library || names.any(|name| name.to_string_lossy().starts_with("libcore-")) {
            return Ok(());
        }
        bail!("the Rust target {TARGET} is not installed; run: rustup target add {TARGET}")
    }
}

/// A command for cargo: the one that runs this process if there is one, otherwise that of the path.
pub(super) fn cargo(subcommand: &str, manifest: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.arg(subcommand).arg("--manifest-path").arg(manifest);
    if let Some(dir) = manifest.parent() {
        // Here rustup looks for a toolchain file, and cargo for its configuration.
        command.current_dir(dir);
    }
    command
}

/// Runs a command and returns what it prints.
pub(super) fn output_of(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}; is Rust installed?"))?;
    if !output.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name} printed something that is not UTF-8"))
}

fn rustc(dir: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc")));
    Ok(output_of(command.args(arguments).current_dir(dir))?.trim().to_owned())
}
