//! Idempotency keys: a retry returns the first outcome, another request with the same key is refused.

use std::time::Duration;

use rialto::config::Config;
use rialto::{Codec, ErrorCode, ManualClock, Payload, PublishOptions};
use serde_json::{Value, json};

use crate::support::{Running, eventually};

/// A secret of a client.
const INSTANCE: &str = "f3J_9-aaaaaaaaaaaaaaaaaaaa";

fn request(topic: &str, data: Value, key: &str) -> Value {
    json!({"type": "publish", "topic": topic, "data": data, "key": key})
}

#[tokio::test]
async fn a_retry_returns_the_first_position_and_publishes_nothing() {
    let running = Running::start();
    let mut reader = running.client(Codec::Json).await;
    reader.subscribe("t").await;
    let mut client = running.client(Codec::Json).await;
    client.ok(json!({"type": "connect", "instance": INSTANCE})).await;
    let first = client.ok(request("t", json!(1), "k")).await;
    assert!(first.get("duplicate").is_none(), "{first}");
    client.close().await;
    let mut client = running.client(Codec::Json).await;
    client.ok(json!({"type": "connect", "instance": INSTANCE})).await;
    client.publish("t", json!("between")).await;
    for _ in 0..3 {
        let again = client.ok(request("t", json!(1), "k")).await;
        assert_eq!((&again["position"], &again["duplicate"]), (&first["position"], &json!(true)));
    }
    client.refused(request("t", json!(2), "k"), "key_reused").await;
    let other = client.ok(request("u", json!(2), "k")).await;
    assert!(other.get("duplicate").is_none(), "another topic, another key");
    client.publish("t", json!("end")).await;
    assert_eq!(
        (reader.message().await["data"].clone(), reader.message().await["data"].clone()),
        (json!(1), json!("between"))
    );
    assert_eq!(reader.message().await["data"], "end");
    let counted = running.broker.metrics();
    assert_eq!((counted.duplicates_total, counted.messages_published_total, counted.keys), (3, 4, 2));
}

#[tokio::test]
async fn keys_have_a_length_limit() {
    let running = Running::start();
    let mut client = running.client(Codec::MessagePack).await;
    client.refused(request("t", json!(1), ""), "bad_request").await;
    client.refused(request("t", json!(1), &"k".repeat(129)), "bad_request").await;
    client.refused(json!({"type": "publish", "topic": "t", "data": 1, "key": 7}), "bad_request").await;
    client.ok(request("t", json!(1), &"k".repeat(128))).await;
    assert_eq!(running.broker.topic("t").unwrap().position.offset, 1);
}

#[tokio::test]
async fn idempotency_keys_are_kept_as_long_as_the_rule_says() {
    let clock = ManualClock::new(0);
    let change = |config: &mut Config| {
        config.topics[0].keys_ms = 200;
    };
    let running = Running::built(change, |builder| builder.clock(clock.clone()));
    let mut client = running.client(Codec::Json).await;
    client.ok(request("t", json!(1), "k")).await;
    assert_eq!(client.ok(request("t", json!(1), "k")).await["duplicate"], json!(true));
    clock.advance(Duration::from_millis(1));
    client.ok(request("t", json!(1), "c")).await;
    clock.advance(Duration::from_millis(200));
    assert!(client.ok(request("t", json!(2), "k")).await.get("duplicate").is_none());
    assert_eq!(client.ok(request("t", json!(1), "c")).await["duplicate"], json!(true));
    clock.advance(Duration::from_millis(2));
    assert!(client.ok(request("t", json!(3), "c")).await.get("duplicate").is_none());
    clock.advance(Duration::from_millis(201));
    eventually("keys are forgotten", || running.broker.metrics().keys == 0).await;
}

#[tokio::test]
async fn concurrent_publishes_with_one_key_publish_once() {
    let running = Running::start();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let broker = running.broker.clone();
            tokio::spawn(async move {
                let options = PublishOptions::default().key("k");
                broker.publish_with("t", Payload::json(&1).unwrap(), options).await.unwrap()
            })
        })
        .collect();
    let mut duplicates = 0;
    for task in tasks {
        let published = task.await.unwrap();
        assert_eq!(published.position.unwrap().offset, 1);
        duplicates += u64::from(published.duplicate);
    }
    assert_eq!(duplicates, 19);
    let options = PublishOptions::default().key("k");
    let refused = running.broker.publish_with("t", Payload::json(&2).unwrap(), options).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::KeyReused);
}

