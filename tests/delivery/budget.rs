//! The budget of all outboxes: the largest are shed first, and sessions that read are not affected.

use rialto::Codec;
use serde_json::json;

use crate::delivery::reader::{Reader, publish};
use crate::support::{Running, eventually};

const BUDGET: usize = 2_000_000;
const OUTBOX: usize = 1_000_000;

fn running() -> Running {
    Running::with(|config| {
        config.limits.outbox_bytes = OUTBOX;
        config.limits.outboxes_bytes = BUDGET;
        config.limits.write_ms = 60_000;
    })
}

/// Publishes 1,000-byte messages to a topic until `done`, and checks the budget meanwhile. `healthy` reads them, which
/// limits the publisher to the rate of its shard.
async fn publish_until(
    running: &Running,
    topic: &str,
    slack: u64,
    healthy: &mut [Reader],
    mut done: impl FnMut() -> bool,
) -> u64 {
    for _ in 0..20_000 {
        let last = publish(running, topic, 10, 1_000).await;
        for reader in &mut *healthy {
            reader.reads_to(topic, last).await;
        }
        let held = running.broker.metrics().outbox_bytes;
        assert!(held <= BUDGET as u64 + slack, "{held} bytes are queued");
        if done() {
            return last;
        }
    }
    panic!("200 MB were published in vain: {:?}", running.broker.metrics());
}

#[tokio::test]
async fn backlogs_are_shed_before_sessions_are_closed() {
    let running = running();
    let mut readers = Vec::new();
    for index in 0..6 {
        let mut reader = Reader::narrow(&running, Codec::ALL[index % 2]).await;
        reader.subscribe("t", json!("drop_oldest")).await;
        readers.push(reader);
    }
    let mut healthy = [Reader::wide(&running, Codec::Json).await, Reader::wide(&running, Codec::Json).await];
    for reader in &mut healthy {
        reader.subscribe("t", json!("queue")).await;
    }
    let shed = || running.broker.metrics().outboxes_shed_total > 20;
    publish_until(&running, "t", 100_000, &mut healthy, shed).await;
    let last = publish(&running, "t", 10, 1_000).await;
    for reader in &mut readers {
        reader.reads_to("t", last).await;
        assert!(reader.account("t").gaps.iter().all(|(_, _, reason)| reason == "slow"));
    }
    assert_eq!(running.broker.metrics().sessions_slow_total, 0);
    eventually("nothing is queued", || running.broker.metrics().outbox_bytes == 0).await;
}

#[tokio::test]
async fn the_largest_outbox_of_all_shards_is_shed_first() {
    for turn in 0..2 {
        let running = Running::with(|config| {
            config.limits.outbox_bytes = BUDGET;
            config.limits.outboxes_bytes = BUDGET;
            config.limits.write_ms = 60_000;
        });
        // Sessions are assigned to the two shards in turn, so that each topic has one shard.
        let mut readers = Vec::new();
        for index in 0..4 {
            let topic = if index % 2 == turn { "large" } else { "small" };
            let mut reader = Reader::narrow(&running, Codec::Json).await;
            reader.subscribe(topic, json!("queue")).await;
            readers.push((topic, reader));
        }
        let mut healthy = [Reader::wide(&running, Codec::Json).await, Reader::wide(&running, Codec::Json).await];
        healthy[turn].subscribe("large", json!("queue")).await;
        healthy[1 - turn].subscribe("small", json!("queue")).await;
        for (topic, part, reader) in [("small", 60_000, 1 - turn), ("large", 1_500_000, turn)] {
            // Fills the socket buffers, and then a part of each outbox.
            let before = running.broker.metrics().outbox_bytes;
            let filled = || running.broker.metrics().outbox_bytes >= before + part;
            publish_until(&running, topic, 0, &mut healthy[reader..=reader], filled).await;
        }
        // The small ones grow and are still smaller than the others.
        let shed = || running.broker.metrics().sessions_slow_total == 1;
        // The shard of the large ones learns of it when the system lets it run, and until then the others go on.
        publish_until(&running, "small", 1_000_000, &mut healthy[1 - turn..=1 - turn], shed).await;
        let last = publish(&running, "small", 1, 10).await;
        for (topic, reader) in &mut readers {
            if *topic == "small" {
                reader.reads_to("small", last).await;
                assert_eq!(reader.account("small").gaps, []);
            }
        }
    }
}

#[tokio::test]
async fn a_thousand_stalled_sessions_do_not_affect_others() {
    // Less than 500 full outboxes, and more than a partly written frame for each of 1,000.
    let budget = 20_000_000;
    let running = Running::with(|config| {
        config.limits.outbox_bytes = 100_000;
        config.limits.outboxes_bytes = budget;
        config.limits.write_ms = 60_000;
        config.limits.close_ms = 100;
    });
    let policies = [json!("queue"), json!("drop_oldest"), json!("latest"), json!({"policy": "sample", "every_ms": 10})];
    let mut stalled = Vec::new();
    for index in 0..1_000 {
        let mut reader = Reader::narrow(&running, Codec::ALL[index % 2]).await;
        reader.subscribe("t", policies[index % 4].clone()).await;
        stalled.push(reader);
    }
    let mut healthy = Reader::wide(&running, Codec::Json).await;
    healthy.subscribe("t", json!("queue")).await;
    for _ in 0..600 {
        let last = publish(&running, "t", 10, 4_000).await;
        healthy.reads_to("t", last).await;
        let held = running.broker.metrics().outbox_bytes;
        // One turn adds at most ten messages to each of them before the shard sheds.
        assert!(held <= budget as u64 + 41_000_000, "{held} bytes are queued");
    }
    assert_eq!(healthy.account("t").gaps, []);
    assert!(running.broker.metrics().outboxes_shed_total > 0);
    // Half of those that are left read on and received everything or a gap; the others reset in the middle of a frame.
    let last = publish(&running, "t", 1, 10).await;
    for (index, mut reader) in stalled.into_iter().enumerate() {
        if index % 40 == 1 {
            reader.reads_to("t", last).await;
        } else if index % 40 == 0 {
            reader.reads_to_the_end().await;
            assert_eq!(reader.account("t").gaps, []);
        } else {
            reader.raw.reset();
        }
    }
    healthy.raw.reset();
    running.becomes_empty().await;
    eventually("nothing is queued", || running.broker.metrics().outbox_bytes == 0).await;
}
