//! Slow consumers: readers that read slowly, reset in the middle of a frame, or are sent more than their outbox takes.

use std::time::Duration;

use rialto::{Codec, Payload};
use serde_json::json;

use crate::delivery::reader::{Reader, fill, publish};
use crate::support::{Running, eventually};

#[tokio::test]
async fn a_slow_consumer_is_served_by_its_delivery_policy() {
    let running = Running::with(|config| {
        config.limits.outbox_bytes = 100_000;
        // The one that is closed reads on when all others have been served.
        config.limits.close_ms = 60_000;
    });
    let mut dripping = Vec::new();
    for (index, delivery) in
        [json!("drop_oldest"), json!("latest"), json!({"policy": "latest_by", "field": "/key"}), json!("queue")]
            .into_iter()
            .enumerate()
    {
        let mut reader = Reader::narrow(&running, Codec::ALL[index % 2]).await;
        reader.subscribe("t", delivery).await;
        dripping.push(reader);
    }
    let mut healthy = Reader::wide(&running, Codec::Json).await;
    healthy.subscribe("t", json!("queue")).await;
    let mut last = 0;
    for _ in 0..300 {
        last = publish(&running, "t", 100, 200).await;
        healthy.reads_to("t", last).await;
        for reader in &mut dripping {
            reader.raw.drip(1).await;
        }
    }
    let queue = &mut dripping.pop().unwrap();
    queue.reads_to_the_end().await;
    assert_eq!((queue.closed, queue.account("t").skipped()), (Some(4000), 0));
    for reader in &mut dripping {
        reader.reads_to("t", last).await;
        assert!(reader.account("t").skipped() > 0);
    }
    assert_eq!(healthy.account("t").gaps, []);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_system_buffers_little_for_a_slow_consumer() {
    let running = Running::with(|config| config.limits.unsent_bytes = 16_384);
    let mut reader = Reader::narrow(&running, Codec::Json).await;
    reader.subscribe("t", json!("latest")).await;
    let mut last = 0;
    for _ in 0..300 {
        last = publish(&running, "t", 1, 1_000).await;
        // One at a time, as in a feed.
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    reader.reads_to("t", last).await;
    let account = reader.account("t");
    assert!(account.skipped() > 150, "{:?}: without a bound the system would have taken all of it", account.gaps);
    assert_eq!(account.delivered.last(), Some(&last));
}

#[tokio::test]
async fn a_reset_within_a_frame_releases_everything() {
    let running = Running::start();
    for delivery in [json!("queue"), json!("latest"), json!({"policy": "sample", "every_ms": 3_600_000})] {
        let mut readers = Vec::new();
        for codec in Codec::ALL {
            let mut reader = Reader::narrow(&running, codec).await;
            reader.subscribe("t", json!("latest")).await;
            reader.subscribe("u", delivery.clone()).await;
            readers.push(reader);
        }
        fill(&running, "t").await;
        publish(&running, "u", 10, 1_000).await;
        assert!(running.broker.metrics().outbox_bytes > 0);
        readers.into_iter().for_each(|reader| reader.raw.reset());
        running.becomes_empty().await;
        assert_eq!(running.broker.metrics().outbox_bytes, 0);
    }
}

#[tokio::test]
async fn a_message_larger_than_an_outbox_is_skipped_or_closes() {
    // Opaque bytes grow by a third in JSON, so a message that may be published may not fit into an outbox.
    let running = Running::with(|config| {
        config.limits.outbox_bytes = 65_536;
        config.limits.write_ms = 60_000;
    });
    let large = || running.broker.publish("t", Payload::bytes(vec![7; 65_000]));
    let mut wide = Reader::wide(&running, Codec::Json).await;
    wide.subscribe("t", json!("queue")).await;
    let mut latest = Reader::narrow(&running, Codec::Json).await;
    latest.subscribe("t", json!("latest")).await;
    let mut queue = Reader::narrow(&running, Codec::Json).await;
    queue.subscribe("t", json!("queue")).await;
    let mut last = 0;
    for _ in 0..200 {
        last = large().await.unwrap().unwrap().offset;
        wide.reads_to("t", last).await;
    }
    assert_eq!(wide.account("t").gaps, []);
    eventually("the queue overflows", || running.broker.metrics().sessions_slow_total == 1).await;
    queue.reads_to_the_end().await;
    assert_eq!((queue.closed, queue.account("t").skipped()), (Some(4000), 0));
    latest.reads_to("t", last).await;
    assert!(latest.account("t").skipped() > 0);
    // Back to normal once it reads.
    let next = publish(&running, "t", 5, 100).await;
    latest.reads_to("t", next).await;
    assert!(latest.account("t").delivered.ends_with(&[next - 4, next - 3, next - 2, next - 1, next]));
}

#[tokio::test]
async fn a_session_without_write_progress_is_dropped_under_every_policy() {
    let running = Running::with(|config| config.limits.write_ms = 200);
    let mut reader = Reader::narrow(&running, Codec::Json).await;
    reader.subscribe("t", json!("latest")).await;
    fill(&running, "t").await;
    running.becomes_empty().await;
    reader.reads_to_the_end().await;
    assert_eq!(reader.account("t").gaps, []);
}
