//! Counts the requests of a session in flight: from the moment they are read until their reply is in the outbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire};

use tokio::sync::Notify;

/// The number of requests of one session in flight.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    in_flight: AtomicUsize,
    less: Notify,
}

/// One request in flight, until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlightGuard {
    in_flight: Arc<InFlight>,
    /// How many it counts as.
    requests: usize,
}

impl InFlight {
    pub(crate) fn enter(self: &Arc<Self>) -> InFlightGuard {
        self.enter_as(1)
    }

    /// The same for a request that counts as several because of its large reply.
    pub(crate) fn enter_as(self: &Arc<Self>, requests: usize) -> InFlightGuard {
        self.in_flight.fetch_add(requests, AcqRel);
        InFlightGuard { in_flight: Arc::clone(self), requests }
    }

    pub(crate) fn is_below(&self, bound: usize) -> bool {
        self.in_flight.load(Acquire) < bound
    }

    /// Waits until fewer than `bound` requests are in flight.
    pub(crate) async fn below(&self, bound: usize) {
        while !self.is_below(bound) {
            self.less.notified().await;
        }
    }
}

impl InFlightGuard {
    /// Counts the request as so many, if it does not count as more already.
    pub(crate) fn count_as(&mut self, requests: usize) {
        let more = requests.saturating_sub(self.requests);
        self.in_flight.in_flight.fetch_add(more, AcqRel);
        self.requests += more;
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.in_flight.in_flight.fetch_sub(self.requests, AcqRel);
        // Only the session itself waits, so one permit is enough and no wake-up is lost.
        self.in_flight.less.notify_one();
    }
}
