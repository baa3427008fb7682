//! Publishes the orders of a file, each once however often this is run or cut off, because each has a key of its own:
//! `cargo run -p rialto-client --example publisher -- ws://127.0.0.1:8080 orders orders.txt`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it speaks to a person")]

use rialto_client::{Client, ErrorCode, Event};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |usual: &str| arguments.next().unwrap_or_else(|| usual.to_owned());
    let (url, topic, file) = (argument("ws://127.0.0.1:8080"), argument("orders"), argument("orders.txt"));

    let client = Client::builder(&url).name("publisher/1").connect().await?;
    let mut events = client.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Disconnected { reason, retry_in, .. } = event {
                eprintln!("({reason}; back in {retry_in:?})");
            }
        }
    });
    // All are sent before the first answer is there, and still in this order.
    let mut sent = Vec::new();
    for (number, order) in std::fs::read_to_string(&file)?.lines().enumerate() {
        sent.push(client.publish(topic.as_str(), order).key(format!("{file}-{number}")).send().await?);
    }
    for (number, sent) in sent.into_iter().enumerate() {
        match sent.await {
            Ok(published) if published.duplicate => println!("order {number} was there already"),
            Ok(published) => println!("order {number} is {:?}", published.position),
            Err(error) if error.code() == Some(ErrorCode::KeyReused) => {
                println!("order {number} was another one before")
            }
            // It is not known; the next run finds out, by the key.
            Err(error) if error.may_have_acted() => println!("order {number} may have been published: {error}"),
            Err(error) => println!("order {number} was not published: {error}"),
        }
    }
    client.close().await;
    Ok(())
}
