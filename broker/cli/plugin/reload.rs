//! `rialto plugin reload`: makes a running broker load a plugin again, or start one that is new in its configuration.

use std::io::{self, Write as _};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::status::describe;
use crate::cli::control::ControlArgs;

/// Options of `rialto plugin reload`.
#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    /// The plugin: its NAME in `[plugin.NAME]`
    name: String,
    #[command(flatten)]
    control: ControlArgs,
}

/// Runs the command.
///
/// # Errors
/// When no broker can be reached, or why the old version stays.
pub(crate) fn run(args: &ReloadArgs) -> Result<()> {
    let plugin = args.control.ask("plugins/reload", &json!({ "plugin": args.name }))?;
    // A closed standard output is no error.
    let _ = io::stdout().write_all(describe(&plugin).as_bytes());
    Ok(())
}
