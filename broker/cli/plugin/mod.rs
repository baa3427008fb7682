//! `rialto plugin`: what plugin authors and operators do with plugins, outside of a running broker.

mod build;
mod compile;
#[cfg(feature = "plugins")]
mod inspect;
mod package;
mod record;
#[cfg(feature = "plugins")]
mod replay;
mod toolchain;

use anyhow::Result;
use clap::Subcommand;

/// The commands below `rialto plugin`.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Build a plugin crate into a WebAssembly component.
    Build(build::BuildArgs),
    #[cfg(feature = "plugins")]
    Inspect(inspect::InspectArgs),
    #[cfg(feature = "plugins")]
    Replay(replay::ReplayArgs),
}

/// Runs one of the commands.
///
/// # Errors
/// When the command does not succeed; the process should print the error and exit with 1.
pub(crate) fn run(command: PluginCommand) -> Result<()> {
    match command {
        PluginCommand::Build(args) => build::build(&args),
        #[cfg(feature = "plugins")]
        PluginCommand::Inspect(args) => inspect::run(&args),
        #[cfg(feature = "plugins")]
        PluginCommand::Replay(args) => replay::run(&args),
    }
}
