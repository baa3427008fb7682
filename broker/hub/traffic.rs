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
pub(crate) struct UnderWay(Arc<Traffic>);

impl Traffic {
    pub(crate) fn enter(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, AcqRel);
        UnderWay(Arc::clone(self))
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
        self.0.under_way.fetch_sub(1, AcqRel);
        // One session waits for its own traffic, so one permit is enough and none is lost.
        self.0.less.notify_one();
    }
}
