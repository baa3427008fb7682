//! `rialto presence`: prints the members of a topic.

use std::process::ExitCode;

use super::connection::{self, ConnectionArgs};
use super::lines::{InputLine, present, text};

/// Arguments of `rialto presence`.
#[derive(Debug, clap::Args)]
pub(crate) struct PresenceArgs {
    /// Topic
    topic: String,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Prints one object: the number of members, and the members unless there are too many.
pub(crate) fn run(args: &PresenceArgs) -> ExitCode {
    connection::run(ask(args))
}

async fn ask(args: &PresenceArgs) -> anyhow::Result<()> {
    let client = args.connection.connect().await?;
    let who = client.presence(&args.topic).await?;
    let line = InputLine::object(|out| {
        text(out, "topic", &args.topic);
        present(out, &who);
    });
    line.print()?;
    client.close().await;
    Ok(())
}
