//! `rialto bench floor`: serves the baseline, the fastest simple server.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use anyhow::{Context, Result};
use rialto_load::floor;

use super::say;
use crate::Codec;

/// Arguments of `rialto bench floor`.
#[derive(Debug, clap::Args)]
pub(crate) struct FloorArgs {
    /// Address to listen on; port 0 takes any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Write each message to each socket separately, instead of batching
    #[arg(long)]
    unbatched: bool,
}

/// Serves until a signal ends the process.
pub(crate) fn run(args: &FloorArgs) -> Result<ExitCode> {
    let listener = TcpListener::bind(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    let [json, msgpack] = [Codec::Json, Codec::MessagePack].map(|codec| floor::payload_bytes_like_rialto(128, codec));
    let kind = if args.unbatched { "one write per message and subscriber" } else { "batched" };
    let pid = std::process::id();
    say(&format!(
        "The floor serves ws://{address} ({kind}). Ctrl-C stops.\n\n  \
         Its frames are as long as Rialto's with 128-byte payloads when they carry\n  \
         {json} bytes (JSON) or {msgpack} bytes (MessagePack):\n\n  \
         rialto bench fanout ws://{address} --speaks plain --payload-bytes {json} --pid {pid}\n"
    ));
    floor::serve(listener, !args.unbatched).context("the floor stopped")?;
    Ok(ExitCode::SUCCESS)
}
