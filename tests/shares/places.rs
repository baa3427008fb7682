//! Places with a fixed number: topics in memory, patterns, fields of conflation.

use rialto::Payload;
use serde_json::json;

use super::{client_from, until_refused};
use crate::support::Running;

#[tokio::test]
async fn one_address_does_not_hold_all_topics() {
    let running = Running::with(|config| config.limits.topics = 160);
    // Topics without subscribers are removed when one is refused.
    let subscribe =
        |who: String| (0..200).map(move |number| json!({"type": "subscribe", "topic": format!("{who}.{number}")}));
    // What is for clients is 150; from 113 on everyone has a sixteenth of what is left.
    let (mut first, mut second) = (client_from(&running, 2).await, client_from(&running, 2).await);
    let (count, refusal) = until_refused(&mut first, subscribe("first".to_owned()), "too_many").await;
    assert_eq!(count, 113);
    assert!(refusal.unwrap()["retry_after_ms"].as_u64().unwrap() > 0);
    let (count, _) = until_refused(&mut second, subscribe("second".to_owned()), "too_many").await;
    assert_eq!(count, 0, "the same address");
    let mut neighbours = Vec::new();
    for last in 3..10 {
        let mut neighbour = client_from(&running, last).await;
        let (count, _) = until_refused(&mut neighbour, subscribe(format!("neighbour{last}")), "too_many").await;
        assert!(count >= 1, "127.0.0.{last}");
        neighbours.push(neighbour);
    }
    // Topics that are there are for everyone.
    first.publish("neighbour3.0", json!(1)).await;
    let payload = || Payload::json(&1).unwrap();
    for number in 0..10 {
        running.broker.publish(&format!("own.{number}"), payload()).await.expect("a part is for the program itself");
    }
}

#[tokio::test]
async fn one_address_does_not_hold_all_patterns() {
    let running = Running::with(|config| config.limits.patterns = 160);
    let subscribe = |who: &'static str| {
        (0..200).map(move |number| json!({"type": "subscribe", "topic": format!("{who}.{number}.*")}))
    };
    let mut first = client_from(&running, 2).await;
    let (count, _) = until_refused(&mut first, subscribe("first"), "too_many").await;
    assert_eq!(count, 113);
    let mut neighbour = client_from(&running, 3).await;
    assert!(until_refused(&mut neighbour, subscribe("neighbour"), "too_many").await.0 >= 1);
    // A pattern that is given back is room for the next.
    let given_back: Vec<_> = (0..113).map(|number| json!({"topic": format!("first.{number}.*")})).collect();
    first.ok(json!({"type": "unsubscribe", "topics": given_back})).await;
    assert!(until_refused(&mut neighbour, subscribe("later"), "too_many").await.0 >= 100);
}

#[tokio::test]
async fn one_address_does_not_use_all_fields_of_a_topic() {
    let running = Running::start();
    let mut first: Vec<_> = Vec::new();
    let subscribe = |who: &str, number: usize| {
        let delivery = json!({"policy": "latest_by", "field": format!("/{who}{number}")});
        json!({"type": "subscribe", "topic": "t", "delivery": delivery})
    };
    for number in 0..16 {
        let mut client = client_from(&running, 2).await;
        let reply = client.request(subscribe("first", number)).await;
        assert_eq!(reply["type"] == "ok", number < 12, "{number}: {reply}");
        first.push(client);
    }
    let mut neighbour = client_from(&running, 3).await;
    neighbour.ok(subscribe("neighbour", 0)).await;
}
