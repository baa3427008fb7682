//! A reload changes topic rules: topics in memory, with subscribers and publishers, follow at once.

use std::sync::atomic::Ordering::SeqCst;

use rialto::config::{History, TopicRule};
use rialto::{Codec, Delivery, Policy};
use serde_json::json;

use super::reloadable::{Reloadable, ended, moderated, rule};
use crate::support::{Client, Raw, eventually};

const HISTORY: History = History { messages: 100, bytes: 100_000, age_ms: 100_000 };

#[tokio::test]
async fn a_plugin_that_is_put_before_a_busy_topic_moderates_it_from_then_on() {
    let mut reloadable = Reloadable::start(|config| config.topics = vec![rule("room.*")]);
    let mut subscriber = reloadable.subscriber("room.lobby").await;
    let mut publisher = reloadable.running.client(Codec::MessagePack).await;
    publisher.publish("room.lobby", json!("bad")).await;
    assert_eq!(subscriber.message().await["data"], "bad");
    let reloaded = reloadable.reload(|config| config.topics = vec![moderated("room.*")]).await;
    assert_eq!(reloaded.applied, ["topic rule room.*: changed"]);
    publisher.refused(json!({"type": "publish", "topic": "room.lobby", "data": "bad"}), "rejected").await;
    let end = ended(&mut subscriber, "room.lobby", "unavailable").await;
    assert!(end["retry_after_ms"].as_u64().unwrap() < 2_000, "clients come again: {end}");
    publisher.publish("room.lobby", json!("nobody is there")).await;
    let position = subscriber.subscribe("room.lobby").await;
    assert_eq!(position["offset"], 2, "the order goes on");
    publisher.publish("room.lobby", json!("good")).await;
    assert_eq!(subscriber.message().await["data"], "good");
}

#[tokio::test]
async fn every_message_after_a_reload_is_moderated_while_many_publish() {
    let mut reloadable = Reloadable::start(|config| config.topics = vec![rule("room.*")]);
    let mut publishers = Vec::new();
    for _ in 0..4 {
        let mut client = reloadable.running.client(Codec::Json).await;
        publishers.push(tokio::spawn(async move {
            let bad = || json!({"type": "publish", "topic": "room.lobby", "data": "bad"});
            // Until the plugin refuses one; from then on it has to refuse all.
            while client.request(bad()).await["type"] == "ok" {}
            for _ in 0..200 {
                client.refused(bad(), "rejected").await;
            }
        }));
    }
    eventually("they publish", || reloadable.running.broker.metrics().messages_published_total > 500).await;
    reloadable.reload(|config| config.topics = vec![moderated("room.*")]).await;
    let accepted = || reloadable.running.broker.topic("room.lobby").unwrap().position.offset;
    let before = accepted();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    assert_eq!(accepted(), before);
}

#[tokio::test]
async fn the_new_plugin_is_asked_about_those_that_were_subscribed_and_the_old_one_is_told_that_they_left() {
    let mut reloadable = Reloadable::start(|config| config.topics = vec![rule("a.*"), moderated("b.*")]);
    let (mut first, mut second) = (reloadable.subscriber("a.closed").await, reloadable.subscriber("b.open").await);
    reloadable.reload(|config| config.topics = vec![moderated("a.*"), rule("b.*")]).await;
    ended(&mut first, "a.closed", "unavailable").await;
    first.refused(json!({"type": "subscribe", "topic": "a.closed"}), "rejected").await;
    ended(&mut second, "b.open", "unavailable").await;
    eventually("the old plugin gets the end", || reloadable.left.load(SeqCst) == 1).await;
    second.subscribe("b.open").await;
    second.publish("b.open", json!("bad")).await;
    assert_eq!(second.message().await["data"], "bad");
    second.ok(json!({"type": "unsubscribe", "topic": "b.open"})).await;
    first.close().await;
    second.close().await;
    reloadable.running.becomes_empty().await;
    assert_eq!(reloadable.left.load(SeqCst), 1);
}

#[tokio::test]
async fn a_rule_that_is_removed_ends_the_subscriptions_to_its_topics() {
    let mut reloadable = Reloadable::start(|config| config.topics = vec![rule("a.*"), rule("b.*")]);
    let (mut gone, mut stays) = (reloadable.subscriber("a.x").await, reloadable.subscriber("b.x").await);
    let reloaded = reloadable.reload(|config| config.topics = vec![rule("b.*")]).await;
    assert_eq!(reloaded.applied, ["topic rule a.*: removed"]);
    let end = ended(&mut gone, "a.x", "not_found").await;
    assert_eq!(end.get("retry_after_ms"), None, "there is nothing to come back for");
    for request in [
        json!({"type": "publish", "topic": "a.x", "data": 1}),
        json!({"type": "subscribe", "topic": "a.x"}),
        json!({"type": "history", "topic": "a.x"}),
    ] {
        gone.refused(request, "not_found").await;
    }
    gone.ok(json!({"type": "unsubscribe", "topic": "a.x"})).await;
    stays.publish("b.x", json!("still here")).await;
    assert_eq!(stays.message().await["data"], "still here");
    assert!(reloadable.running.broker.topic("a.x").is_none());
    assert_eq!(reloadable.running.broker.metrics().subscriptions, 1);
    // It comes back with its rule.
    reloadable.reload(|config| config.topics.push(rule("a.*"))).await;
    gone.subscribe("a.x").await;
    gone.publish("a.x", json!("again")).await;
    assert_eq!(gone.message().await["data"], "again");
}

