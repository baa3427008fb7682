//! Patterns that come and go while messages are published: from the `ok` on nothing is missing, nothing comes twice, and
//! behind the `ok` of the end nothing comes at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use rialto::{Broker, Codec, Payload};
use serde_json::json;

use crate::patterns::subscriber::Subscriber;
use crate::support::Running;

const TOPICS: [&str; 4] = ["a.x", "a.y", "b.x", "b.y"];
const ROUNDS: u64 = 60;

/// Publishes to all topics, on a thread of its own, until it is stopped.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Flood {
    fn start(broker: Broker) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let payload = Payload::json(&"flood").unwrap();
                while !stopped.load(Relaxed) {
                    for topic in TOPICS {
                        broker.publish(topic, payload.clone()).await.unwrap();
                    }
                    // So that clients that look at every message come along.
                    std::thread::sleep(std::time::Duration::from_micros(300));
                }
            });
        });
        Self { stop, thread }
    }

    fn end(self) {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap();
    }
}

/// A small generator, so that a seed repeats the choices of one session.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Subscribes to a few names, publishes to a topic that they select, ends them; time and again.
async fn come_and_go(running: &Running, codec: Codec, seed: u64) {
    let mut choices = Choices(seed);
    let names = ["a.x", "a.*", "*.x", "a.>", ">", "*.*"];
    let mut session = Subscriber::of(running, codec, &[]).await;
    for round in 0..ROUNDS {
        let mut held: Vec<&str> = names.into_iter().filter(|_| choices.below(2) == 0).collect();
        if held.is_empty() {
            held.push("a.*");
        }
        for name in &held {
            session.subscribe(name).await;
        }
        let echo = choices.below(3) > 0;
        let request = json!({"type": "publish", "topic": "a.x", "data": round, "echo": echo});
        let own = session.ok(request).await["position"]["offset"].as_u64().unwrap();
        for name in &held {
            session.unsubscribe(name).await;
        }
        let what = format!("seed {seed}, round {round}, {held:?}, echo {echo}, its own at {own}");
        let mut offsets = BTreeMap::<String, Vec<u64>>::new();
        for (topic, offset, _) in session.arrived().await {
            offsets.entry(topic).or_default().push(offset);
        }
        let of_own = offsets.get("a.x").cloned().unwrap_or_default();
        assert_eq!(of_own.contains(&own), echo, "{what}: {of_own:?}");
        for (topic, offsets) in offsets {
            for pair in offsets.windows(2) {
                let next = pair[0] + 1;
                let left_out = topic == "a.x" && !echo && next == own;
                assert_eq!(pair[1], if left_out { next + 1 } else { next }, "{what}: {topic} {offsets:?}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_missing_and_nothing_doubled_while_patterns_come_and_go() {
    let running = Running::with(|config| config.limits.outbox_bytes = 64 << 20);
    let flood = Flood::start(running.broker.clone());
    let sessions = [Codec::Json, Codec::Json, Codec::MessagePack, Codec::MessagePack].into_iter().zip(1..);
    let all = sessions.map(|(codec, seed)| come_and_go(&running, codec, seed));
    futures_util::future::join_all(all).await;
    flood.end();
    running.becomes_empty().await;
    assert_eq!(running.broker.metrics().patterns, 0);
}
