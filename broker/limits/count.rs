//! Limits of how much there is of something at a time, which may be raised and lowered meanwhile. It knows nothing of what it
//! counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire};

/// How much there is of something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

/// One that is counted, until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Count {
    /// Counts one more, unless there are `most` already.
    pub(crate) fn take(&self, most: usize) -> Option<Counted> {
        let more = |count: usize| (count < most).then_some(count + 1);
        self.0.fetch_update(AcqRel, Acquire, more).ok().map(|_| Counted(Arc::clone(&self.0)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_when_something_is_taken() {
        let count = Count::default();
        let both = [count.take(2).expect("there is room"), count.take(2).expect("there is room")];
        assert!(count.take(2).is_none());
        let third = count.take(3).expect("the limit was raised");
        drop(both);
        assert!(count.take(1).is_none(), "the limit was lowered");
        drop(third);
        assert!(count.take(1).is_some());
    }
}
