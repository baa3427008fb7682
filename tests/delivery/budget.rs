//! The bytes of all outboxes together: the largest give way first, and those that read notice nothing.

use rialto::Codec;
use serde_json::json;

use crate::reader::{Reader, publish};
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

/// Publishes 1,000-byte messages to a topic until `done`, and checks the budget all the while. `healthy` reads them, and so
/// holds the publisher to the pace of its shard.
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
        assert!(held <= BUDGET as u64 + slack, "{held} bytes wait");
        if done() {
            return last;
        }
    }
    panic!("200 MB were published in vain: {:?}", running.broker.metrics());
}

#[tokio::test]
async fn what_policies_may_skip_gives_way_before_sessions_are_closed() {
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
    eventually("nothing waits any more", || running.broker.metrics().outbox_bytes == 0).await;
}

#[tokio::test]
async fn the_largest_outbox_gives_way_first_whichever_shard_has_it() {
    for turn in 0..2 {
        let running = Running::with(|config| {
            config.limits.outbox_bytes = BUDGET;
            config.limits.outboxes_bytes = BUDGET;
            config.limits.write_ms = 60_000;
        });
        // Sessions go to the two shards in turn, so that each topic has a shard of its own.
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
            // Fills the buffers of the sockets, and then a part of each outbox.
            let before = running.broker.metrics().outbox_bytes;
            let filled = || running.broker.metrics().outbox_bytes >= before + part;
            publish_until(&running, topic, 0, &mut healthy[reader..=reader], filled).await;
        }
        // The small ones grow and are still smaller than the others.
        let shed = || running.broker.metrics().sessions_slow_total == 1;
        publish_until(&running, "small", 100_000, &mut healthy[1 - turn..=1 - turn], shed).await;
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
async fn a_thousand_stalled_sessions_hurt_nobody_else() {
    // Less than 500 outboxes take, and more than a begun frame for each of 1,000.
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
        // One turn brings each of them ten messages at most before the shard looks.
        assert!(held <= budget as u64 + 41_000_000, "{held} bytes wait");
    }
    assert_eq!(healthy.account("t").gaps, []);
    assert!(running.broker.metrics().outboxes_shed_total > 0);
    // Half of those that are left read on and can account for everything; the others vanish in the middle of a frame.
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
    eventually("nothing waits any more", || running.broker.metrics().outbox_bytes == 0).await;
}
