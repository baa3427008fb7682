//! `rialto sub`: subscribes to topics and patterns and prints one JSON object per line, across reconnects.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use rialto_client::{Client, Delivery, Ending, Event, Events, Item, Position, Subscription, Topic};

use super::connection::{self, ConnectionArgs, remark};
use super::lines::{self, InputLine, Reader};
use super::{complain, escaped};

/// At the end of the help.
pub(crate) const EXAMPLES: &str = "Examples:
  rialto sub chat.lobby --last 20
  rialto sub 'news.>' 'orders.*'
  rialto sub market.acme --delivery latest_by:/symbol
  rialto sub orders --data --count 100 | jq .price
  rialto sub orders --since s2puzmhh:41 --last 1000   # from there, or at most 1000 if that is not kept";

/// Arguments of `rialto sub`.
#[derive(Debug, clap::Args)]
pub(crate) struct SubArgs {
    /// Topics or patterns: `*` is one token, a final `>` one or more (quote them for the shell)
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Start with the last N messages of the history
    #[arg(long, value_name = "N")]
    last: Option<u64>,
    /// Start after this position, as shown with messages; for a single topic
    #[arg(long, value_name = "EPOCH:OFFSET", value_parser = connection::position)]
    since: Option<Position>,
    /// Delivery policy for a slow consumer: queue, drop_oldest, latest, latest_by:/FIELD or sample:MILLISECONDS
    #[arg(long, value_name = "POLICY", value_parser = delivery)]
    delivery: Option<Delivery>,
    /// Also print presence: the members, and who joins and leaves
    #[arg(long)]
    presence: bool,
    /// Exit after N messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print only the payloads of messages
    #[arg(long)]
    data: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs until `--count` is reached, standard output is closed, or the broker ends the subscriptions.
pub(crate) fn run(args: &SubArgs) -> ExitCode {
    if args.since.is_some() && args.topics.len() > 1 {
        complain("--since is the position of a single topic, but there are several topics");
        return ExitCode::from(2);
    }
    let is_special = args.delivery.as_ref().is_some_and(|delivery| *delivery != Delivery::Queue);
    let is_of_topics = args.since.is_some() || args.last.is_some() || args.presence || is_special;
    let is_pattern = |topic: &&String| topic.split('.').any(|token| matches!(token, "*" | ">"));
    if let Some(pattern) = args.topics.iter().find(is_pattern).filter(|_| is_of_topics) {
        complain(&format!("pattern {pattern:?}: --last, --since, --presence and --delivery are for topics only"));
        return ExitCode::from(2);
    }
    connection::run(follow(args))
}

async fn follow(args: &SubArgs) -> anyhow::Result<()> {
    let client = args.connection.connect().await?;
    let mut events = client.events();
    let mut subscription = client.subscribe_all(args.topics.iter().map(|name| wanted(args, name))).await?;
    if let Some((topic, failure)) = subscription.refused().first() {
        bail!("topic {topic:?}: {}", escaped::line(&failure.to_string()));
    }
    let outcome = tokio::select! {
        outcome = print(args, &client, &mut subscription) => outcome,
        () = watch(&mut events) => unreachable!("events never end"),
        () = lines::reader_is_gone() => Ok(()),
    };
    client.close().await;
    outcome
}

fn wanted(args: &SubArgs, name: &str) -> Topic {
    let mut topic = Topic::new(name);
    if let Some(since) = &args.since {
        topic = topic.since(since.clone());
    }
    if let Some(last) = args.last {
        topic = topic.last(last);
    }
    if let Some(delivery) = &args.delivery {
        topic = topic.delivery(delivery.clone());
    }
    if args.presence { topic.presence() } else { topic }
}

async fn print(args: &SubArgs, client: &Client, subscription: &mut Subscription) -> anyhow::Result<()> {
    let known = subscription.topics().iter();
    let known = known.filter_map(|topic| Some((Arc::clone(&topic.topic), Arc::clone(&topic.position.as_ref()?.epoch))));
    let mut epochs: HashMap<Arc<str>, Arc<str>> = known.collect();
    let mut left = args.count;
    while let Some(item) = subscription.next().await {
        if let Item::Resumed(resumed) = &item
            && let Some(position) = &resumed.position
        {
            epochs.insert(Arc::clone(&resumed.topic), Arc::clone(&position.epoch));
        }
        let line = match &item {
            Item::Message(message) if args.data => Some(InputLine::payload(&message.payload)),
            _ if args.data => None,
            item => lines::item(item, &epochs),
        };
        if line.map_or(Ok(Reader::There), InputLine::print)? == Reader::Gone {
            return Ok(());
        }
        if let Item::Ended { topic, failure } = &item {
            complain(&format!("topic {topic:?}: {}", escaped::line(&failure.to_string())));
        }
        if matches!(item, Item::Message(_))
            && let Some(left) = &mut left
        {
            *left -= 1;
            if *left == 0 {
                return Ok(());
            }
        }
    }
    match client.ending() {
        Some(Ending::Asked) | None => bail!("the broker ended every subscription"),
        Some(ending) => bail!("{}", escaped::line(&ending.to_string())),
    }
}

/// Reports the state of the connection at a terminal.
async fn watch(events: &mut Events) {
    while let Some(event) = events.next().await {
        match event {
            Event::Disconnected { reason, retry_in, .. } => {
                remark(&format!("{reason}; reconnecting in {:.1} s", retry_in.as_secs_f64()));
            }
            Event::Connected(_) => remark("reconnected"),
            _ => {}
        }
    }
    std::future::pending().await
}

fn delivery(text: &str) -> Result<Delivery, String> {
    let (name, argument) = text.split_once(':').map_or((text, None), |(name, argument)| (name, Some(argument)));
    let (mut field, mut every_ms) = (None, None);
    match (name, argument) {
        ("sample", Some(argument)) => {
            let number = argument.strip_suffix("ms").unwrap_or(argument).parse();
            every_ms =
                Some(number.map_err(|_| "sample needs an interval: sample:250 for 250 milliseconds".to_owned())?);
        }
        ("sample", None) => {
            return Err("sample needs an interval: sample:250 for 250 milliseconds".to_owned());
        }
        ("latest_by", None) => return Err("latest_by needs a field: latest_by:/symbol".to_owned()),
        (_, argument) => field = argument,
    }
    Delivery::new(name, field, every_ms).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_written_with_a_colon() {
        for (text, expected) in [
            ("queue", Some(Delivery::Queue)),
            ("latest", Some(Delivery::Latest)),
            ("sample:250", Some(Delivery::Sample { every_ms: 250 })),
            ("sample:250ms", Some(Delivery::Sample { every_ms: 250 })),
            ("sample", None),
            ("sample:often", None),
            ("latest_by", None),
            ("latest:/a", None),
            ("loudly", None),
        ] {
            assert_eq!(delivery(text).ok(), expected, "{text}");
        }
        assert_eq!(delivery("latest_by:/a/b").map(|delivery| delivery.to_string()), Ok("latest_by /a/b".to_owned()));
    }
}
