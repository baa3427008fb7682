//! `rialto bench idle`: the memory of idle sessions.

use std::process::ExitCode;

use anyhow::Result;

use super::outcome::grouped;
use super::progress::ProgressLine;
use super::say;
use super::server::ServerArgs;

/// Arguments of `rialto bench idle`.
#[derive(Debug, clap::Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Number of sessions
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sessions: u32,
    /// Process id of the server, whose memory is measured
    #[arg(long)]
    pid: u32,
}

/// Measures and prints.
pub(crate) fn run(args: &IdleArgs) -> Result<ExitCode> {
    let target = args.server.target(Some(args.pid))?;
    let line = ProgressLine::new();
    let idle = rialto_load::idle::run(&target, &args.server.name(), args.sessions, &mut |progress| {
        line.show(&format!("{} sessions", args.sessions), progress);
    })?;
    drop(line);
    say(&format!(
        "{} idle sessions at {}, each subscribed\n\n  \
         {:>8} bytes of resident memory per session\n  {:>8} bytes after all of them got a message\n\n\
         User space of process {} and its children, beyond what they took with 200 other sessions.\n",
        grouped(args.sessions.into()),
        args.server.describe(),
        grouped(idle.bytes_per_session as u64),
        grouped(idle.bytes_per_session_after_message as u64),
        args.pid,
    ));
    Ok(ExitCode::SUCCESS)
}
