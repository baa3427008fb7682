//! `rialto pub`: publishes one value, or every line of standard input in order, and prints the position of each.

use std::collections::VecDeque;
use std::io::BufRead as _;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use rialto_client::{Client, Encoding, Error, Payload, Published, Sent};
use tokio::sync::mpsc;

use super::connection::{self, ConnectionArgs};
use super::lines::{InputLine, Reader, number, text};
use super::{complain, escaped};
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
    /// Treat DATA or the lines as plain text instead of JSON; lines that are not UTF-8 are published as bytes
    #[arg(long)]
    text: bool,
    /// Idempotency key, 1 to 128 bytes: a repeated publish has no effect. Another command is another client, whose keys
    /// are its own, unless both have one --instance
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
            print(args, &publish.await?, None).map(drop)
        }
        None => publish_lines(args, &client).await,
    };
    client.close().await;
    outcome
}

/// What has become of the lines so far.
#[derive(Debug, Default)]
struct Account {
    /// Lines that were read.
    read: u64,
    published: u64,
    failed: u64,
    /// Whether the positions are still read.
    is_read: bool,
}

impl Account {
    /// One line was not published, and everybody who reads errors learns which and why.
    fn fail(&mut self, number: u64, error: &anyhow::Error) {
        self.failed += 1;
        complain(&format!("line {number}: {}", escaped::error(error)));
    }

    /// Tells what a publish came to, and whether the next one may come to something.
    fn answer(&mut self, args: &PubArgs, number: u64, answer: Result<Published, Error>) -> anyhow::Result<()> {
        match answer {
            Ok(published) => {
                self.published += 1;
                // The messages are published although the positions are no longer read.
                if self.is_read && print(args, &published, Some(number))? == Reader::Gone {
                    self.is_read = false;
                }
            }
            Err(error) => self.fail(number, &with_doubt(error)),
        }
        Ok(())
    }
}

/// A line that may have been published all the same is not one that was refused.
fn with_doubt(error: Error) -> anyhow::Error {
    let may_have_acted = matches!(
        error,
        Error::Lost | Error::TimedOut { may_have_acted: true, .. } | Error::Closed { may_have_acted: true, .. }
    );
    let error = anyhow::Error::new(error);
    if may_have_acted { error.context("it may have been published") } else { error }
}

/// Publishes every line, in order, and says of each what became of it: its position on standard output, or why it was not
/// published on standard error, with its number. A line that fails does not stop the others.
async fn publish_lines(args: &PubArgs, client: &Client) -> anyhow::Result<()> {
    let mut lines = read_lines();
    let mut unanswered: VecDeque<(u64, Sent<Published>)> = VecDeque::new();
    let mut account = Account { is_read: true, ..Account::default() };
    let mut is_at_end = false;
    while !(is_at_end && unanswered.is_empty()) {
        tokio::select! {
            line = lines.recv(), if !is_at_end && unanswered.len() < UNANSWERED => match line {
                Some(Ok(line)) => {
                    account.read += 1;
                    match send(args, client, &line).await {
                        Ok(sent) => unanswered.extend(sent.map(|sent| (account.read, sent))),
                        Err(error) => account.fail(account.read, &error),
                    }
                }
                Some(Err(error)) => {
                    is_at_end = true;
                    account.failed += 1;
                    complain(&format!("standard input, after line {}: {error}", account.read));
                }
                None => is_at_end = true,
            },
            (number, answer) = first(&mut unanswered), if !unanswered.is_empty() => {
                unanswered.pop_front();
                account.answer(args, number, answer)?;
            }
        }
    }
    let Account { read, failed, .. } = account;
    if failed == 0 { Ok(()) } else { Err(anyhow!("{failed} of {read} lines were not published")) }
}

async fn first(unanswered: &mut VecDeque<(u64, Sent<Published>)>) -> (u64, Result<Published, Error>) {
    match unanswered.front_mut() {
        Some((number, sent)) => (*number, sent.await),
        None => std::future::pending().await,
    }
}

/// Sends one line; nothing for an empty one.
async fn send(args: &PubArgs, client: &Client, line: &[u8]) -> anyhow::Result<Option<Sent<Published>>> {
    if line.trim_ascii().is_empty() && !args.text {
        return Ok(None);
    }
    let payload = match std::str::from_utf8(line) {
        Ok(line) => payload(args, line)?,
        // What is no text is bytes.
        Err(_) if args.text => Payload::bytes(line.to_vec()),
        Err(_) => bail!("not UTF-8, and so not JSON\n  = help: --text takes any bytes"),
    };
    Ok(Some(client.publish_payload(&args.topic, payload).send().await?))
}

fn payload(args: &PubArgs, data: &str) -> anyhow::Result<Payload> {
    if args.text {
        return Ok(Payload::json(data)?);
    }
    Payload::new(Encoding::Json, data.trim().to_owned())
        .map_err(|error| anyhow!("{error}\n  = help: a string in JSON has quotes, \"hello\"; --text takes plain text"))
}

fn print(args: &PubArgs, published: &Published, number_of_line: Option<u64>) -> anyhow::Result<Reader> {
    if args.quiet {
        return Ok(Reader::There);
    }
    let line = InputLine::object(|out| {
        if let Some(line) = number_of_line {
            number(out, "line", line);
        }
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
fn read_lines() -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (sender, lines) = mpsc::channel(UNANSWERED);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n') {
            let line = line.map(|mut line| {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                line
            });
            let is_last = line.is_err();
            if sender.blocking_send(line).is_err() || is_last {
                break;
            }
        }
    });
    lines
}
