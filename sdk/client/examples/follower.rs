//! Follows prices and remembers where it was, so that the next run goes on there:
//! `cargo run -p rialto-client --example follower -- ws://127.0.0.1:8080 market.acme position.txt`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it speaks to a person")]

use std::path::Path;

use rialto_client::{Client, Delivery, Item, Position, Topic};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |usual: &str| arguments.next().unwrap_or_else(|| usual.to_owned());
    let (url, name, file) = (argument("ws://127.0.0.1:8080"), argument("market.acme"), argument("position.txt"));

    // When this program is slower than the market, only the newest price matters.
    let mut topic = Topic::new(name).delivery(Delivery::Latest).last(1);
    if let Some(position) = read(Path::new(&file)) {
        topic = topic.since(position);
    }
    let client = Client::connect(&url).await?;
    let mut prices = client.subscribe(topic).await?;
    let mut epoch = prices.topics()[0].position.clone().ok_or("a pattern has no position")?.epoch;
    while let Some(item) = prices.next().await {
        let offset = match item {
            Item::Message(message) => {
                println!("{} {}", message.offset, String::from_utf8_lossy(&message.payload.to_json()));
                message.offset
            }
            Item::Gap(gap) => {
                println!("{} to {} will not come ({})", gap.from, gap.to, gap.reason.as_str());
                gap.to
            }
            Item::Resumed(resumed) => {
                epoch = resumed.position.map_or(epoch, |position| position.epoch);
                continue;
            }
            _ => continue,
        };
        std::fs::write(&file, format!("{epoch} {offset}"))?;
    }
    Err(client.closed().await.into())
}

fn read(file: &Path) -> Option<Position> {
    let text = std::fs::read_to_string(file).ok()?;
    let (epoch, offset) = text.split_once(' ')?;
    Some(Position { epoch: epoch.into(), offset: offset.parse().ok()? })
}
