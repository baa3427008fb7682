//! The budget of all outboxes of all shards: the bytes that they hold, and which shard has the largest. It sheds nothing
//! itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;

use crate::metrics::Metrics;

/// The budget, shared by the shards of one hub.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_max: AtomicUsize,
    metrics: Arc<Metrics>,
    shards: Box<[ShardBudget]>,
}

/// What the budget knows of one shard.
#[derive(Debug, Default)]
struct ShardBudget {
    /// An upper bound of the bytes of its largest outbox: raised at once, lowered when the shard sheds.
    largest: AtomicUsize,
    shed_requested: Notify,
}

impl Budget {
    pub(super) fn new(bytes_max: usize, shards: usize, metrics: Arc<Metrics>) -> Self {
        let bytes_max = AtomicUsize::new(bytes_max);
        Self { bytes_max, metrics, shards: (0..shards).map(|_| ShardBudget::default()).collect() }
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
        self.metrics.outbox_bytes.get() > self.bytes_max.load(Relaxed) as u64
    }

    pub(super) fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Relaxed);
    }

    /// Sets the size of a shard's largest outbox.
    pub(super) fn set_largest(&self, shard: usize, bytes: usize) {
        self.shards[shard].largest.store(bytes, Relaxed);
    }

    /// Requests the shard with the largest outbox to shed, unless that is `own`. Returns whether it is.
    pub(super) fn is_largest_or_request(&self, own: usize) -> bool {
        let largest = |shard: usize| self.shards[shard].largest.load(Relaxed);
        let first = (0..self.shards.len()).max_by_key(|shard| (largest(*shard), *shard == own)).unwrap_or(own);
        if first != own {
            self.shards[first].shed_requested.notify_one();
        }
        first == own
    }

    /// Waits until another shard requests this one to shed.
    pub(super) async fn shed_requested(&self, shard: usize) {
        self.shards[shard].shed_requested.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_with_the_largest_outbox_sheds() {
        let budget = Budget::new(100, 3, Arc::default());
        for (shard, bytes) in [(0, 40), (1, 50), (2, 20)] {
            budget.count(bytes + 7, 7);
            budget.set_largest(shard, bytes);
        }
        assert!(budget.is_exceeded());
        assert!(!budget.is_largest_or_request(0));
        assert!(budget.is_largest_or_request(1));
        budget.set_largest(0, 50);
        assert!(budget.is_largest_or_request(0) && budget.is_largest_or_request(1), "equal shards may both shed");
        budget.count(5, 15);
        assert!(!budget.is_exceeded());
    }
}
