//! The command line: one file per command. It only parses arguments and prints; the work is done by the library.

mod api_key;
mod bench;
mod check;
mod plugin;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A pub/sub broker whose topics carry their own logic. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "rialto", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The configuration to serve.
    #[arg(long, value_name = "FILE", default_value = "config/rialto.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a key for the HTTP API.
    ApiKey(api_key::ApiKeyArgs),
    /// Checks a configuration and shows every problem in it.
    Check(check::CheckArgs),
    /// Measures a running server.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Works with plugins.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        None => serve::run(&arguments.config),
        Some(Command::ApiKey(arguments)) => api_key::run(&arguments),
        Some(Command::Bench(command)) => bench::run(command),
        Some(Command::Check(check)) => check::run(check),
        Some(Command::Plugin(command)) => match plugin::run(command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("{error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}

#[expect(clippy::print_stderr, reason = "the command line speaks to a person here")]
fn complain(text: &str) {
    eprintln!("error: {text}");
}
