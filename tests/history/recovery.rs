//! Recovery from a position: all missed messages, in order and once, or a gap.

use std::time::Duration;

use rialto::config::History;
use rialto::{Codec, ManualClock};
use serde_json::{Value, json};

use super::{keeping, keeping_by, messages};
use crate::support::raw::{FIN, TEXT, masked};
use crate::support::{Client, Raw, Running, encode, eventually};

/// Publishes numbers and returns the last position.
async fn publish(running: &Running, topic: &str, numbers: std::ops::RangeInclusive<u64>) -> Value {
    let mut client = running.client(Codec::Json).await;
    let mut position = Value::Null;
    for number in numbers {
        position = client.publish(topic, json!(number)).await;
    }
    position
}

/// The offsets of the next messages.
async fn offsets(client: &mut Client, count: usize) -> Vec<u64> {
    let mut offsets = Vec::new();
    for _ in 0..count {
        offsets.push(client.message().await["offset"].as_u64().unwrap());
    }
    offsets
}

async fn since(client: &mut Client, epoch: &Value, offset: u64) -> Value {
    client.ok(json!({"type": "subscribe", "topic": "t", "since": {"epoch": epoch, "offset": offset}})).await
}

#[tokio::test]
async fn recovery_sends_missed_messages_before_new_ones() {
    for codec in Codec::ALL {
        let running = keeping(messages(100));
        let position = publish(&running, "t", 1..=9).await;
        let mut client = running.client(codec).await;
        let reply = since(&mut client, &position["epoch"], 4).await;
        assert_eq!((&reply["recovered"], &reply["more"]), (&json!(true), &json!(false)), "{reply}");
        assert_eq!(reply["position"], position);
        publish(&running, "t", 10..=11).await;
        assert_eq!(offsets(&mut client, 7).await, [5, 6, 7, 8, 9, 10, 11]);
        let counted = running.broker.metrics();
        assert_eq!((counted.recoveries_total, counted.recoveries_lost_total), (1, 0));
        eventually("all deliveries are counted", || running.broker.metrics().messages_delivered_total == 7).await;
    }
}

#[tokio::test]
async fn recovery_succeeds_when_nothing_was_missed() {
    let running = keeping(messages(100));
    let position = publish(&running, "t", 1..=3).await;
    let mut client = running.client(Codec::Json).await;
    let reply = since(&mut client, &position["epoch"], 3).await;
    assert_eq!((&reply["recovered"], &reply["more"]), (&json!(true), &json!(false)));
    publish(&running, "t", 4..=4).await;
    assert_eq!(offsets(&mut client, 1).await, [4]);
}

#[tokio::test]
async fn trimmed_messages_are_reported_as_a_gap_and_nothing_is_sent_in_part() {
    let running = keeping(messages(5));
    let position = publish(&running, "t", 1..=9).await;
    let epoch = &position["epoch"];
    // (since, from, to, reason); five are kept: 5 to 9.
    for (since_epoch, offset, from, reason) in
        [(epoch, 3, 4, "expired"), (epoch, 0, 1, "expired"), (epoch, 10, 1, "reset"), (&json!("other"), 7, 1, "reset")]
    {
        let mut client = running.client(Codec::Json).await;
        let reply = since(&mut client, since_epoch, offset).await;
        assert_eq!((&reply["recovered"], &reply["position"]), (&json!(false), &position), "{reply}");
        let gap = client.push().await;
        assert_eq!(gap, json!({"type": "gap", "topic": "t", "from": from, "to": 9, "reason": reason}));
        client.ping().await;
        assert!(client.take_all().is_empty(), "nothing is sent in part");
    }
    let live = publish(&running, "t", 10..=10).await;
    assert_eq!(live["offset"], 10);
    assert_eq!(running.broker.metrics().recoveries_lost_total, 4);
}