#[tokio::test]
async fn a_retry_with_a_key_returns_the_first_answer_and_publishes_once() {
    for codec in Codec::ALL {
        let running = Running::start();
        let mut reader = running.client(Codec::Json).await;
        reader.subscribe("t").await;
        let mut client = running.raw(codec).await;
        client.request(&json!({"type": "connect", "id": 1, "instance": INSTANCE})).await;
        client.request(&request("t", json!("once"), "k")).await;
        eventually("it has taken effect", || running.broker.metrics().messages_published_total == 1).await;
        // The reply was not read.
        client.reset();
        let mut client = running.client(codec).await;
        client.ok(json!({"type": "connect", "instance": INSTANCE})).await;
        let again = client.ok(request("t", json!("once"), "k")).await;
        assert_eq!((&again["position"]["offset"], &again["duplicate"]), (&json!(1), &json!(true)), "{again}");
        client.refused(request("t", json!("twice"), "k"), "key_reused").await;
        client.publish("t", json!("end")).await;
        assert_eq!(reader.message().await["data"], "once");
        assert_eq!(reader.message().await["data"], "end");
    }
}

#[tokio::test]
async fn keys_belong_to_a_client_and_tell_others_nothing() {
    let running = Running::start();
    let other = "another-secret-of-a-client";
    let mut clients = Vec::new();
    for instance in [Some(INSTANCE), Some(other), None, None] {
        let mut client = running.client(Codec::Json).await;
        if let Some(instance) = instance {
            client.ok(json!({"type": "connect", "instance": instance})).await;
        }
        clients.push(client);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let answer = client.ok(request("t", json!(number), "order-1")).await;
        assert_eq!((&answer["position"]["offset"], answer.get("duplicate")), (&json!(number + 1), None));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ok(request("t", json!(number), "order-1")).await["duplicate"], json!(true));
    }
    // The same client, on a connection of its own.
    let mut back = running.client(Codec::Json).await;
    back.ok(json!({"type": "connect", "instance": INSTANCE})).await;
    assert_eq!(back.ok(request("t", json!(0), "order-1")).await["duplicate"], json!(true));
    back.refused(json!({"type": "connect", "instance": other}), "bad_request").await;
    back.ok(json!({"type": "connect", "instance": INSTANCE, "client": "again/1"})).await;
    for bad in ["short", &"x".repeat(65), "with spaces in the middle of it", "émilie-émilie-émilie-émilie"] {
        back.refused(json!({"type": "connect", "instance": bad}), "bad_request").await;
    }
}

#[tokio::test]
async fn a_restart_drops_keys_and_begins_a_new_epoch() {
    let running = Running::start();
    let mut client = running.client(Codec::Json).await;
    let first = client.ok(request("t", json!(1), "k")).await;
    drop((client, running));
    let running = Running::start();
    let mut client = running.client(Codec::Json).await;
    let again = client.ok(request("t", json!(1), "k")).await;
    assert_eq!(again.get("duplicate"), None, "nothing in memory outlives the broker");
    assert_ne!(again["position"]["epoch"], first["position"]["epoch"]);
    let other = client.ok(request("t", json!(1), "k")).await;
    assert_eq!((&other["position"], &other["duplicate"]), (&again["position"], &json!(true)));
}

#[tokio::test]
async fn keys_of_the_embedding_program_are_separate_from_those_of_sessions() {
    let running = Running::start();
    let mut client = running.client(Codec::Json).await;
    client.ok(request("t", json!("mine"), "order-1")).await;
    let payload = || Payload::json(&"the program's").unwrap();
    for duplicate in [false, true] {
        let options = PublishOptions::default().key("order-1");
        let published = running.broker.publish_with("t", payload(), options).await.unwrap();
        assert_eq!((published.position.map(|position| position.offset), published.duplicate), (Some(2), duplicate));
    }
}
