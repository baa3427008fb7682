//! How many requests of a session are under way: from the moment they are read until their answer is in the outbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire};

use tokio::sync::Notify;

/// Counts the requests of one session that are under way.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    under_way: AtomicUsize,
    less: Notify,
}

/// One request under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    traffic: Arc<Traffic>,
    /// How many it counts as.
    requests: usize,
}

impl Traffic {
    pub(crate) fn enter(self: &Arc<Self>) -> UnderWay {
        self.enter_as(1)
    }

    /// The same for a request that counts as several, because its answer is so large.
    pub(crate) fn enter_as(self: &Arc<Self>, requests: usize) -> UnderWay {
        self.under_way.fetch_add(requests, AcqRel);
        UnderWay { traffic: Arc::clone(self), requests }
    }

    pub(crate) fn is_below(&self, bound: usize) -> bool {
        self.under_way.load(Acquire) < bound
    }

    /// Waits until fewer than `bound` requests are under way.
    pub(crate) async fn below(&self, bound: usize) {
        while !self.is_below(bound) {
            self.less.notified().await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.traffic.under_way.fetch_sub(self.requests, AcqRel);
        // One session waits for its own traffic, so one permit is enough and none is lost.
        self.traffic.less.notify_one();
    }
}