#[tokio::test]
async fn last_applies_where_recovery_fails() {
    let running = keeping(messages(5));
    let position = publish(&running, "t", 1..=9).await;
    let request = |since: Value, last: u64| json!({"type": "subscribe", "topic": "t", "since": since, "last": last});
    let old = json!({"epoch": "old", "offset": 3});
    let mut client = running.client(Codec::Json).await;
    let reply = client.ok(request(old.clone(), 99)).await;
    assert_eq!((&reply["recovered"], &reply["position"]), (&json!(false), &position));
    assert_eq!(client.push().await, json!({"type": "gap", "topic": "t", "from": 1, "to": 4, "reason": "reset"}));
    assert_eq!(offsets(&mut client, 5).await, [5, 6, 7, 8, 9]);
    let mut client = running.client(Codec::MessagePack).await;
    let reply = client.ok(request(json!({"epoch": position["epoch"], "offset": 7}), 5)).await;
    assert_eq!(reply["recovered"], json!(true));
    assert_eq!(offsets(&mut client, 2).await, [8, 9], "`last` does not apply where recovery succeeds");
    let mut client = running.client(Codec::Json).await;
    let reply = client.ok(json!({"type": "subscribe", "topic": "t", "last": 2})).await;
    assert_eq!((reply.get("recovered"), &reply["more"]), (None, &json!(false)), "{reply}");
    publish(&running, "t", 10..=10).await;
    assert_eq!(offsets(&mut client, 3).await, [8, 9, 10]);
}

#[tokio::test]
async fn a_topic_that_is_loaded_again_continues_at_its_position() {
    let running = keeping(messages(5));
    let position = publish(&running, "t", 1..=3).await;
    eventually("the topic is removed", || running.broker.metrics().topics == 0).await;
    let mut client = running.client(Codec::Json).await;
    let reply = since(&mut client, &position["epoch"], 1).await;
    assert_eq!((&reply["recovered"], &reply["position"]), (&json!(true), &position));
    assert_eq!(offsets(&mut client, 2).await, [2, 3]);
    client.close().await;
    running.becomes_empty().await;
    eventually("the topic is removed again", || running.broker.metrics().topics == 0).await;
}

#[tokio::test]
async fn messages_over_the_age_limit_are_removed() {
    let clock = ManualClock::new(1_800_000_000_000);
    let running = keeping_by(History { age_ms: 50, ..messages(100) }, &clock);
    publish(&running, "t", 1..=2).await;
    clock.advance(Duration::from_millis(30));
    let position = publish(&running, "t", 3..=3).await;
    let kept = || {
        let past = running.broker.history("t", None, None).unwrap();
        (past.messages.len(), past.position.offset)
    };
    assert_eq!(kept(), (3, 3));
    clock.advance(Duration::from_millis(20));
    assert_eq!(kept(), (3, 3), "as old as allowed");
    clock.advance(Duration::from_millis(1));
    eventually("two are over the age limit", || kept() == (1, 3)).await;
    clock.advance(Duration::from_millis(30));
    eventually("all are over the age limit", || kept() == (0, 3)).await;
    let mut client = running.client(Codec::Json).await;
    assert_eq!(since(&mut client, &position["epoch"], 1).await["recovered"], json!(false));
    assert_eq!(client.push().await["reason"], "expired");
    assert_eq!(
        since(&mut client, &position["epoch"], 3).await["recovered"],
        json!(true),
        "its position is still valid"
    );
}

#[tokio::test]
async fn in_a_bulk_missed_messages_follow_the_reply() {
    let running = keeping(messages(5));
    let a = publish(&running, "a", 1..=3).await;
    let b = publish(&running, "b", 1..=9).await;
    let mut client = running.client(Codec::Json).await;
    let topics = json!([
        {"topic": "a", "since": {"epoch": a["epoch"], "offset": 1}},
        {"topic": "b", "since": {"epoch": b["epoch"], "offset": 1}},
        {"topic": "c", "last": 5},
        {"topic": "bad..name"},
    ]);
    client.send(&json!({"type": "subscribe", "id": 77, "topics": topics})).await;
    // In the order of the wire: no missed message is sent before the reply.
    let mut frames = Vec::new();
    while frames.len() < 4 {
        frames.extend({
            client.ping().await;
            client.take_all()
        });
    }
    let place = |kind: &str| frames.iter().position(|frame| frame["type"] == kind).unwrap();
    let reply = &frames[place("ok")];
    let item = |index: usize| &reply["topics"][index];
    assert_eq!((&item(0)["recovered"], &item(1)["recovered"]), (&json!(true), &json!(false)), "{reply}");
    assert_eq!((&item(2)["more"], &item(3)["error"]["code"]), (&json!(false), &json!("bad_request")));
    let of_a: Vec<u64> =
        frames.iter().filter(|frame| frame["topic"] == "a").map(|frame| frame["offset"].as_u64().unwrap()).collect();
    assert_eq!(of_a, [2, 3]);
    assert_eq!((&frames[place("gap")]["topic"], &frames[place("gap")]["to"]), (&json!("b"), &json!(9)));
}

