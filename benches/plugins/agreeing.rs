//! The time of a publish that a plugin accepts unchanged, while its mailbox is never empty.

use std::time::{Duration, Instant};

use agree::Agree;
use rialto::{Broker, Payload};
use serde_json::json;

use super::{Kind, start};

/// Concurrent publishes: enough that the plugin's thread never waits, few enough that its mailbox is never full.
const PUBLISHERS: usize = 256;

/// A topic of the plugin that accepts everything.
pub(crate) const AGREE: &str = "agree.a";

/// A broker with that plugin.
pub(crate) fn agreeing_broker(kind: Kind) -> Broker {
    start(kind, "agree", "benches/agree/agree.wasm", || Agree).1
}

/// Microseconds for each of about so many messages, from the first publish to the last position.
pub(crate) fn agreeing_micros(kind: Kind, messages: usize) -> f64 {
    let broker = agreeing_broker(kind);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let payload = Payload::json(&json!({"text": "x".repeat(100)})).expect("a payload");
    let each = messages.div_ceil(PUBLISHERS);
    // One part in ten warms up.
    let mut taken = Duration::ZERO;
    for each in [each.div_ceil(10), each] {
        let started = Instant::now();
        runtime.block_on(async {
            let publishers: Vec<_> = (0..PUBLISHERS)
                .map(|_| {
                    let (broker, payload) = (broker.clone(), payload.clone());
                    tokio::spawn(async move {
                        for _ in 0..each {
                            let position = broker.publish(AGREE, payload.clone()).await;
                            assert!(position.expect("the plugin accepts it").is_some());
                        }
                    })
                })
                .collect();
            for publisher in publishers {
                publisher.await.expect("every message was accepted");
            }
        });
        taken = started.elapsed();
    }
    assert_eq!(broker.metrics().plugin_failures_total, 0);
    runtime.block_on(broker.shutdown(Duration::ZERO));
    taken.as_secs_f64() * 1e6 / (each * PUBLISHERS) as f64
}
