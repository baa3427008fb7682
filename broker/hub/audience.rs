//! Which shards have subscribers for a topic, and what those subscribers have missed. It counts; it delivers nothing.

use std::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Acquire};
use std::sync::{Mutex, PoisonError};

use rialto_protocol::{Delivery, Pointer, Policy};

use crate::metrics::Counter;

/// The number of a topic's subscribers on each shard.
#[derive(Debug)]
pub(crate) struct Audience {
    counts: Box<[AtomicU32]>,
    skipped: [Counter; Policy::ALL.len()],
    /// The fields that subscriptions keep the latest messages by, each with their number.
    fields: Mutex<Vec<(Pointer, u32)>>,
}

/// The subscribers of the topic ask for as many different fields as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyFields;

impl Audience {
    pub(crate) fn new(shards: usize) -> Self {
        let counts = (0..shards).map(|_| AtomicU32::new(0)).collect();
        Self { counts, skipped: Default::default(), fields: Mutex::default() }
    }

    /// One more subscriber. To be called while the topic's order stands still, so that no message slips past it.
    ///
    /// # Errors
    /// [`TooManyFields`] when the policy's field would be one more than `fields_max`; then nobody was counted.
    pub(crate) fn enter(&self, shard: usize, delivery: &Delivery, fields_max: usize) -> Result<(), TooManyFields> {
        if let Delivery::LatestBy(field) = delivery {
            let mut fields = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
            let different = fields.len();
            match fields.iter_mut().find(|(known, _)| known == field) {
                Some((_, count)) => *count += 1,
                None if different < fields_max => fields.push((field.clone(), 1)),
                None => return Err(TooManyFields),
            }
        }
        self.counts[shard].fetch_add(1, AcqRel);
        Ok(())
    }

    /// One subscriber less.
    pub(crate) fn leave(&self, shard: usize, delivery: &Delivery) {
        if let Delivery::LatestBy(field) = delivery {
            let mut fields = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
            fields.retain_mut(|(known, count)| {
                *count -= u32::from(known == field);
                *count > 0
            });
        }
        let before = self.counts[shard].fetch_sub(1, AcqRel);
        debug_assert!(before > 0, "nobody leaves who has not entered");
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| count.load(Acquire) == 0)
    }

    /// All subscribers.
    pub(crate) fn subscribers(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(count.load(Acquire))).sum()
    }

    /// The shards that have subscribers.
    pub(crate) fn shards(&self) -> impl Iterator<Item = usize> {
        let present = self.counts.iter().enumerate().filter(|(_, count)| count.load(Acquire) > 0);
        present.map(|(shard, _)| shard)
    }

    /// Counts messages that a subscriber does not get.
    pub(super) fn skip(&self, policy: Policy, messages: usize) {
        self.skipped[policy.index()].add(messages as u64);
    }

    /// Messages that subscribers did not get, by policy.
    pub(crate) fn skipped(&self) -> [u64; Policy::ALL.len()] {
        self.skipped.each_ref().map(Counter::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_bounded_by_topic_and_free_again_when_nobody_uses_them() {
        let audience = Audience::new(1);
        let by = |field: &str| Delivery::LatestBy(Pointer::parse(field).expect("a pointer"));
        let enter = |field: &str| audience.enter(0, &by(field), 2);
        assert_eq!([enter("/a"), enter("/b"), enter("/a"), enter("/c")], [Ok(()), Ok(()), Ok(()), Err(TooManyFields)]);
        assert_eq!(audience.subscribers(), 3);
        audience.leave(0, &by("/a"));
        assert_eq!(enter("/c"), Err(TooManyFields));
        audience.leave(0, &by("/a"));
        assert_eq!(enter("/c"), Ok(()));
        assert_eq!(audience.enter(0, &Delivery::Latest, 0), Ok(()));
        assert_eq!(audience.subscribers(), 3);
    }
}
