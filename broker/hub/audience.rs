//! Which shards have subscribers for a topic. It counts; it delivers nothing.

use std::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Acquire};

/// The number of a topic's subscribers on each shard.
#[derive(Debug)]
pub(crate) struct Audience {
    counts: Box<[AtomicU32]>,
}

impl Audience {
    pub(crate) fn new(shards: usize) -> Self {
        Self { counts: (0..shards).map(|_| AtomicU32::new(0)).collect() }
    }

    /// One more subscriber. To be called while the topic's order stands still, so that no message slips past it.
    pub(crate) fn enter(&self, shard: usize) {
        self.counts[shard].fetch_add(1, AcqRel);
    }

    /// One subscriber less.
    pub(crate) fn leave(&self, shard: usize) {
        let before = self.counts[shard].fetch_sub(1, AcqRel);
        debug_assert!(before > 0, "nobody leaves who has not entered");
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| count.load(Acquire) == 0)
    }

    /// The shards that have subscribers.
    pub(crate) fn shards(&self) -> impl Iterator<Item = usize> {
        let present = self.counts.iter().enumerate().filter(|(_, count)| count.load(Acquire) > 0);
        present.map(|(shard, _)| shard)
    }
}
