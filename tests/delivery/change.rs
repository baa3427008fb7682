//! Subscriptions that change or end while their session is behind: the backlog is sent before the reply.

use std::time::Duration;

use proptest::prelude::*;
use rialto::Codec;
use serde_json::{Value, json};

use crate::delivery::reader::{Reader, fill, publish};
use crate::support::{Running, eventually};

const POLICIES: [&str; 5] = [
    r#""queue""#,
    r#""drop_oldest""#,
    r#""latest""#,
    r#"{"policy":"latest_by","field":"/key"}"#,
    r#"{"policy":"sample","every_ms":5}"#,
];

fn policy(index: usize) -> Value {
    serde_json::from_str(POLICIES[index % POLICIES.len()]).unwrap()
}

#[tokio::test]
async fn a_policy_changes_at_the_position_of_the_reply() {
    for codec in Codec::ALL {
        for (before, after) in (1..5).flat_map(|before| (0..5).map(move |after| (before, after))) {
            let running = Running::start();
            let mut reader = Reader::narrow(&running, codec).await;
            reader.subscribe("t", policy(before)).await;
            reader.subscribe("fill", policy(1)).await;
            fill(&running, "fill").await;
            publish(&running, "t", 50, 1_000).await;
            let mut request = json!({"type": "subscribe", "topic": "t", "delivery": policy(after)});
            let id = reader.ask(&mut request).await;
            // The session is still behind; the request may also arrive first.
            tokio::time::sleep(Duration::from_millis(5)).await;
            let last = publish(&running, "t", 50, 1_000).await;
            let answer = reader.answer(id).await;
            assert_eq!(reader.account("t").last, answer["position"]["offset"].as_u64().unwrap(), "{before} {after}");
            reader.reads_to("t", last).await;
        }
    }
}

#[tokio::test]
async fn unsubscribing_sends_the_backlog_and_nothing_more() {
    for codec in Codec::ALL {
        for index in 0..5 {
            let running = Running::start();
            let mut reader = Reader::narrow(&running, codec).await;
            reader.subscribe("t", policy(index)).await;
            reader.subscribe("other", policy(index)).await;
            reader.subscribe("fill", policy(1)).await;
            fill(&running, "fill").await;
            let before = publish(&running, "t", 20, 1_000).await;
            let id = reader.ask(&mut json!({"type": "unsubscribe", "topic": "t"})).await;
            eventually("the subscription has ended", || running.broker.metrics().subscriptions == 2).await;
            publish(&running, "t", 20, 1_000).await;
            let other = publish(&running, "other", 20, 1_000).await;
            reader.answer(id).await;
            assert_eq!(reader.account("t").last, before, "{index}");
            reader.reads_to("other", other).await;
            assert_eq!(reader.account("t").last, before, "{index}");
        }
    }
}

#[tokio::test]
async fn a_stopping_broker_sends_the_backlog() {
    for index in 0..5 {
        let mut running = Running::start();
        let mut reader = Reader::narrow(&running, Codec::Json).await;
        reader.subscribe("t", policy(index)).await;
        reader.subscribe("fill", policy(1)).await;
        fill(&running, "fill").await;
        let last = publish(&running, "t", 20, 1_000).await;
        running.begin_stop();
        reader.reads_to_the_end().await;
        assert_eq!((reader.account("t").last, reader.closed), (last, Some(1001)), "{index}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random subscriptions, publishes and pauses in reading: every offset is delivered or reported.
    #[test]
    fn every_offset_is_delivered_or_reported_as_a_gap(
        sessions in prop::collection::vec((any::<bool>(), prop::collection::vec(0..5_usize, 3)), 1..5),
        steps in prop::collection::vec((0..8_u8, 0..8_usize, 1..60_u64, 10..6_000_usize), 10..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let running = Running::with(|config| {
                config.limits.outbox_bytes = 16 << 20;
                config.limits.outboxes_bytes = 64 << 20;
                // The readers are read one after the other. Where a window was closed, the kernel may send no more than what
                // fits one of these small buffers every 200 ms, so the last one waits longer than others may.
                config.limits.write_ms = 120_000;
            });
            let topics = ["a", "b", "c"];
            let mut last = [0; 3];
            let mut readers = Vec::new();
            for (json, policies) in sessions {
                let mut reader = Reader::narrow(&running, if json { Codec::Json } else { Codec::MessagePack }).await;
                for (topic, index) in topics.iter().zip(policies) {
                    reader.subscribe(topic, policy(index)).await;
                }
                readers.push(reader);
            }
            for (step, which, count, bytes) in steps {
                let topic = which % topics.len();
                let reader = which % readers.len();
                match step {
                    0 => readers[reader].subscribe(topics[topic], policy(which)).await,
                    1 => {
                        let to = last[topic];
                        readers[reader].reads_to(topics[topic], to).await;
                    }
                    2 => tokio::time::sleep(Duration::from_millis(which as u64)).await,
                    // A change without waiting for the reply, and every second one has no reply.
                    3 => {
                        let delivery = policy(which);
                        let mut request = json!({"type": "subscribe", "topic": topics[topic], "delivery": delivery});
                        if count % 2 == 0 {
                            readers[reader].ask(&mut request).await;
                        } else {
                            readers[reader].raw.request(&request).await;
                        }
                    }
                    _ => last[topic] = publish(&running, topics[topic], count, bytes).await,
                }
            }
            for reader in &mut readers {
                for (topic, last) in topics.iter().zip(last) {
                    reader.reads_to(topic, last).await;
                }
            }
        });
    }
}
