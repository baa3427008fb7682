//! How many bytes all outboxes of all shards hold, and which shard has the largest. It sheds nothing itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;

use crate::metrics::Metrics;

/// What is shared by the shards of one hub.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_max: usize,
    metrics: Arc<Metrics>,
    parts: Box<[Part]>,
}

/// One shard's part.
#[derive(Debug, Default)]
struct Part {
    /// The bytes of its largest outbox, or more: it grows at once and shrinks when it is looked at.
    largest: AtomicUsize,
    asked: Notify,
}

impl Budget {
    pub(super) fn new(bytes_max: usize, shards: usize, metrics: Arc<Metrics>) -> Self {
        Self { bytes_max, metrics, parts: (0..shards).map(|_| Part::default()).collect() }
    }

    /// Counts what a shard's outboxes grew or shrank by.
    pub(super) fn count(&self, grown: usize, shrunk: usize) {
        let held = &self.metrics.outbox_bytes;
        if grown > shrunk {
            held.add((grown - shrunk) as u64);
        } else {
            held.subtract((shrunk - grown) as u64);
        }
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.metrics.outbox_bytes.get() > self.bytes_max as u64
    }

    /// Says how large the largest outbox of a shard is.
    pub(super) fn set_largest(&self, shard: usize, bytes: usize) {
        self.parts[shard].largest.store(bytes, Relaxed);
    }

    /// Asks the shard with the largest outbox to shed, unless that is `own`. Gives whether it is.
    pub(super) fn is_largest_or_ask(&self, own: usize) -> bool {
        let largest = |shard: usize| self.parts[shard].largest.load(Relaxed);
        let first = (0..self.parts.len()).max_by_key(|shard| (largest(*shard), *shard == own)).unwrap_or(own);
        if first != own {
            self.parts[first].asked.notify_one();
        }
        first == own
    }

    /// Waits until another shard asks this one to shed.
    pub(super) async fn asked(&self, shard: usize) {
        self.parts[shard].asked.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_with_the_largest_outbox_is_asked() {
        let budget = Budget::new(100, 3, Arc::default());
        for (shard, bytes) in [(0, 40), (1, 50), (2, 20)] {
            budget.count(bytes + 7, 7);
            budget.set_largest(shard, bytes);
        }
        assert!(budget.is_exceeded());
        assert!(!budget.is_largest_or_ask(0));
        assert!(budget.is_largest_or_ask(1));
        budget.set_largest(0, 50);
        assert!(budget.is_largest_or_ask(0) && budget.is_largest_or_ask(1), "of equals each may shed");
        budget.count(5, 15);
        assert!(!budget.is_exceeded());
    }
}
