//! `rialto pub`: publishes one value, or every line of standard input in order, and prints the position of each.

use std::collections::VecDeque;
use std::io::BufRead as _;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use rialto_client::{Client, Encoding, Payload, Published, Sent};
use tokio::sync::mpsc;

use super::connection::{self, ConnectionArgs};
use super::lines::{InputLine, Reader, number, text};
use rialto_protocol::value::Sink as _;

/// Most messages in flight.
const UNANSWERED: usize = 256;

/// At the end of the help.
pub(crate) const EXAMPLES: &str = "Examples:
  rialto pub chat.lobby '{\"text\": \"hello\"}'
  tail -f app.log | rialto pub logs --text --quiet
  rialto sub orders --data | rialto pub copy";

/// Arguments of `rialto pub`.
#[derive(Debug, clap::Args)]
pub(crate) struct PubArgs {
    /// Topic
    topic: String,
    /// Payload, as JSON; without it every line of standard input is one message
    data: Option<String>,
    /// Treat DATA or the lines as plain text instead of JSON
    #[arg(long)]
    text: bool,
    /// Idempotency key, 1 to 128 bytes: a repeated publish has no effect
    #[arg(long, value_name = "KEY", requires = "data")]
    key: Option<String>,
    /// Print nothing
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Publishes, and ends when every message is acknowledged.
pub(crate) fn run(args: &PubArgs) -> ExitCode {
    connection::run(publish(args))
}

async fn publish(args: &PubArgs) -> anyhow::Result<()> {
    let data = args.data.as_deref().map(|data| payload(args, data)).transpose()?;
    let client = args.connection.connect().await?;
    let outcome = match data {
        Some(payload) => {
            let publish = client.publish_payload(&args.topic, payload);
            let publish = if let Some(key) = &args.key { publish.key(key) } else { publish };
            print(args, &publish.await?).map(drop)
        }
        None => publish_lines(args, &client).await,
    };
    client.close().await;
    outcome
}

async fn publish_lines(args: &PubArgs, client: &Client) -> anyhow::Result<()> {
    let mut lines = read_lines();
    let mut unanswered: VecDeque<Sent<Published>> = VecDeque::new();
    let (mut number, mut is_read, mut fault) = (0_u64, false, None);
    while !(is_read && unanswered.is_empty()) {
        tokio::select! {
            line = lines.recv(), if !is_read && unanswered.len() < UNANSWERED => match line {
                Some(line) => {
                    number += 1;
                    match send(args, client, line).await.with_context(|| format!("line {number}")) {
                        Ok(sent) => unanswered.extend(sent),
                        // Earlier messages are acknowledged first.
                        Err(error) => (is_read, fault) = (true, Some(error)),
                    }
                }
                None => is_read = true,
            },
            answer = first(&mut unanswered), if !unanswered.is_empty() => {
                unanswered.pop_front();
                if print(args, &answer?)? == Reader::Gone {
                    // The messages are published although the positions are no longer read.
                    return finish(args, client, lines, unanswered).await;
                }
            }
        }
    }
    fault.map_or(Ok(()), Err)
}

/// Publishes the rest without printing.
async fn finish(
    args: &PubArgs,
    client: &Client,
    mut lines: mpsc::Receiver<std::io::Result<String>>,
    mut unanswered: VecDeque<Sent<Published>>,
) -> anyhow::Result<()> {
    while let Some(line) = lines.recv().await {
        unanswered.extend(send(args, client, line).await?);
        if unanswered.len() >= UNANSWERED
            && let Some(first) = unanswered.pop_front()
        {
            first.await?;
        }
    }
    for answer in unanswered {
        answer.await?;
    }
    Ok(())
}

async fn first(unanswered: &mut VecDeque<Sent<Published>>) -> Result<Published, rialto_client::Error> {
    match unanswered.front_mut() {
        Some(sent) => sent.await,
        None => std::future::pending().await,
    }
}

/// Sends one line; nothing for an empty one.
async fn send(
    args: &PubArgs,
    client: &Client,
    line: std::io::Result<String>,
) -> anyhow::Result<Option<Sent<Published>>> {
    let line = line.context("standard input")?;
    if line.trim().is_empty() && !args.text {
        return Ok(None);
    }
    Ok(Some(client.publish_payload(&args.topic, payload(args, &line)?).send().await?))
}

fn payload(args: &PubArgs, data: &str) -> anyhow::Result<Payload> {
    if args.text {
        return Ok(Payload::json(data)?);
    }
    Payload::new(Encoding::Json, data.trim().to_owned())
        .map_err(|error| anyhow!("{error}\n  = help: a string in JSON has quotes, \"hello\"; --text takes plain text"))
}

fn print(args: &PubArgs, published: &Published) -> anyhow::Result<Reader> {
    if args.quiet {
        return Ok(Reader::There);
    }
    let line = InputLine::object(|out| {
        text(out, "topic", &args.topic);
        // Without a position if a plugin has swallowed it.
        if let Some(position) = &published.position {
            text(out, "epoch", &position.epoch);
            number(out, "offset", position.offset);
        }
        if published.duplicate {
            out.key("duplicate");
            out.bool(true);
        }
    });
    line.print()
}

/// Reads standard input on another thread, a bounded number of lines ahead. The thread ends with the input or the process.
fn read_lines() -> mpsc::Receiver<std::io::Result<String>> {
    let (sender, lines) = mpsc::channel(UNANSWERED);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let is_last = line.is_err();
            if sender.blocking_send(line).is_err() || is_last {
                break;
            }
        }
    });
    lines
}
