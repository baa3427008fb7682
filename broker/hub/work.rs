//! Counts what a shard does at one go, and says when it has to give way to others. A unit is a request, a topic in a list, or a
//! command; a topic whose past is read is several, and so is a subscription. Deliveries are not counted: publishers wait for those.

use std::cell::Cell;

use crate::metrics::Metrics;

/// After so many units a shard gives way. What it has begun it still finishes, so that it may be some more.
pub(crate) const WORK_AT_ONCE: usize = 256;

thread_local! {
    /// What this thread has done since it gave way.
    static DONE: Cell<usize> = const { Cell::new(0) };
}

/// Counts work.
pub(crate) fn add(units: usize) {
    DONE.set(DONE.get() + units);
}

/// Whether it is time to give way.
pub(crate) fn is_enough() -> bool {
    DONE.get() >= WORK_AT_ONCE
}

/// Does something at one go.
pub(super) fn at_once<T>(metrics: &Metrics, work: impl FnOnce() -> T) -> T {
    DONE.set(0);
    let done = work();
    metrics.work_at_once_most.raise(DONE.get() as u64);
    done
}
