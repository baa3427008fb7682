//! `rialto bench`: measures a running server, ours or another, and serves the yardstick to compare it with.

mod fanout;
mod floor;
mod idle;
mod outcome;
mod progress;
mod server;

use std::process::ExitCode;

use clap::Subcommand;

use super::complain;

/// The commands below `rialto bench`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measures how fast a running server passes messages on to all subscribers.
    Fanout(fanout::FanoutArgs),
    /// Measures how much memory sessions take that only wait.
    ///
    /// The server should have just been started: memory that it has left over from earlier sessions would hide what these
    /// take.
    Idle(idle::IdleArgs),
    /// Serves the yardstick: the fastest simple server there can be.
    Floor(floor::FloorArgs),
}

/// Runs one of the commands. 1 means that it did not succeed, or that a server lost, doubled, altered or disordered
/// messages.
pub(crate) fn run(command: BenchCommand) -> ExitCode {
    let outcome = match command {
        BenchCommand::Fanout(args) => fanout::run(&args),
        BenchCommand::Idle(args) => idle::run(&args),
        BenchCommand::Floor(args) => floor::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

/// Writes to standard output. That nobody reads it changes nothing.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}