#[tokio::test]
async fn subscribers_stay_when_only_the_history_changes() {
    let with = |history| vec![TopicRule { history, ..rule("a.*") }];
    let mut reloadable = Reloadable::start(|config| config.topics = with(None));
    let mut client = reloadable.subscriber("a.x").await;
    let kept = async |client: &mut Client| {
        let past = client.ok(json!({"type": "history", "topic": "a.x"})).await;
        past["messages"].as_array().unwrap().iter().map(|one| one["data"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    client.publish("a.x", json!(1)).await;
    client.refused(json!({"type": "history", "topic": "a.x"}), "unavailable").await;
    reloadable.reload(|config| config.topics = with(Some(HISTORY))).await;
    for number in 2..=5 {
        client.publish("a.x", json!(number)).await;
    }
    assert_eq!(kept(&mut client).await, [2, 3, 4, 5]);
    reloadable.reload(|config| config.topics = with(Some(History { messages: 2, ..HISTORY }))).await;
    assert_eq!(kept(&mut client).await, [4, 5], "it is trimmed at once");
    reloadable.reload(|config| config.topics = with(Some(HISTORY))).await;
    client.publish("a.x", json!(6)).await;
    assert_eq!(kept(&mut client).await, [4, 5, 6], "what is there is kept");
    for expected in 1..=6 {
        let message = client.message().await;
        assert_eq!((&message["data"], &message["offset"]), (&json!(expected), &json!(expected)));
    }
    reloadable.reload(|config| config.topics = with(None)).await;
    client.refused(json!({"type": "history", "topic": "a.x"}), "unavailable").await;
    assert_eq!(reloadable.running.broker.metrics().history_messages, 0);
}

#[tokio::test]
async fn presence_is_switched_on_and_off_for_topics_in_memory() {
    let with = |presence| vec![TopicRule { presence, ..rule("a.*") }];
    let mut reloadable = Reloadable::start(|config| config.topics = with(false));
    let mut client = reloadable.subscriber("a.x").await;
    let follow = || json!({"type": "subscribe", "topic": "a.x", "presence": true});
    client.refused(follow(), "unavailable").await;
    reloadable.reload(|config| config.topics = with(true)).await;
    ended(&mut client, "a.x", "unavailable").await;
    assert_eq!(client.ok(follow()).await["count"], 1);
    let mut other = reloadable.subscriber("a.x").await;
    assert_eq!(client.push().await["type"], "join");
    assert_eq!(reloadable.running.broker.metrics().presence_members, 2);
    reloadable.reload(|config| config.topics = with(false)).await;
    ended(&mut client, "a.x", "unavailable").await;
    ended(&mut other, "a.x", "unavailable").await;
    client.refused(json!({"type": "presence", "topic": "a.x"}), "unavailable").await;
    eventually("nobody is counted", || reloadable.running.broker.metrics().presence_members == 0).await;
}

#[tokio::test]
async fn a_delivery_policy_that_changes_applies_to_all_subscribers() {
    let mut reloadable = Reloadable::start(|config| config.topics = vec![rule("a.*")]);
    let mut client = reloadable.subscriber("a.x").await;
    reloadable
        .reload(|config| {
            let (delivery, delivery_max) = (Delivery::Latest, Policy::Latest);
            config.topics = vec![TopicRule { delivery, delivery_max, ..rule("a.*") }];
        })
        .await;
    ended(&mut client, "a.x", "unavailable").await;
    client.refused(json!({"type": "subscribe", "topic": "a.x", "delivery": "queue"}), "forbidden").await;
    client.subscribe("a.x").await;
}

#[tokio::test]
async fn patterns_select_topics_or_not_as_the_rule_says_now() {
    let with = |patterns| vec![TopicRule { patterns: Some(patterns), ..rule("a.*") }];
    let mut reloadable = Reloadable::start(|config| config.topics = with(true));
    let mut watcher = reloadable.subscriber("a.*").await;
    let mut client = reloadable.running.client(Codec::Json).await;
    for (patterns, data, arrives) in [(true, 1, true), (false, 2, false), (true, 3, true)] {
        reloadable.reload(|config| config.topics = with(patterns)).await;
        client.publish("a.x", json!(data)).await;
        if arrives {
            assert_eq!(watcher.message().await["data"], json!(data));
        }
    }
}

#[tokio::test]
async fn a_session_that_is_still_replaying_is_ended_too() {
    let with = |plugin: Option<&str>| {
        vec![TopicRule { history: Some(HISTORY), plugin: plugin.map(str::to_owned), ..rule("a.*") }]
    };
    let mut reloadable = Reloadable::start(|config| {
        config.topics = with(None);
        config.topics[0].history = Some(History { messages: 5_000, bytes: 100_000_000, ..HISTORY });
    });
    let mut client = reloadable.running.client(Codec::Json).await;
    let text = "x".repeat(10_000);
    for _ in 0..2_000 {
        client.publish("a.x", json!(text)).await;
    }
    // It does not read, so that its replay stands.
    let mut slow = Raw::connect_narrow(reloadable.running.address, Codec::Json).await;
    slow.request(&json!({"type": "subscribe", "topic": "a.x", "last": 2_000, "id": 1})).await;
    eventually("it is counted", || reloadable.running.broker.topic("a.x").unwrap().subscribers == 1).await;
    reloadable.reload(|config| config.topics = with(Some("moderator"))).await;
    eventually("it is not counted", || reloadable.running.broker.topic("a.x").unwrap().subscribers == 0).await;
}
