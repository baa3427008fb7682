//! History: the client with the most bytes loses its own first.

use rialto::Codec;
use rialto::config::{History, TopicRule};
use rialto::topic::Pattern;
use serde_json::json;

use crate::support::Running;

/// Publishes far more than all history may take, to many topics below `junk`.
async fn flood(running: &Running) {
    let mut greedy = running.client(Codec::Json).await;
    for number in 0..400 {
        greedy.publish(&format!("junk.{number}"), json!("x".repeat(4_000))).await;
    }
    assert!(running.broker.metrics().histories_dropped_total > 100);
}

/// The messages of a topic that a new subscriber is sent.
async fn kept(running: &Running, topic: &str) -> u64 {
    let mut reader = running.client(Codec::Json).await;
    let history = reader.ok(json!({"type": "history", "topic": topic})).await;
    history["messages"].as_array().unwrap().len() as u64
}

#[tokio::test]
async fn a_flood_of_one_client_takes_nobody_elses_history() {
    let running = Running::with(|config| {
        config.topics[0].history = Some(History::default());
        config.limits.history_bytes = 1_000_000;
    });
    let mut neighbour = running.client(Codec::Json).await;
    let position = neighbour.publish("room.a", json!("first")).await;
    for number in 0..20 {
        neighbour.publish("room.a", json!(number)).await;
    }
    flood(&running).await;
    assert_eq!(kept(&running, "room.a").await, 21);
    let recovered = neighbour.ok(json!({"type": "subscribe", "topic": "room.a", "since": position})).await;
    assert_eq!(recovered["recovered"], true);
}

#[tokio::test]
async fn a_flood_below_one_rule_takes_no_history_of_another_rule() {
    let running = Running::with(|config| {
        let rule = |pattern: &str| TopicRule {
            pattern: Pattern::parse(pattern).unwrap(),
            history: Some(History::default()),
            ..TopicRule::default()
        };
        config.topics = vec![rule("room.*"), rule(">")];
        config.limits.history_bytes = 1_000_000;
    });
    // All of them are the program's own.
    for number in 0..20 {
        running.broker.publish("room.a", rialto::Payload::json(&number).unwrap()).await.unwrap();
    }
    for number in 0..400 {
        let payload = rialto::Payload::json(&"x".repeat(4_000)).unwrap();
        running.broker.publish(&format!("junk.{number}"), payload).await.unwrap();
    }
    assert!(running.broker.metrics().histories_dropped_total > 100);
    assert_eq!(kept(&running, "room.a").await, 20);
}
