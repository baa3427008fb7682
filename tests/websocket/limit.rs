//! Limits on everything that clients can make grow, and the error at each of them.

use rialto::Codec;
use serde_json::{Value, json};

use crate::support::{Running, eventually, http, upgrade_request};

#[tokio::test]
async fn a_session_over_the_limit_is_rejected_with_retry_after() {
    let running = Running::with(|config| config.limits.sessions = 2);
    let first = running.client(Codec::Json).await;
    let mut second = running.client(Codec::MessagePack).await;
    eventually("both are counted", || running.broker.metrics().sessions == 2).await;
    let refused = http(running.address, &upgrade_request(running.address, &[])).await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").expect("a hint").parse::<u64>().unwrap() > 0);
    second.ping().await;
    first.close().await;
    eventually("below the limit again", || running.broker.metrics().sessions == 1).await;
    running.client(Codec::Json).await.ping().await;
}

#[tokio::test]
async fn one_subscription_more_than_the_limit_is_too_many_until_another_ends() {
    let running = Running::with(|config| config.limits.subscriptions = 2);
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        assert_eq!(client.welcome["limits"]["subscriptions"], 2);
        client.subscribe("a").await;
        client.subscribe("b").await;
        client.refused(json!({"type": "subscribe", "topic": "c"}), "too_many").await;
        client.subscribe("a").await;
        client.ok(json!({"type": "unsubscribe", "topic": "a"})).await;
        let topics = json!([{"topic": "c"}, {"topic": "d"}]);
        let reply = client.ok(json!({"type": "subscribe", "topics": topics})).await;
        assert!(reply["topics"][0]["position"].is_object(), "{reply}");
        assert_eq!(reply["topics"][1]["error"]["code"], "too_many");
        assert_eq!(running.broker.metrics().subscriptions, 2);
        client.close().await;
        eventually("the session has ended", || running.broker.metrics().sessions == 0).await;
    }
}

#[tokio::test]
async fn a_refused_subscription_does_not_count() {
    let running = Running::with(|config| {
        config.limits.subscriptions = 2;
        config.limits.topics = 1;
    });
    let mut client = running.client(Codec::Json).await;
    client.subscribe("a").await;
    for topic in ["b", "c", "d"] {
        client.refused(json!({"type": "subscribe", "topic": topic}), "too_many").await;
    }
    assert_eq!(running.broker.metrics().subscriptions, 1);
}

#[tokio::test]
async fn one_topic_more_than_the_limit_is_too_many_until_one_is_no_longer_needed() {
    for codec in Codec::ALL {
        let running = Running::with(|config| config.limits.topics = 2);
        let mut client = running.client(codec).await;
        client.subscribe("a").await;
        client.subscribe("b").await;
        for request in [json!({"type": "publish", "topic": "c", "data": 1}), json!({"type": "subscribe", "topic": "c"})]
        {
            let error = client.refused(request, "too_many").await;
            assert!(error["retry_after_ms"].is_u64(), "{error}");
        }
        client.publish("a", json!(1)).await;
        client.message().await;
        assert_eq!(running.broker.metrics().topics, 2);
        client.ok(json!({"type": "unsubscribe", "topic": "b"})).await;
        let started = std::time::Instant::now();
        while client.request(json!({"type": "subscribe", "topic": "c"})).await["type"] != "ok" {
            assert!(started.elapsed() < crate::support::DEADLINE, "topic \"b\" is unused and still in memory");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn an_idle_topic_is_removed_and_begins_a_new_epoch() {
    let running = Running::with(|config| config.limits.topic_idle_ms = 50);
    let mut reader = running.client(Codec::Json).await;
    let kept = reader.subscribe("kept").await;
    let mut client = running.client(Codec::MessagePack).await;
    let before = client.publish("idle", json!(1)).await;
    eventually("the idle topic is removed", || running.broker.metrics().topics == 1).await;
    let after = client.publish("idle", json!(1)).await;
    assert_eq!((&before["offset"], &after["offset"]), (&json!(1), &json!(1)));
    assert_ne!(before["epoch"], after["epoch"]);
    let since = json!({"type": "subscribe", "topic": "idle", "since": before});
    assert_eq!(client.ok(since).await["recovered"], false);
    let same = client.publish("kept", json!(1)).await;
    assert_eq!(same["epoch"], kept["epoch"], "a topic with a subscriber is never forgotten");
    assert_eq!(reader.message().await["offset"], 1);
}

#[tokio::test]
async fn a_topic_without_a_rule_is_not_found() {
    let running = Running::with(|config| {
        config.topics[0].pattern = rialto::topic::Pattern::parse("open.>").unwrap();
    });
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        client.subscribe("open.a").await;
        for kind in ["publish", "subscribe"] {
            client.refused(json!({"type": kind, "topic": "shut.a", "data": 1}), "not_found").await;
        }
    }
}

#[tokio::test]
async fn a_larger_message_limit_is_announced_and_enforced() {
    let running = Running::with(|config| config.limits.message_bytes = 1_048_576);
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        assert_eq!(client.welcome["limits"]["message_bytes"], 1_048_576);
        let large = Value::from("x".repeat(1_000_000));
        client.subscribe("t").await;
        client.publish("t", large.clone()).await;
        assert_eq!(client.message().await["data"], large);
        client.ok(json!({"type": "unsubscribe", "topic": "t"})).await;
    }
}
