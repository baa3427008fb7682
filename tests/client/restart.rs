//! The broker stops and starts again on the same port, and keeps nothing: everything in the new epoch is new.

use std::net::SocketAddr;

use rialto_client::{Client, Codec, Event, Item, Subscription, Topic};

use super::{builder, event, keeping, message, next, numbers};
use crate::support::{Running, within};

fn again_at(address: SocketAddr) -> Running {
    keeping(|config| config.server.listen = vec![address])
}

/// Stops the broker, starts a new one, publishes numbers to it before the clients are back, and returns it.
async fn restarted(running: Running, topic: &str, numbers: std::ops::RangeInclusive<u64>) -> Running {
    let address = running.address;
    drop(running);
    let running = again_at(address);
    let other = within("a session", builder(address, Codec::Json).connect()).await.unwrap();
    for number in numbers {
        other.publish(topic, &number).await.unwrap();
    }
    other.close().await;
    running
}

async fn resumed(subscription: &mut Subscription) -> bool {
    match next(subscription).await {
        Item::Resumed(resumed) => resumed.recovered,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_others_published_meanwhile_arrives_in_order_and_once() {
    for codec in Codec::ALL {
        let running = keeping(|_| {});
        let client: Client = builder(running.address, codec).connect().await.unwrap();
        let mut events = client.events();
        let mut all = client.subscribe("a").await.unwrap();
        let mut live = client.subscribe(Topic::new("b").live_only()).await.unwrap();
        let mut pattern = client.subscribe("p.*").await.unwrap();
        client.publish("a", &1).await.unwrap();
        client.publish("b", &1).await.unwrap();
        assert_eq!((numbers(&mut all, 1).await, numbers(&mut live, 1).await), (vec![1], vec![1]));
        let _running = restarted(running, "a", 2..=9).await;
        assert!(!resumed(&mut all).await, "nothing is left of what was");
        let got: Vec<u64> = numbers(&mut all, 8).await;
        assert_eq!(got, (2..=9).collect::<Vec<u64>>());
        assert!(!resumed(&mut live).await);
        assert!(!resumed(&mut pattern).await);
        client.publish("b", &5).await.unwrap();
        client.publish("p.x", &6).await.unwrap();
        let got = message(&mut live).await;
        assert_eq!((got.offset, got.payload.parse::<u64>().unwrap()), (1, 5), "the epoch is new");
        assert_eq!(numbers(&mut pattern, 1).await, [6]);
        let code = event(&mut events, "the loss", |event| match event {
            Event::Disconnected { code, .. } => Some(code),
            _ => None,
        });
        assert_eq!(code.await, Some(1001));
        event(&mut events, "the return", |event| matches!(event, Event::Connected(_)).then_some(())).await;
    }
}

#[tokio::test]
async fn a_publish_waits_for_the_broker_to_come_back() {
    let running = keeping(|_| {});
    let address = running.address;
    let client = builder(address, Codec::Json).connect().await.unwrap();
    let mut events = client.events();
    drop(running);
    event(&mut events, "the loss", |event| matches!(event, Event::Disconnected { .. }).then_some(())).await;
    let sent = client.publish("a", &1).send().await.unwrap();
    let _running = again_at(address);
    let published = within("an answer", sent).await.unwrap();
    assert_eq!((published.position.unwrap().offset, published.duplicate), (1, false));
}

#[tokio::test]
async fn a_thousand_topics_are_subscribed_again_with_a_few_frames() {
    let running = keeping(|_| {});
    let address = running.address;
    let client = builder(address, Codec::Json).connect().await.unwrap();
    let topics: Vec<String> = (0..1_000).map(|number| format!("topic.number.{number}")).collect();
    let mut all = client.subscribe_all(topics.iter().map(String::as_str)).await.unwrap();
    assert_eq!((all.topics().len(), all.refused().len()), (1_000, 0));
    drop(running);
    let running = again_at(address);
    for _ in 0..1_000 {
        let Item::Resumed(_) = next(&mut all).await else { panic!("each goes on") };
    }
    assert_eq!(running.broker.metrics().subscriptions, 1_000);
    client.publish("topic.number.999", &1).await.unwrap();
    assert_eq!(numbers(&mut all, 1).await, [1]);
}
