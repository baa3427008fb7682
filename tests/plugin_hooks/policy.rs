//! What becomes of a plugin that fails too often, and of those who want something of it meanwhile.

use rialto::config::OnFailure;
use rialto::{Codec, PluginHealth};
use serde_json::json;

use crate::plugin_hooks::puppet::{running, steps, subscribed};
use crate::support::eventually;

#[tokio::test]
async fn a_plugin_that_fails_too_often_is_quarantined_and_comes_back() {
    let running = running(|_, plugin| {
        plugin.failures = 3;
        plugin.quarantine_ms = 300;
    });
    let mut client = subscribed(&running, Codec::Json, "p.a").await;
    client.ok(steps(json!([{"put": ["key", 1]}]))).await;
    for _ in 0..3 {
        client.refused(steps(json!([{"panic": "on purpose"}])), "plugin_failed").await;
    }
    let error = client.refused(steps(json!([])), "plugin_failed").await;
    assert!(error["message"].as_str().unwrap().contains("quarantined"), "{error}");
    let health = || running.broker.plugins()[0].health;
    assert_eq!((health(), running.broker.metrics().plugin_instances), (PluginHealth::Quarantined, 0));
    eventually("quarantine is over", || health() == PluginHealth::Running).await;
    let read = client.ok(steps(json!([{"get": "key"}, {"count": "p.a"}]))).await;
    assert_eq!(read["data"], json!([1, 1]), "state and sessions are there");
}

#[tokio::test]
async fn what_a_plugin_says_itself_does_not_count_towards_quarantine() {
    let running = running(|_, plugin| plugin.failures = 3);
    let mut client = running.client(Codec::Json).await;
    for _ in 0..10 {
        client.refused(steps(json!([{"fail": "on purpose"}])), "plugin_failed").await;
        client.refused(steps(json!([{"reject": "on purpose"}])), "rejected").await;
    }
    client.ok(steps(json!([]))).await;
}

#[tokio::test]
async fn topics_pass_where_the_rule_says_so() {
    let running = running(|settings, plugin| {
        settings.topics[0].on_failure = OnFailure::Pass;
        plugin.failures = 1;
        plugin.quarantine_ms = 0;
    });
    let mut client = subscribed(&running, Codec::Json, "p.a").await;
    client.refused(steps(json!([{"panic": "on purpose"}])), "plugin_failed").await;
    let position = client.publish("p.a", json!([{"panic": "nobody looks"}])).await;
    assert_eq!(position["offset"], 1);
    assert_eq!(client.message().await["data"], json!([{"panic": "nobody looks"}]));
    let mut late = running.client(Codec::Json).await;
    late.subscribe("p.a").await;
    client.refused(steps(json!([])), "not_found").await;
}
