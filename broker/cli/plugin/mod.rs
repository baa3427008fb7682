//! `rialto plugin`: what plugin authors and operators do with plugins, outside of a running broker.

mod build;
mod compile;
#[cfg(feature = "plugins")]
mod inspect;
mod package;
mod record;
mod reload;
#[cfg(feature = "plugins")]
mod replay;
mod status;
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
    /// Show how the plugins of a running broker do.
    Status(status::StatusArgs),
    /// Load a plugin again while the broker runs.
    ///
    /// Reads the broker's configuration file and the component again. Sessions, subscriptions, state and timers stay. A plugin
    /// that is new in the configuration begins to run. When the new version does not run, the old one goes on.
    Reload(reload::ReloadArgs),
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
        PluginCommand::Status(args) => status::run(&args),
        PluginCommand::Reload(args) => reload::run(&args),
    }
}
