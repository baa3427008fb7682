//! A plugin may what it asks for and is granted.

use rialto::Codec;
use serde_json::json;

use crate::plugin_hooks::puppet::{id, running, steps};

#[tokio::test]
async fn what_is_not_granted_is_refused() {
    let running = running(|_, plugin| plugin.grants = Vec::new());
    let mut client = running.client(Codec::Json).await;
    let own = id(&client);
    for (step, word) in [
        (json!({"put": ["a", 1]}), "`state`"),
        (json!({"get": "a"}), "`state`"),
        (json!({"delete": "a"}), "`state`"),
        (json!({"timer": ["a", 1]}), "`timers`"),
        (json!({"cancel": "a"}), "`timers`"),
        (json!({"due": "a"}), "`timers`"),
        (json!({"sessions": "p.a"}), "`sessions`"),
        (json!({"count": "p.a"}), "`sessions`"),
        (json!({"subscribe": [own, "p.a"]}), "`sessions`"),
        (json!({"disconnect": [own, ""]}), "`sessions`"),
        (json!({"publish": ["open.a", 1]}), "does not belong to this plugin"),
    ] {
        client.refused(steps(json!([step])), "plugin_failed").await;
        let failure = running.broker.plugins()[0].last_failure.clone().unwrap();
        assert!(failure.text.contains(word), "{step}: {}", failure.text);
    }
    client.ok(steps(json!([{"publish": ["p.a", 1]}, {"send": [own, {"type": "x-a"}]}]))).await;
}

#[tokio::test]
async fn grants_reach_as_far_as_their_patterns() {
    let running = running(|_, _| {});
    let mut client = running.client(Codec::Json).await;
    let own = id(&client);
    client.ok(steps(json!([{"publish": ["open.a.b", 1]}, {"subscribe": [own, "open.c"]}]))).await;
    client.refused(steps(json!([{"publish": ["other.a", 1]}])), "plugin_failed").await;
    client.refused(steps(json!([{"subscribe": [own, "other.a"]}])), "plugin_failed").await;
    client.refused(steps(json!([{"sessions": "open.c"}])), "plugin_failed").await;
}
