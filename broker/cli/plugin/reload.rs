//! `rialto plugin reload`: a running broker loads a plugin again, or begins to run one that is new in its configuration.

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
/// When no broker is there, or with the reason why the old version goes on.
pub(crate) fn run(args: &ReloadArgs) -> Result<()> {
    let plugin = args.control.ask("plugins/reload", &json!({ "plugin": args.name }))?;
    // Whoever closed our standard output does not want to know.
    let _ = io::stdout().write_all(describe(&plugin).as_bytes());
    Ok(())
}
