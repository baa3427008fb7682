//! Idempotency keys: a client that uses many is refused more of them, and nobody's are forgotten early.

use rialto::Codec;
use serde_json::{Value, json};

use super::until_refused;
use crate::support::Running;

fn publish(topic: &str, key: &str, data: &Value) -> Value {
    json!({"type": "publish", "topic": topic, "key": key, "data": data})
}

#[tokio::test]
async fn one_client_does_not_make_others_forget_their_keys() {
    let running = Running::with(|config| config.limits.keys_bytes = 65_536);
    let (mut neighbour, mut greedy) = (running.client(Codec::Json).await, running.client(Codec::MessagePack).await);
    let first = neighbour.ok(publish("orders", "order-1", &json!("buy"))).await;
    let flood =
        (0..10_000).map(|number| publish(&format!("junk.{}", number % 7), &format!("k{number}"), &json!(number)));
    let (count, refusal) = until_refused(&mut greedy, flood, "too_many").await;
    assert!((100..200).contains(&count), "{count} keys are three quarters of it");
    let refusal = refusal.unwrap();
    assert!(
        refusal["retry_after_ms"].as_u64().unwrap() > 0 && refusal["message"].as_str().unwrap().contains("expired")
    );
    // What is known is still answered, to the greedy one too.
    let again = neighbour.ok(publish("orders", "order-1", &json!("buy"))).await;
    assert_eq!((&again["position"], &again["duplicate"]), (&first["position"], &json!(true)));
    assert_eq!(greedy.ok(publish("junk.0", "k0", &json!(0))).await["duplicate"], true);
    neighbour.ok(publish("orders", "order-2", &json!("sell"))).await;
    greedy.ok(json!({"type": "publish", "topic": "junk.0", "data": 1})).await;
    let counted = running.broker.metrics();
    assert!(counted.key_bytes > 0 && counted.key_bytes <= 65_536, "{} bytes", counted.key_bytes);
}

#[tokio::test]
async fn keys_that_have_expired_are_room_for_new_ones() {
    let running = Running::with(|config| {
        config.limits.keys_bytes = 8_192;
        config.topics[0].keys_ms = 100;
        config.limits.topic_idle_ms = 100;
    });
    let mut client = running.client(Codec::Json).await;
    let flood = |round: usize| (0..100).map(move |number| publish("t", &format!("{round}-{number}"), &json!(1)));
    let (first, _) = until_refused(&mut client, flood(1), "too_many").await;
    assert!((10..30).contains(&first), "{first}");
    crate::support::eventually("keys are forgotten", || running.broker.metrics().keys == 0).await;
    assert!(until_refused(&mut client, flood(2), "too_many").await.0 >= first - 1);
}
