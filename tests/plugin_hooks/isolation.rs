//! An instance for each topic: its own memory and state, as many as may be, dropped when idle.

use rialto::Codec;
use rialto::config::Isolation;
use serde_json::{Value, json};

use crate::plugin_hooks::puppet::{counted, running, subscribed};
use crate::support::{Client, eventually};

async fn call(client: &mut Client, topic: &str, method: &str, data: Value) -> Value {
    client.ok(json!({"type": "call", "topic": topic, "method": method, "data": data})).await["data"].clone()
}

#[tokio::test]
async fn each_topic_has_memory_state_and_timers_of_its_own() {
    let running = running(|_, plugin| plugin.isolation = Isolation::Topic);
    let mut client = subscribed(&running, Codec::Json, "p.timers").await;
    for (topic, value) in [("p.a", 1), ("p.b", 2)] {
        call(&mut client, topic, "steps", json!([{"put": ["key", value]}, {"timer": ["t", 1]}])).await;
    }
    for (topic, value) in [("p.a", 1), ("p.b", 2)] {
        assert_eq!(call(&mut client, topic, "steps", json!([{"get": "key"}])).await, json!([value]));
        assert_eq!(call(&mut client, topic, "memory", json!(null)).await, json!({"calls": 3, "topic": topic}));
    }
    let mut topics = [client.message().await["data"]["topic"].clone(), client.message().await["data"]["topic"].clone()];
    topics.sort_by_key(Value::to_string);
    assert_eq!(topics, ["p.a", "p.b"]);
    assert_eq!(counted(&running).plugin_instances, 4, "the plugin's own, and one of each topic");
    // A failure costs one topic its memory.
    let panic = json!({"type": "call", "topic": "p.a", "method": "steps", "data": [{"panic": "on purpose"}]});
    client.refused(panic, "plugin_failed").await;
    assert_eq!(call(&mut client, "p.a", "memory", json!(null)).await["calls"], 1);
    assert_eq!(call(&mut client, "p.b", "memory", json!(null)).await["calls"], 4);
}

#[tokio::test]
async fn there_are_so_many_instances_and_idle_ones_go() {
    let running = running(|_, plugin| {
        plugin.isolation = Isolation::Topic;
        plugin.instances = 3;
        plugin.instance_idle_ms = 300;
    });
    let mut client = running.client(Codec::Json).await;
    for number in 0..10 {
        call(&mut client, &format!("p.t{number}"), "steps", json!([{"put": ["key", number]}])).await;
        assert!(counted(&running).plugin_instances <= 4);
    }
    eventually("the idle ones are gone", || counted(&running).plugin_instances == 1).await;
    for number in 0..10 {
        let topic = format!("p.t{number}");
        assert_eq!(call(&mut client, &topic, "steps", json!([{"get": "key"}])).await, json!([number]));
    }
}
