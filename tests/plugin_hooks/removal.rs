//! Messages that a plugin removes: gone from the past for good, and told to everybody who may have them.

use rialto::Codec;
use rialto::config::History;
use serde_json::{Value, json};

use crate::delivery::reader::{Reader, fill, publish};
use crate::plugin_hooks::puppet::{counted, running, steps, subscribed};
use crate::support::events::Stream;
use crate::support::{Client, Running, get};

/// The gap in the place of a removed message.
fn gap(topic: &str, offset: u64) -> Value {
    json!({"type": "gap", "topic": topic, "from": offset, "to": offset, "reason": "removed"})
}

/// What subscribers are told.
fn removed(topic: &str, offset: u64) -> Value {
    json!({"type": "removed", "topic": topic, "offset": offset})
}

/// The offsets that a request for history answers with.
async fn history(client: &mut Client, request: Value) -> Vec<u64> {
    let past = client.ok(request).await;
    past["messages"].as_array().unwrap().iter().map(|message| message["offset"].as_u64().unwrap()).collect()
}

async fn remove(client: &mut Client, topic: &str, offsets: &[u64]) {
    let all: Vec<Value> = offsets.iter().map(|offset| json!({"remove": [topic, offset]})).collect();
    client.ok(steps(json!(all))).await;
}

#[tokio::test]
async fn a_removed_message_is_gone_for_good_and_everybody_is_told() {
    for codec in Codec::ALL {
        let running = running(|_, _| {});
        let mut owner = subscribed(&running, Codec::Json, "p.a").await;
        let mut client = subscribed(&running, codec, "p.a").await;
        let mut stream = Stream::open(running.address, "topic=p.a", None).await;
        stream.event("x-snapshot").await;
        let mut position = Value::Null;
        for number in 1..=4 {
            position = owner.publish("p.a", json!(number)).await;
            client.message().await;
            stream.message().await;
        }
        let before = counted(&running);
        remove(&mut owner, "p.a", &[2]).await;
        assert_eq!(client.push().await, removed("p.a", 2));
        assert_eq!(stream.event("removed").await.data, removed("p.a", 2));
        let after = counted(&running);
        assert_eq!(before.history_messages - after.history_messages, 1);
        assert!(after.history_bytes < before.history_bytes);
        // What is there no more, or never was, has no effect.
        remove(&mut owner, "p.a", &[2, 0, 9, u64::MAX]).await;
        client.ping().await;
        assert_eq!(client.take_all(), Vec::<Value>::new());

        assert_eq!(history(&mut client, json!({"type": "history", "topic": "p.a"})).await, [1, 3, 4]);
        let since = json!({"epoch": position["epoch"], "offset": 1});
        let mut late = running.client(codec).await;
        let answer = late.ok(json!({"type": "subscribe", "topic": "p.a", "since": since})).await;
        assert_eq!((&answer["recovered"], &answer["position"]), (&json!(true), &position));
        // What the plugin sends comes before the past or beside it.
        let past = [late.push().await, late.push().await, late.push().await, late.push().await];
        let of_topic: Vec<&Value> = past.iter().filter(|push| push["type"] != "x-snapshot").collect();
        assert_eq!((of_topic.len(), of_topic[0]), (3, &gap("p.a", 2)), "{past:?}");
        assert_eq!([&of_topic[1]["offset"], &of_topic[2]["offset"]], [3, 4]);
        owner.publish("p.a", json!(5)).await;
        assert_eq!(
            (client.message().await["offset"].clone(), late.message().await["offset"].clone()),
            (5.into(), 5.into())
        );
        let query = format!("topic=p.a&since={}:1", position["epoch"].as_str().unwrap());
        let polled: Value = serde_json::from_str(&get(running.address, &format!("/poll?{query}")).await.body).unwrap();
        assert_eq!(polled["gaps"], json!([gap("p.a", 2)]), "{polled}");
        assert_eq!(polled["messages"].as_array().unwrap().len(), 3);
    }
}

#[tokio::test]
async fn who_has_the_topic_by_a_pattern_is_told_too_and_once() {
    let running = running(|settings, _| settings.topics[0].patterns = Some(true));
    let mut owner = subscribed(&running, Codec::Json, "p.a").await;
    let mut client = running.client(Codec::MessagePack).await;
    client.subscribe("p.*").await;
    let mut both = subscribed(&running, Codec::Json, "p.a").await;
    both.subscribe("p.>").await;
    owner.publish("p.a", json!(1)).await;
    client.message().await;
    both.message().await;
    remove(&mut owner, "p.a", &[1]).await;
    for client in [&mut client, &mut both] {
        client.ping().await;
        assert_eq!(client.take_all(), [removed("p.a", 1)]);
    }
}

