//! `rialto plugin test`: runs a plugin's tests with the test runner of its language.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::language::{Language, of_package_json, of_pyproject};
use super::project::run as run_tool;
use super::toolchain::cargo;
use super::{javascript, python};

/// Run a plugin's tests against a test double of the broker: with cargo, node or unittest.
#[derive(Debug, Args)]
pub(in crate::cli) struct TestArgs {
    /// Folder of the plugin.
    #[arg(default_value = ".")]
    dir: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When a test fails, or a tool is missing.
pub(super) fn run(args: &TestArgs) -> Result<()> {
    match Language::of(&args.dir)? {
        Language::Rust => {
            let manifest = std::path::absolute(args.dir.join("Cargo.toml"))?;
            run_tool(&mut cargo("test", &manifest), "testing with cargo", "is Rust installed?")
        }
        Language::Js => javascript::test(&of_package_json(&args.dir)?),
        Language::Python => python::test(&of_pyproject(&args.dir)?),
    }
}
