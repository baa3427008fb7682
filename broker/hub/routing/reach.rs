//! Who gets the messages of one topic, as a publisher finds it: at a glance as long as nobody came or went. It delivers
//! nothing.

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError};

use super::patterns::{Patterns, Selectors};
use crate::hub::Audience;
use crate::topic::Topic;

/// The last shard that has a bit of its own; it shares it with those that come after it.
const LAST_BIT: usize = 63;

/// Every how many messages a topic's audience is asked which shards have subscribers left.
const LOOK_EVERY: u64 = 16;

/// What one topic remembers of its subscribers and of the patterns that select it, where its publishers find it without
/// looking elsewhere: of many topics each look elsewhere costs them a wait for memory.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Reach {
    /// A bit for each shard that has subscribers of the topic, or had some lately.
    shards: AtomicU64,
    /// Twice the version of the patterns that is remembered, and one more if any of them selects the topic.
    seen: AtomicU64,
    /// Which version concerns the topic; none for a topic that patterns do not select.
    place: Option<u8>,
    selectors: Mutex<Option<Selectors>>,
    audience: Arc<Audience>,
}

impl Reach {
    /// Of a topic whose version is at this place, if patterns select it.
    pub(crate) fn new(audience: Arc<Audience>, place: Option<u8>) -> Self {
        // Before the first change of a place no pattern selects its topics: that is true, and not to be looked up.
        let (shards, seen) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { shards, seen, place, selectors: Mutex::default(), audience }
    }

    /// The subscribers of the topic itself.
    pub(crate) fn audience(&self) -> &Arc<Audience> {
        &self.audience
    }

    /// One more subscriber. To be called while the topic's order stands still, so that no message slips past it.
    pub(crate) fn enter(&self, shard: usize) {
        self.audience.enter(shard);
        self.shards.store(self.shards.load(Relaxed) | bit(shard), Relaxed);
    }

    /// Whether a shard may have subscribers of the topic.
    pub(in crate::hub) fn has(&self, shard: usize) -> bool {
        self.shards.load(Relaxed) & bit(shard) != 0 && (shard < LAST_BIT || self.audience.has(shard))
    }

    /// The patterns that select the topic at this moment, for the message with this offset. To be asked while the topic's order
    /// stands still: so whoever was told that it is subscribed gets every message after that, and no message is passed over
    /// behind one that was not.
    pub(in crate::hub) fn now(&self, patterns: &Patterns, topic: &Topic, offset: u64) -> Option<Selectors> {
        if offset.is_multiple_of(LOOK_EVERY) && self.shards.load(Relaxed) != 0 {
            self.shards.store(self.audience.shards().fold(0, |bits, shard| bits | bit(shard)), Relaxed);
        }
        let place = self.place?;
        if self.seen.load(Acquire) == patterns.version(place) << 1 {
            return None;
        }
        self.look(patterns, topic, place)
    }

    fn look(&self, patterns: &Patterns, topic: &Topic, place: u8) -> Option<Selectors> {
        let mut selectors = self.selectors.lock().unwrap_or_else(PoisonError::into_inner);
        if self.seen.load(Acquire) >> 1 != patterns.version(place) {
            let (found, version) = patterns.selecting(topic, place);
            self.seen.store(version << 1 | u64::from(found.is_some()), Release);
            *selectors = found;
        }
        selectors.clone()
    }

    /// The patterns that selected the topic when it was last published to.
    pub(in crate::hub) fn last(&self) -> Option<Selectors> {
        if self.seen.load(Acquire) & 1 == 0 {
            return None;
        }
        self.selectors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets patterns of which some may be gone: for topics that nobody publishes to.
    pub(crate) fn forget_changed(&self, patterns: &Patterns) {
        let Some(place) = self.place else { return };
        let seen = self.seen.load(Acquire);
        if seen & 1 == 1 && seen >> 1 != patterns.version(place) {
            let mut selectors = self.selectors.lock().unwrap_or_else(PoisonError::into_inner);
            // The version that is remembered is an old one and stays it, so that the next publisher looks again.
            if self.seen.load(Acquire) >> 1 != patterns.version(place) {
                *selectors = None;
            }
        }
    }
}

fn bit(shard: usize) -> u64 {
    1 << shard.min(LAST_BIT)
}

#[cfg(test)]
mod tests {
    use rialto_protocol::Delivery;

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn shards_are_reached_from_the_first_subscriber_until_some_messages_after_the_last() {
        let topic = Topic::parse("t").expect("a topic");
        for shards in [1, 8, 9, 63, 64, 65, 256] {
            let patterns = Patterns::new(1, shards, Arc::new(Metrics::default()));
            let reach = Reach::new(Arc::new(Audience::new(shards, &Delivery::Queue)), Some(patterns.place(&topic)));
            let reached = || (0..shards).filter(|shard| reach.has(*shard)).collect::<Vec<_>>();
            let entered = if shards == 1 { vec![0] } else { vec![0, shards - 1] };
            assert!(reached().is_empty());
            entered.iter().for_each(|shard| reach.enter(*shard));
            (1..=LOOK_EVERY).for_each(|offset| assert!(reach.now(&patterns, &topic, offset).is_none()));
            assert_eq!(reached(), entered);
            entered.iter().for_each(|shard| reach.audience().leave(*shard));
            (1..=LOOK_EVERY).for_each(|offset| assert!(reach.now(&patterns, &topic, offset).is_none()));
            assert!(reached().is_empty(), "{shards}");
        }
    }
}
