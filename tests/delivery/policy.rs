//! What each policy keeps for a session that stops reading, and the gaps that it reports.

use std::time::{Duration, Instant};

use rialto::{Codec, Policy};
use serde_json::{Value, json};

use crate::delivery::reader::{Reader, fill, publish};
use crate::support::{Running, eventually};

const OUTBOX_BYTES: usize = 100_000;

fn running() -> Running {
    Running::with(|config| {
        config.server.shards = 1;
        config.limits.outbox_bytes = OUTBOX_BYTES;
        config.limits.write_ms = 60_000;
    })
}

/// Subscribes, stops reading, publishes 500 messages of 1,000 bytes while the socket is full, and reads on. Returns the
/// reader and the last offset.
async fn stalled(running: &Running, codec: Codec, delivery: Value) -> (Reader, u64) {
    let mut reader = Reader::narrow(running, codec).await;
    reader.subscribe("t", delivery).await;
    fill(running, "t").await;
    let last = publish(running, "t", 500, 1_000).await;
    // When this is answered the shard has handled everything before it.
    running.client(codec).await.ping().await;
    reader.reads_to("t", last).await;
    assert_eq!(reader.account("t").delivered.len() as u64 + reader.account("t").skipped(), last);
    (reader, last)
}

/// The policies count what they skip, by topic and all together.
fn assert_counted(running: &Running, reader: &Reader, policy: Policy) {
    let skipped = reader.account("t").skipped();
    let mut expected = [0; 5];
    expected[policy.index()] = skipped;
    assert_eq!(running.broker.topic("t").unwrap().skipped, expected);
    let counted = running.broker.metrics();
    assert_eq!(
        [
            counted.messages_skipped_drop_oldest_total,
            counted.messages_skipped_latest_by_total,
            counted.messages_skipped_latest_total,
            counted.messages_skipped_sample_total,
        ],
        expected[1..],
    );
    assert_eq!(counted.messages_delivered_total, reader.account("t").delivered.len() as u64);
}

#[tokio::test]
async fn latest_keeps_one_message() {
    for codec in Codec::ALL {
        let running = running();
        let (reader, last) = stalled(&running, codec, json!("latest")).await;
        let account = reader.account("t");
        let [(from, to, reason)] = &account.gaps[..] else { panic!("{:?}", account.gaps) };
        assert_eq!((*to, reason.as_str()), (last - 1, "conflated"));
        assert!(last - from >= 500);
        assert_eq!(account.delivered.last(), Some(&last));
        assert_counted(&running, &reader, Policy::Latest);
    }
}

#[tokio::test]
async fn latest_by_keeps_one_message_for_each_value_of_the_field() {
    for codec in Codec::ALL {
        let running = running();
        let delivery = json!({"policy": "latest_by", "field": "/key"});
        let (reader, last) = stalled(&running, codec, delivery).await;
        let account = reader.account("t");
        let [(_, to, reason)] = &account.gaps[..] else { panic!("{:?}", account.gaps) };
        assert_eq!((*to, reason.as_str()), (last - 10, "conflated"));
        assert_counted(&running, &reader, Policy::LatestBy);
    }
}

#[tokio::test]
async fn drop_oldest_keeps_what_fits_into_the_outbox() {
    for codec in Codec::ALL {
        let running = running();
        let (reader, last) = stalled(&running, codec, json!("drop_oldest")).await;
        let account = reader.account("t");
        let [(_, to, reason)] = &account.gaps[..] else { panic!("{:?}", account.gaps) };
        assert_eq!(reason, "slow");
        let kept = (last - to) as usize;
        assert!((60..200).contains(&kept), "{kept} messages of a little more than 1,000 bytes in {OUTBOX_BYTES}");
        assert_counted(&running, &reader, Policy::DropOldest);
    }
}

#[tokio::test]
async fn queue_keeps_everything_or_closes() {
    for codec in Codec::ALL {
        let running = running();
        let mut reader = Reader::narrow(&running, codec).await;
        reader.subscribe("t", json!("queue")).await;
        fill(&running, "t").await;
        let last = publish(&running, "t", 500, 1_000).await;
        eventually("the session is slow", || running.broker.metrics().sessions_slow_total == 1).await;
        reader.reads_to_the_end().await;
        let account = reader.account("t");
        assert_eq!((reader.closed, account.skipped()), (Some(4000), 0));
        assert!(account.last < last - 400);
        running.becomes_empty().await;
        assert_eq!(running.broker.metrics().outbox_bytes, 0);
    }
}

#[tokio::test]
async fn sample_sends_the_latest_message_at_an_interval() {
    for codec in Codec::ALL {
        let running = running();
        let mut reader = Reader::wide(&running, codec).await;
        reader.subscribe("t", json!({"policy": "sample", "every_ms": 100})).await;
        let started = Instant::now();
        let mut last = publish(&running, "t", 5, 100).await;
        reader.step().await;
        while started.elapsed() < Duration::from_millis(450) {
            last = publish(&running, "t", 5, 100).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        reader.reads_to("t", last).await;
        let most = started.elapsed().as_millis() / 100 + 1;
        let account = reader.account("t").clone();
        assert!((2..=most as usize).contains(&account.delivered.len()), "{:?} in {most}", account.delivered);
        assert!(account.delivered.first().is_some_and(|first| *first <= 5), "the first one is sent at once");
        assert_eq!(account.delivered.last(), Some(&last));
        assert!(account.gaps.iter().all(|(_, _, reason)| reason == "conflated"));
        assert_counted(&running, &reader, Policy::Sample);
        // After a pause the next one is sent at once, and alone it needs no gap.
        let last = publish(&running, "t", 1, 100).await;
        reader.reads_to("t", last).await;
        assert_eq!(reader.account("t").gaps, account.gaps);
    }
}

#[tokio::test]
async fn sample_of_a_session_that_does_not_read_keeps_one_message() {
    for codec in Codec::ALL {
        let running = running();
        let mut reader = Reader::narrow(&running, codec).await;
        reader.subscribe("t", json!({"policy": "sample", "every_ms": 1})).await;
        let mut last = 0;
        while running.broker.metrics().outbox_bytes < 4_000 {
            last = publish(&running, "t", 1, 4_000).await;
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        let held = running.broker.metrics().outbox_bytes;
        for _ in 0..50 {
            last = publish(&running, "t", 5, 1_000).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(running.broker.metrics().outbox_bytes <= held + 8_000);
        reader.reads_to("t", last).await;
        assert_eq!(reader.account("t").delivered.last(), Some(&last));
        assert_counted(&running, &reader, Policy::Sample);
    }
}

#[tokio::test]
async fn a_session_that_keeps_up_receives_everything_under_every_policy() {
    let running = running();
    for (codec, delivery) in Codec::ALL.into_iter().flat_map(|codec| {
        [json!("drop_oldest"), json!("latest"), json!({"policy": "latest_by", "field": "/key"})]
            .map(|delivery| (codec, delivery))
    }) {
        let mut reader = Reader::wide(&running, codec).await;
        reader.subscribe("t", delivery).await;
        for _ in 0..20 {
            let last = publish(&running, "t", 50, 100).await;
            reader.reads_to("t", last).await;
        }
        assert_eq!(reader.account("t").gaps, []);
    }
}
