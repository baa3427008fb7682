//! The choice of the policy by subscribers, within the topic rule and the limits.

use rialto::{Codec, Delivery, Policy};
use serde_json::{Value, json};

use crate::delivery::reader::{Reader, fill, publish};
use crate::support::Running;

#[tokio::test]
async fn the_topic_rule_sets_the_default_and_the_maximum() {
    let running = Running::with(|config| {
        config.topics[0].delivery = Delivery::Latest;
        config.topics[0].delivery_max = Policy::LatestBy;
    });
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        let by = json!({"policy": "latest_by", "field": "/a"});
        for allowed in [by, json!("latest"), json!({"policy": "sample", "every_ms": 5})] {
            client.ok(json!({"type": "subscribe", "topic": "t", "delivery": allowed})).await;
        }
        for more in ["queue", "drop_oldest"] {
            client.refused(json!({"type": "subscribe", "topic": "t", "delivery": more}), "forbidden").await;
        }
        client.close().await;
    }
    let mut reader = Reader::narrow(&running, Codec::Json).await;
    reader.subscribe("t", Value::Null).await;
    fill(&running, "t").await;
    let last = publish(&running, "t", 100, 1_000).await;
    reader.reads_to("t", last).await;
    let conflated = reader.account("t").gaps.iter().all(|(_, _, reason)| reason == "conflated");
    assert!(conflated && reader.account("t").skipped() > 0, "{:?}", reader.account("t").gaps);
}

#[tokio::test]
async fn the_field_of_the_rule_does_not_count_toward_the_limit() {
    let running = Running::with(|config| {
        config.topics[0].delivery = Delivery::new("latest_by", Some("/symbol"), None).unwrap();
        config.topics[0].delivery_max = Policy::LatestBy;
        config.limits.conflation_fields = 2;
    });
    let mut others = Vec::new();
    for field in ["/x", "/y"] {
        let mut other = running.client(Codec::Json).await;
        let delivery = json!({"policy": "latest_by", "field": field});
        other.ok(json!({"type": "subscribe", "topic": "t", "delivery": delivery})).await;
        others.push(other);
    }
    running.client(Codec::Json).await.ok(json!({"type": "subscribe", "topic": "t"})).await;
}

#[tokio::test]
async fn a_rule_with_sample_sets_the_shortest_interval() {
    let running = Running::with(|config| {
        config.topics[0].delivery = Delivery::Sample { every_ms: 250 };
        config.topics[0].delivery_max = Policy::Sample;
    });
    let mut client = running.client(Codec::MessagePack).await;
    let sample = |every_ms: u64| json!({"type": "subscribe", "topic": "t", "delivery": {"policy": "sample", "every_ms": every_ms}});
    client.ok(sample(250)).await;
    client.ok(sample(1_000)).await;
    client.refused(sample(249), "forbidden").await;
}

#[tokio::test]
async fn one_field_more_than_the_limit_is_too_many_until_another_is_free() {
    let running = Running::with(|config| config.limits.conflation_fields = 2);
    let mut client = running.client(Codec::Json).await;
    let mut other = running.client(Codec::MessagePack).await;
    let by = |topic: &str, field: &str| json!({"type": "subscribe", "topic": topic, "delivery": {"policy": "latest_by", "field": field}});
    client.ok(by("t", "/a")).await;
    other.ok(by("t", "/b")).await;
    client.refused(by("t", "/c"), "too_many").await;
    client.ok(by("u", "/c")).await;
    // A refused session keeps its subscription.
    client.publish("t", json!({"a": 1})).await;
    client.message().await;
    other.message().await;
    other.ok(json!({"type": "subscribe", "topic": "t", "delivery": "latest"})).await;
    client.ok(by("t", "/c")).await;
    other.close().await;
    client.close().await;
    running.becomes_empty().await;
}

#[tokio::test]
async fn an_invalid_policy_is_a_bad_request() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        for (delivery, tells) in [
            (json!("loudly"), "loudly"),
            (json!(""), "no delivery policy"),
            (json!(5), "neither"),
            (json!({}), "policy"),
            (json!({"policy": 1}), "policy"),
            (json!("sample"), "every_ms"),
            (json!({"policy": "sample", "every_ms": 0}), "every_ms"),
            (json!({"policy": "sample", "every_ms": -1}), "every_ms"),
            (json!({"policy": "sample", "every_ms": 1.5}), "every_ms"),
            (json!({"policy": "sample", "every_ms": 3_600_001}), "every_ms"),
            (json!({"policy": "latest_by"}), "field"),
            (json!({"policy": "latest_by", "field": "symbol"}), "/symbol"),
            (json!({"policy": "latest_by", "field": "/".repeat(300)}), "255"),
            (json!({"policy": "latest", "field": "/a"}), "has no field"),
        ] {
            let error =
                client.refused(json!({"type": "subscribe", "topic": "t", "delivery": delivery}), "bad_request").await;
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("delivery") && message.contains(tells), "{delivery}: {message}");
        }
        assert_eq!(running.broker.metrics().subscriptions, 0);
        client.close().await;
    }
}
