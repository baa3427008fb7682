//! The client for Rust against a real broker: what it sends is understood, and it comes back after every cut, with all that was
//! missed.

mod cut;
mod door;
mod held;
mod presence;
mod restart;
mod session;
mod sign_in;

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{Running, within};
use rialto::config::{Config, History, TopicRule};
use rialto_client::{Builder, Client, Codec, Event, Events, Item, Message, Subscription};

/// A broker whose topics keep what they need for recovery.
fn keeping(change: impl FnOnce(&mut Config)) -> Running {
    Running::with(|config| {
        let history = Some(History { messages: 1_000, ..History::default() });
        config.topics = vec![TopicRule { history, ..TopicRule::default() }];
        // A client whose test is over does not disconnect.
        config.limits.close_ms = 50;
        change(config);
    })
}

/// A client that is quick to come back.
fn builder(address: SocketAddr, codec: Codec) -> Builder {
    let builder = Client::builder(&format!("ws://{address}")).codec(codec);
    builder.pauses(Duration::from_millis(5), Duration::from_millis(50))
}

async fn connect(running: &Running, codec: Codec) -> Client {
    within("a session", builder(running.address, codec).connect()).await.unwrap()
}

async fn next(subscription: &mut Subscription) -> Item {
    within("an item", subscription.next()).await.expect("the subscription goes on")
}

async fn message(subscription: &mut Subscription) -> Message {
    match next(subscription).await {
        Item::Message(message) => message,
        other => panic!("no message but {other:?}"),
    }
}

/// The numbers that the next messages carry.
async fn numbers(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(message(subscription).await.payload.parse().unwrap());
    }
    numbers
}

/// Passes over events until one is of this kind.
async fn event<T>(events: &mut Events, what: &str, wanted: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let event = within(what, events.next()).await.expect("the client goes on");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}
