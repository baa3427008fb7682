//! Replays of many pages: they are sent as the session reads, join live messages without a gap, and end with the session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rialto::config::History;
use rialto::{Codec, Payload};
use serde_json::json;

use super::{keeping, messages};
use crate::support::{Client, Running, eventually};

const MANY: u64 = 2_000;

async fn publish(running: &Running, count: u64, bytes: usize) -> String {
    let mut epoch = String::new();
    for number in 0..count {
        let payload = Payload::json(&json!([number, "x".repeat(bytes)])).unwrap();
        epoch = running.broker.publish("t", payload).await.unwrap().unwrap().epoch.to_string();
    }
    epoch
}

/// Reads messages up to an offset; each must follow the previous one, or a gap. Returns the gaps.
async fn read_to(client: &mut Client, mut at: u64, last: u64) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
    while at < last {
        let push = client.push().await;
        if push["type"] == "gap" {
            let (from, to) = (push["from"].as_u64().unwrap(), push["to"].as_u64().unwrap());
            assert_eq!((from, &push["reason"]), (at + 1, &json!("expired")), "{push}");
            gaps.push((from, to));
            at = to;
        } else {
            assert_eq!((&push["type"], &push["offset"]), (&json!("message"), &json!(at + 1)));
            at += 1;
        }
    }
    gaps
}

#[tokio::test]
async fn pages_join_live_messages_without_a_gap() {
    for codec in Codec::ALL {
        let running = keeping(History { bytes: 100_000_000, ..messages(1_000_000) });
        let epoch = publish(&running, MANY, 100).await;
        let goes_on = Arc::new(AtomicBool::new(true));
        let publishing = {
            let (broker, goes_on) = (running.broker.clone(), Arc::clone(&goes_on));
            tokio::spawn(async move {
                let mut last = 0;
                while goes_on.load(Relaxed) {
                    let payload = Payload::json(&"live").unwrap();
                    last = broker.publish("t", payload).await.unwrap().unwrap().offset;
                    tokio::task::yield_now().await;
                }
                last
            })
        };
        for at in [0, 1_000, 1_999] {
            let mut client = running.client(codec).await;
            let since = json!({"epoch": epoch, "offset": at});
            let reply = client.ok(json!({"type": "subscribe", "topic": "t", "since": since})).await;
            assert_eq!(reply["recovered"], json!(true), "{reply}");
            assert!(read_to(&mut client, at, MANY + 300).await.is_empty());
            client.close().await;
        }
        goes_on.store(false, Relaxed);
        assert!(publishing.await.unwrap() > MANY + 300);
        running.becomes_empty().await;
    }
}

#[tokio::test]
async fn more_is_set_if_there_is_more_than_a_page() {
    let running = keeping(messages(1_000));
    let epoch = publish(&running, 1_000, 10).await;
    for (offset, more) in [(0, true), (699, true), (700, false), (1_000, false)] {
        let mut client = running.client(Codec::Json).await;
        let since = json!({"epoch": epoch, "offset": offset});
        let reply = client.ok(json!({"type": "subscribe", "topic": "t", "since": since})).await;
        assert_eq!(reply["more"], json!(more), "{offset}");
        read_to(&mut client, offset, 1_000).await;
    }
}

/// The outbox never holds much more than a page, for any length of history and any speed of the reader; trimmed
/// messages are reported as a gap, and the session is not closed as a slow consumer.
#[tokio::test]
async fn a_slow_consumer_is_sent_pages_as_it_reads_and_gaps_for_trimmed_messages() {
    let running = Running::with(|config| {
        config.server.shards = 1;
        config.topics[0].history = Some(History { bytes: 100_000_000, ..messages(2_000) });
        config.limits.outbox_bytes = 400_000;
        config.limits.write_ms = 60_000;
    });
    let epoch = publish(&running, MANY, 10_000).await;
    let raw = tokio::net::TcpSocket::new_v4().unwrap();
    raw.set_recv_buffer_size(8_192).unwrap();
    let stream = raw.connect(running.address).await.unwrap();
    let mut client = Client::upgraded(stream, &format!("ws://{}/ws", running.address), Codec::Json).await;
    let since = json!({"epoch": epoch, "offset": 0});
    client.ask(json!({"type": "subscribe", "topic": "t", "since": since})).await;
    eventually("a page is queued", || running.broker.metrics().outbox_bytes > 0).await;
    assert!(running.broker.metrics().outbox_bytes < 200_000);
    // Twice as much as is kept: most of what the reader requested is trimmed.
    let last = 2 * MANY;
    publish(&running, MANY, 10_000).await;
    assert!(running.broker.metrics().outbox_bytes < 200_000, "live messages are not queued in the outbox");
    let gaps = read_to(&mut client, 0, last).await;
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(running.broker.metrics().sessions_slow_total, 0);
    client.close().await;
    running.becomes_empty().await;
}

