//! `rialto history`: prints the history of a topic, one JSON object per line, oldest first.

use std::process::ExitCode;

use rialto_client::Position;

use super::connection::{self, ConnectionArgs, remark};
use super::lines::{InputLine, Reader, past_message, text};

/// Arguments of `rialto history`.
#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// Topic
    topic: String,
    /// Most messages; the broker returns at most 300
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// The first messages after this position, instead of the newest
    #[arg(long, value_name = "EPOCH:OFFSET", value_parser = connection::position, conflicts_with = "before")]
    since: Option<Position>,
    /// The last messages before this position
    #[arg(long, value_name = "EPOCH:OFFSET", value_parser = connection::position)]
    before: Option<Position>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Prints one page of the history.
pub(crate) fn run(args: &HistoryArgs) -> ExitCode {
    connection::run(read(args))
}

async fn read(args: &HistoryArgs) -> anyhow::Result<()> {
    let client = args.connection.connect().await?;
    let mut history = client.history(&args.topic).limit(args.limit);
    if let Some(since) = &args.since {
        history = history.since(since.clone());
    }
    if let Some(before) = &args.before {
        history = history.before(before.clone());
    }
    let past = history.await?;
    let epoch = &past.position.epoch;
    for message in &past.messages {
        let line = InputLine::object(|out| {
            text(out, "topic", &args.topic);
            text(out, "epoch", epoch);
            past_message(out, message.offset, message.time, message.from.as_ref(), &message.payload);
        });
        if line.print()? == Reader::Gone {
            break;
        }
    }
    if let (true, Some(first), Some(last)) = (past.more, past.messages.first(), past.messages.last()) {
        let (option, offset) = if args.since.is_some() { ("since", last.offset) } else { ("before", first.offset) };
        remark(&format!("there are more: --{option} {epoch}:{offset}"));
    }
    client.close().await;
    Ok(())
}
