//! `rialto plugin`: commands for plugin authors and operators.

mod build;
mod compile;
#[cfg(feature = "plugins")]
mod inspect;
#[cfg(feature = "plugins")]
mod javascript;
#[cfg(feature = "plugins")]
mod language;
#[cfg(feature = "plugins")]
mod new;
mod package;
#[cfg(feature = "plugins")]
mod project;
#[cfg(feature = "plugins")]
mod python;
mod record;
mod reload;
#[cfg(feature = "plugins")]
mod replay;
mod status;
#[cfg(feature = "plugins")]
mod test;
mod toolchain;
#[cfg(feature = "plugins")]
mod vendor;

use anyhow::Result;
use clap::Subcommand;

/// The commands below `rialto plugin`.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    #[cfg(feature = "plugins")]
    New(new::NewArgs),
    /// Build a plugin into a WebAssembly component.
    ///
    /// A plugin in Rust needs the target wasm32-unknown-unknown; for one in JavaScript or Python missing tools are
    /// installed into its folder.
    Build(build::BuildArgs),
    #[cfg(feature = "plugins")]
    Test(test::TestArgs),
    #[cfg(feature = "plugins")]
    Inspect(inspect::InspectArgs),
    #[cfg(feature = "plugins")]
    Replay(replay::ReplayArgs),
    /// Show the state of the plugins of a running broker.
    Status(status::StatusArgs),
    /// Load a plugin again while the broker runs.
    ///
    /// Reads the component and the broker's configuration file again; the file is applied as a whole, as by `rialto reload`.
    /// Sessions, subscriptions, state and timers stay. If the new version does not start, nothing is changed.
    Reload(reload::ReloadArgs),
}

/// Runs one of the commands.
///
/// # Errors
/// When the command does not succeed; the process should print the error and exit with 1.
pub(crate) fn run(command: PluginCommand) -> Result<()> {
    match command {
        #[cfg(feature = "plugins")]
        PluginCommand::New(args) => new::run(&args),
        PluginCommand::Build(args) => build::build(&args),
        #[cfg(feature = "plugins")]
        PluginCommand::Test(args) => test::run(&args),
        #[cfg(feature = "plugins")]
        PluginCommand::Inspect(args) => inspect::run(&args),
        #[cfg(feature = "plugins")]
        PluginCommand::Replay(args) => replay::run(&args),
        PluginCommand::Status(args) => status::run(&args),
        PluginCommand::Reload(args) => reload::run(&args),
    }
}
