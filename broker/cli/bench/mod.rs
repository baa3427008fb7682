//! `rialto bench`: benchmarks a running server, Rialto or another, and serves a baseline to compare it with.

mod fanout;
mod floor;
mod idle;
mod outcome;
mod progress;
mod server;

use std::process::ExitCode;

use clap::Subcommand;

use super::{complain, escaped};

/// The commands below `rialto bench`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measures the fan-out throughput and latency of a running server.
    Fanout(fanout::FanoutArgs),
    /// Measures the memory of idle sessions.
    ///
    /// Start the server just before: memory that earlier sessions have left would hide the difference.
    Idle(idle::IdleArgs),
    /// Serves the baseline: the fastest simple server.
    Floor(floor::FloorArgs),
}

/// Runs one of the commands. Exit code 1 means that it failed, or that the server lost, duplicated, altered or reordered
/// messages.
pub(crate) fn run(command: BenchCommand) -> ExitCode {
    let outcome = match command {
        BenchCommand::Fanout(args) => fanout::run(&args),
        BenchCommand::Idle(args) => idle::run(&args),
        BenchCommand::Floor(args) => floor::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        complain(&escaped::error(&error));
        ExitCode::FAILURE
    })
}

/// Writes to standard output. A closed one is no error.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}
