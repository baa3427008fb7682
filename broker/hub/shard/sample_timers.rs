//! When sampled subscriptions are due. It knows times and slots only, and does not wait.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::hub::StreamId;

/// The sample timers of one shard, at most one for each sampled subscription.
#[derive(Debug, Default)]
pub(in crate::hub) struct SampleTimers {
    set: BTreeSet<(Instant, u32, StreamId)>,
}

impl SampleTimers {
    /// Sets a timer for a session's stream. Returns whether it is the next to fire.
    pub(in crate::hub) fn set(&mut self, at: Instant, slot: u32, stream: StreamId) -> bool {
        self.set.insert((at, slot, stream));
        self.next() == Some(at)
    }

    /// Cancels a timer.
    pub(in crate::hub) fn cancel(&mut self, at: Instant, slot: u32, stream: StreamId) {
        self.set.remove(&(at, slot, stream));
    }

    /// When the next timer fires.
    pub(in crate::hub) fn next(&self) -> Option<Instant> {
        self.set.first().map(|(at, ..)| *at)
    }

    /// Removes a timer that is due.
    pub(in crate::hub) fn pop_due(&mut self, now: Instant) -> Option<(u32, StreamId)> {
        let (at, slot, stream) = *self.set.first()?;
        if at > now {
            return None;
        }
        self.set.pop_first();
        Some((slot, stream))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timers_fire_in_order_unless_they_are_canceled() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut sample_timers = SampleTimers::default();
        let (first, second) = (StreamId::topic(10), StreamId::topic(11));
        assert!(sample_timers.set(at(20), 1, first));
        assert!(sample_timers.set(at(10), 2, first));
        assert!(!sample_timers.set(at(30), 1, second));
        assert_eq!((sample_timers.pop_due(at(9)), sample_timers.next()), (None, Some(at(10))));
        sample_timers.cancel(at(20), 1, first);
        assert_eq!(
            [sample_timers.pop_due(at(40)), sample_timers.pop_due(at(40)), sample_timers.pop_due(at(40))],
            [Some((2, first)), Some((1, second)), None]
        );
    }
}