#[tokio::test]
async fn resubscribing_with_a_position_restarts_the_replay() {
    let running = keeping(messages(100));
    let mut client = running.client(Codec::Json).await;
    client.subscribe("t").await;
    let position = publish(&running, "t", 1..=5).await;
    assert_eq!(offsets(&mut client, 5).await, [1, 2, 3, 4, 5]);
    for _ in 0..3 {
        since(&mut client, &position["epoch"], 2).await;
        assert_eq!(offsets(&mut client, 3).await, [3, 4, 5]);
    }
    assert_eq!(running.broker.topic("t").unwrap().subscribers, 1);
    let reply = client.ok(json!({"type": "subscribe", "topic": "t", "delivery": "drop_oldest"})).await;
    assert!(reply.get("recovered").is_none() && reply.get("more").is_none(), "an update sends nothing again");
    publish(&running, "t", 6..=6).await;
    assert_eq!(offsets(&mut client, 1).await, [6]);
    client.close().await;
    running.becomes_empty().await;
    assert_eq!(running.broker.topic("t").map_or(0, |topic| topic.subscribers), 0);
}

#[tokio::test]
async fn unsubscribing_before_a_bulk_is_answered_unsubscribes() {
    let running = keeping(messages(5));
    let position = publish(&running, "a", 1..=3).await;
    let mut client = running.client(Codec::Json).await;
    let topics = json!([{"topic": "a", "since": {"epoch": position["epoch"], "offset": 1}}, {"topic": "b"}]);
    let subscribing = client.ask(json!({"type": "subscribe", "topics": topics})).await;
    let leaving = client.ask(json!({"type": "unsubscribe", "topic": "a"})).await;
    client.reply(subscribing).await;
    client.reply(leaving).await;
    client.take_all();
    publish(&running, "a", 4..=4).await;
    publish(&running, "b", 1..=1).await;
    assert_eq!(client.message().await["topic"], "b");
    assert_eq!(running.broker.topic("a").unwrap().subscribers, 0);
}

/// Sends requests so that they arrive together, and returns all frames until each is answered.
async fn together(raw: &mut Raw, requests: &[Value]) -> Vec<Value> {
    let frame = |request: &Value| masked(FIN | TEXT, &encode(Codec::Json, request));
    raw.send(&requests.iter().flat_map(frame).collect::<Vec<u8>>()).await;
    let mut received = Vec::new();
    while received.iter().filter(|frame: &&Value| frame.get("id").is_some()).count() < requests.len() {
        received.push(raw.frame_value().await);
    }
    received
}

#[tokio::test]
async fn messages_after_the_reply_are_not_in_its_gap() {
    let running = Running::start();
    let position = publish(&running, "t", 1..=5).await;
    let mut raw = running.raw(Codec::Json).await;
    let since = json!({"epoch": position["epoch"], "offset": 2});
    let subscribe = |id: u64| json!({"type": "subscribe", "id": id, "topic": "t", "since": since});
    let message = |id: u64| json!({"type": "publish", "id": id, "topic": "t", "data": id});
    for (first, head) in [(1, 5), (3, 6)] {
        let mut received = together(&mut raw, &[subscribe(first), message(first + 1)]).await;
        while !received.iter().any(|frame| frame["type"] == "message" || frame["to"] == head + 1) {
            received.push(raw.frame_value().await);
        }
        received.retain(|frame| frame["id"] != first + 1);
        assert_eq!(
            (&received[0]["id"], &received[0]["position"]["offset"]),
            (&json!(first), &json!(head)),
            "{received:?}"
        );
        assert_eq!(received[1], json!({"type": "gap", "topic": "t", "from": 3, "to": head, "reason": "expired"}));
        assert_eq!(
            (&received[2]["type"], &received[2]["offset"]),
            (&json!("message"), &json!(head + 1)),
            "{received:?}"
        );
    }
    drop(raw);
    running.becomes_empty().await;
    assert_eq!(running.broker.topic("t").unwrap().subscribers, 0);
}