#[tokio::test]
async fn unsubscribing_during_a_replay_releases_everything() {
    let running = Running::with(|config| {
        config.topics[0].history = Some(History { bytes: 100_000_000, ..messages(10_000) });
        config.limits.topic_idle_ms = 50;
    });
    let epoch = publish(&running, MANY, 10_000).await;
    let request = json!({"type": "subscribe", "topic": "t", "since": {"epoch": epoch, "offset": 0}});
    let mut cut = running.client(Codec::Json).await;
    cut.ask(request.clone()).await;
    drop(cut);
    let mut leaving = running.client(Codec::MessagePack).await;
    leaving.ask(request.clone()).await;
    leaving.ok(json!({"type": "unsubscribe", "topic": "t"})).await;
    leaving.take_all();
    running.broker.publish("t", Payload::json(&"later").unwrap()).await.unwrap();
    leaving.ping().await;
    assert!(leaving.take_all().is_empty(), "nothing is sent after the reply");
    let mut again = running.client(Codec::Json).await;
    for _ in 0..10 {
        again.ask(request.clone()).await;
    }
    // The last of them is complete; messages before its reply belong to the others.
    let reply = again.ok(request).await;
    again.take_all();
    assert_eq!(reply["recovered"], json!(true));
    read_to(&mut again, 0, MANY + 1).await;
    eventually("one subscription is left", || running.broker.metrics().subscriptions == 1).await;
    assert_eq!(running.broker.topic("t").unwrap().subscribers, 1);
    again.close().await;
    leaving.close().await;
    running.becomes_empty().await;
    eventually("the topic is removed", || running.broker.metrics().topics == 0).await;
}

#[tokio::test]
async fn a_policy_set_during_a_replay_applies_after_it() {
    let running = keeping(History { bytes: 100_000_000, ..messages(10_000) });
    let epoch = publish(&running, MANY, 1_000).await;
    let mut client = running.client(Codec::Json).await;
    client.ask(json!({"type": "subscribe", "topic": "t", "since": {"epoch": epoch, "offset": 0}})).await;
    let delivery = json!({"policy": "sample", "every_ms": 3_600_000});
    client.ok(json!({"type": "subscribe", "topic": "t", "delivery": delivery})).await;
    read_to(&mut client, 0, MANY).await;
    eventually("it is subscribed", || running.broker.metrics().subscriptions == 1).await;
    publish(&running, 1, 10).await;
    assert_eq!(client.message().await["offset"], MANY + 1, "the first sample is sent at once");
    client.take_all();
    publish(&running, 2, 10).await;
    client.ping().await;
    assert!(client.take_all().is_empty(), "the next sample is an hour away");
    client.close().await;
    running.becomes_empty().await;
}

#[tokio::test]
async fn a_replay_continues_after_the_stream_was_full() {
    for codec in Codec::ALL {
        let running = keeping(messages(1_000));
        publish(&running, 1_000, 20).await;
        for room in [64, 1_024, 16_384] {
            let (near, far) = tokio::io::duplex(room);
            running.serve(near, codec);
            let mut client = Client::over(far, codec).await;
            client.ok(json!({"type": "subscribe", "topic": "t", "last": 700})).await;
            assert_eq!(read_to(&mut client, 300, 1_000).await, []);
        }
    }
}

#[tokio::test]
async fn messages_without_echo_are_not_replayed_to_their_publisher() {
    let running = keeping(messages(100));
    let mut client = running.client(Codec::Json).await;
    client.publish("t", json!(1)).await;
    client.ok(json!({"type": "publish", "topic": "t", "data": 2, "echo": false})).await;
    client.publish("t", json!(3)).await;
    client.ok(json!({"type": "subscribe", "topic": "t", "last": 10})).await;
    assert_eq!((client.message().await["data"].clone(), client.message().await["data"].clone()), (json!(1), json!(3)));
    let mut other = running.client(Codec::Json).await;
    other.ok(json!({"type": "subscribe", "topic": "t", "last": 10})).await;
    for number in 1..=3 {
        assert_eq!(other.message().await["data"], number);
    }
}