#[tokio::test]
async fn a_topic_that_is_not_the_plugins_is_forbidden() {
    let running = running(|_, _| {});
    let mut client = running.client(Codec::Json).await;
    client.publish("open.a", json!(1)).await;
    client.refused(steps(json!([{"remove": ["open.a", 1]}])), "plugin_failed").await;
    let text = running.broker.plugins()[0].last_failure.as_ref().unwrap().text.clone();
    assert!(text.contains("forbidden: topic \"open.a\" does not belong to this plugin"), "{text}");
}

#[tokio::test]
async fn nothing_is_removed_where_the_hook_fails_or_nothing_is_kept() {
    let running = running(|_, _| {});
    let mut client = subscribed(&running, Codec::Json, "p.a").await;
    client.publish("p.a", json!(1)).await;
    client.message().await;
    client.refused(steps(json!([{"remove": ["p.a", 1]}, {"fail": "on purpose"}])), "plugin_failed").await;
    assert_eq!(history(&mut client, json!({"type": "history", "topic": "p.a"})).await, [1]);
    // A message of the hook itself is there only behind it.
    client.ok(steps(json!([{"remove": ["p.a", 2]}, {"publish": ["p.a", "two"]}]))).await;
    assert_eq!(client.push().await["offset"], 2);
    client.ok(steps(json!([{"publish": ["p.a", "three"]}, {"remove": ["p.a", 3]}]))).await;
    assert_eq!(client.push().await["offset"], 3);
    assert_eq!(client.push().await, removed("p.a", 3));
    assert_eq!(history(&mut client, json!({"type": "history", "topic": "p.a"})).await, [1, 2]);
}

#[tokio::test]
async fn a_retry_of_a_removed_message_stays_a_duplicate() {
    let running = running(|_, _| {});
    let mut client = subscribed(&running, Codec::Json, "p.a").await;
    let publish = json!({"type": "publish", "topic": "p.a", "data": 1, "key": "k"});
    let first = client.ok(publish.clone()).await;
    client.message().await;
    remove(&mut client, "p.a", &[1]).await;
    assert_eq!(client.push().await, removed("p.a", 1));
    let again = client.ok(publish).await;
    assert_eq!((&again["duplicate"], &again["position"]), (&json!(true), &first["position"]));
    client.ping().await;
    assert_eq!(client.take_all(), Vec::<Value>::new());
}

#[tokio::test]
async fn pages_of_history_go_on_behind_what_was_removed() {
    let running = running(|_, _| {});
    let mut client = subscribed(&running, Codec::Json, "p.a").await;
    for number in 1..=9 {
        client.publish("p.a", json!(number)).await;
    }
    remove(&mut client, "p.a", &[2, 3, 4, 5, 6, 7, 8]).await;
    let epoch = client.publish("p.a", json!(10)).await["epoch"].clone();
    let page = |name: &str, offset: u64| {
        let mut request = json!({"type": "history", "topic": "p.a", "limit": 2});
        request[name] = json!({"epoch": epoch, "offset": offset});
        request
    };
    // Pages with nothing else are passed over.
    assert_eq!(history(&mut client, page("since", 1)).await, [9]);
    assert_eq!(history(&mut client, page("before", 9)).await, [1]);
}

/// A broker for slow consumers of a topic of the puppet.
fn slow() -> Running {
    running(|settings, _| {
        settings.server.shards = 1;
        settings.limits.outbox_bytes = 100_000;
        settings.limits.write_ms = 60_000;
        let history = History { messages: 100_000, bytes: 100_000_000, ..History::default() };
        settings.topics[0].history = Some(history);
    })
}

#[tokio::test]
async fn what_waits_for_a_slow_consumer_does_not_come_once_it_is_removed() {
    for (codec, delivery) in [
        (Codec::Json, json!("drop_oldest")),
        (Codec::MessagePack, json!("latest")),
        (Codec::Json, json!({"policy": "latest_by", "field": "/key"})),
        (Codec::MessagePack, json!({"policy": "sample", "every_ms": 1})),
    ] {
        let running = slow();
        let mut reader = Reader::narrow(&running, codec).await;
        reader.subscribe("p.a", delivery.clone()).await;
        fill(&running, "p.a").await;
        let last = publish(&running, "p.a", 50, 1_000).await;
        let mut owner = running.client(Codec::Json).await;
        remove(&mut owner, "p.a", &[last]).await;
        owner.ping().await;
        reader.reads_to("p.a", last).await;
        let account = reader.account("p.a");
        assert!(!account.delivered.contains(&last), "{delivery}");
        assert_eq!(account.gaps.last(), Some(&(last, last, "removed".to_owned())), "{delivery}");
        // The push is there, once.
        reader.request(json!({"type": "ping"})).await;
        assert_eq!(reader.removed, [last], "{delivery}");
    }
}
