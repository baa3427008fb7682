//! Subscribes and unsubscribes faster than their replies, while messages are published: deliveries match the order of the
//! requests, and a disconnect in the middle releases everything.

use std::time::Instant;

use rialto::{Codec, Payload};
use serde_json::json;

use crate::support::{DEADLINE, Raw, Running, eventually};

const REQUESTS: u64 = 200;

/// Publishes until the returned task is aborted.
fn flood(running: &Running) -> tokio::task::JoinHandle<()> {
    let broker = running.broker.clone();
    tokio::spawn(async move {
        loop {
            broker.publish("t", Payload::json(&1).unwrap()).await.unwrap();
            tokio::task::yield_now().await;
        }
    })
}

/// Subscribes with odd ids and unsubscribes with even ones, without waiting.
async fn ask_all(session: &mut Raw) {
    for id in 1..=REQUESTS {
        let kind = if id % 2 == 1 { "subscribe" } else { "unsubscribe" };
        session.request(&json!({"type": kind, "id": id, "topic": "t"})).await;
    }
}

/// Reads all replies and messages. Returns the number of messages.
async fn ask_and_read(running: &Running, codec: Codec) -> u64 {
    let mut session = Raw::connect(running.address, codec).await;
    ask_all(&mut session).await;
    let (mut answered, mut next, mut arrived) = (0, None, 0);
    while answered < REQUESTS {
        let frame = session.frame_value().await;
        if frame["type"] == "ok" {
            answered += 1;
            assert_eq!(frame["id"], answered, "replies about one topic are in the order of the requests");
            next = frame["position"]["offset"].as_u64().map(|offset| offset + 1);
        } else {
            assert_eq!(frame["type"], "message", "{frame}");
            let expected = next.unwrap_or_else(|| panic!("nothing is subscribed, and {frame} comes"));
            assert_eq!(frame["offset"], expected);
            next = Some(expected + 1);
            arrived += 1;
        }
    }
    session.request(&json!({"type": "ping", "id": 1_000})).await;
    assert_eq!(session.frame_value().await["id"], 1_000, "nothing comes behind the last answer");
    arrived
}

#[tokio::test]
async fn messages_between_two_replies_match_the_first_one() {
    let running = Running::with(|config| config.limits.requests_in_flight = 256);
    let publisher = flood(&running);
    for codec in Codec::ALL {
        let (begun, mut arrived) = (Instant::now(), 0);
        while arrived < 20 {
            assert!(begun.elapsed() < DEADLINE, "only {arrived} messages met a subscription");
            arrived += ask_and_read(&running, codec).await;
        }
    }
    publisher.abort();
}

#[tokio::test]
async fn a_disconnect_in_the_middle_of_requests_releases_everything() {
    let running = Running::start();
    let publisher = flood(&running);
    for round in 0..20 {
        let mut session = Raw::connect(running.address, Codec::ALL[round % 2]).await;
        ask_all(&mut session).await;
        // After so many replies and messages.
        for _ in 0..round * 7 {
            session.frame_value().await;
        }
        session.reset();
    }
    running.becomes_empty().await;
    publisher.abort();
    // What was asked last may still wait for its turn.
    eventually("nobody is counted", || running.broker.topic("t").map_or(0, |topic| topic.subscribers) == 0).await;
}
