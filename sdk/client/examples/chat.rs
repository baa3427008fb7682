//! A chat room in a terminal: `cargo run -p rialto-client --example chat -- ws://127.0.0.1:8080 lobby Ada`, with the broker's own
//! configuration, whose plugin keeps the names.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it speaks to a person")]

use std::io::BufRead as _;

use rialto_client::{Client, Event, Item};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |usual: &str| arguments.next().unwrap_or_else(|| usual.to_owned());
    let (url, room, name) = (argument("ws://127.0.0.1:8080"), argument("lobby"), argument("Ada"));
    let topic = format!("chat.{room}");

    let client = Client::connect(&url).await?;
    let mut events = client.events();
    let mut room = client.subscribe(topic.as_str()).await?;
    claim(&client, &topic, &name).await?;

    let mut lines = read_lines();
    loop {
        tokio::select! {
            item = room.next() => match item {
                Some(Item::Message(message)) => show(&message.payload.parse()?),
                Some(Item::Gap(gap)) => eprintln!("({} messages were missed)", gap.to - gap.from + 1),
                Some(_) => {}
                None => return Err(client.closed().await.into()),
            },
            event = events.next() => match event {
                Some(Event::Disconnected { reason, retry_in, .. }) => eprintln!("({reason}; back in {retry_in:?})"),
                // The session is a new one, and a name belongs to a session.
                Some(Event::Connected(_)) => claim(&client, &topic, &name).await?,
                _ => {}
            },
            line = lines.recv() => match line {
                Some(text) => {
                    // The plugin may say no: too long, too fast, no name.
                    if let Err(error) = client.publish(topic.as_str(), &json!({"text": text})).await {
                        eprintln!("({error})");
                    }
                }
                None => break,
            },
        }
    }
    client.close().await;
    Ok(())
}

async fn claim(client: &Client, topic: &str, name: &str) -> Result<(), rialto_client::Error> {
    let answered = client.call(topic, "claim").data(&json!({"name": name})).await?;
    let welcome: Value = answered.payload.and_then(|payload| payload.parse().ok()).unwrap_or_default();
    eprintln!("(here: {})", welcome["members"]);
    Ok(())
}

fn show(event: &Value) {
    match (event["kind"].as_str(), event["author"].as_str(), event["text"].as_str()) {
        (Some("message"), Some(author), Some(text)) => println!("{author}: {text}"),
        _ => println!("* {event}"),
    }
}

/// Standard input on a thread of its own.
fn read_lines() -> tokio::sync::mpsc::Receiver<String> {
    let (sender, lines) = tokio::sync::mpsc::channel(16);
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.blocking_send(line))
    });
    lines
}
