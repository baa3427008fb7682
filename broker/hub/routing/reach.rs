//! The shards and patterns that receive the messages of one topic, cached for its publishers until subscribers change. It
//! delivers nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError};

use super::patterns::{Patterns, Selecting, Selectors};
use crate::hub::Audience;
use crate::topic::Topic;

/// The last shard with a bit of its own, which all later shards share.
const LAST_BIT: usize = 63;

/// The shards with subscribers are counted again after so many messages.
const RECOUNT_EVERY: u64 = 16;

/// What publishers need to know of a topic's subscribers and of the patterns that select it, in one place: with many
/// topics, each further lookup would be a cache miss.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Reach {
    /// A bit for each shard that has subscribers of the topic, or had some recently.
    shards: AtomicU64,
    /// Twice the version of the cached patterns, plus one if any of them selects the topic.
    seen: AtomicU64,
    /// The index of the version that concerns the topic.
    place: u8,
    /// Whether patterns may select the topic.
    is_selected: AtomicBool,
    selectors: Mutex<Option<Selectors>>,
    /// Whether patterns select the topic whose list there was no room to keep.
    is_unlisted: AtomicBool,
    audience: Arc<Audience>,
}

impl Reach {
    /// For a topic whose version has this index, and whether patterns may select it.
    pub(crate) fn new(audience: Arc<Audience>, place: u8, is_selected: bool) -> Self {
        // At version 0 no pattern selects the topic, so the empty cache is up to date.
        let (shards, seen) = (AtomicU64::new(0), AtomicU64::new(0));
        let (is_selected, is_unlisted) = (AtomicBool::new(is_selected), AtomicBool::new(false));
        Self { shards, seen, place, is_selected, selectors: Mutex::default(), is_unlisted, audience }
    }

    /// Lets patterns select the topic from now on, or not any more. The caller holds the topic's order.
    pub(crate) fn set_selected(&self, is_selected: bool) {
        if self.is_selected.swap(is_selected, Relaxed) && !is_selected {
            let mut selectors = self.selectors.lock().unwrap_or_else(PoisonError::into_inner);
            *selectors = None;
            self.is_unlisted.store(false, Release);
            // Outdated, if patterns select it again.
            self.seen.store(0, Release);
        }
    }

    /// The subscribers of the topic itself.
    pub(crate) fn audience(&self) -> &Arc<Audience> {
        &self.audience
    }

    /// Counts a subscriber. The caller holds the topic's order, so that the subscriber misses no message.
    pub(crate) fn enter(&self, shard: usize) {
        self.audience.enter(shard);
        self.shards.store(self.shards.load(Relaxed) | bit(shard), Relaxed);
    }

    /// Whether a shard may have subscribers of the topic.
    pub(in crate::hub) fn has(&self, shard: usize) -> bool {
        self.shards.load(Relaxed) & bit(shard) != 0 && (shard < LAST_BIT || self.audience.has(shard))
    }

    /// The patterns that select the topic now, for the message with this offset. The caller holds the topic's order: a
    /// session that was sent the reply to its subscribe receives every later message, and no gap before one that it
    /// received.
    pub(in crate::hub) fn selectors_now(&self, patterns: &Patterns, topic: &Topic, offset: u64) -> Option<Selectors> {
        if offset.is_multiple_of(RECOUNT_EVERY) && self.shards.load(Relaxed) != 0 {
            self.shards.store(self.audience.shards().fold(0, |bits, shard| bits | bit(shard)), Relaxed);
        }
        if !self.is_selected.load(Relaxed) || self.seen.load(Acquire) == patterns.version(self.place) << 1 {
            return None;
        }
        self.look_up(patterns, topic, self.place)
    }

    fn look_up(&self, patterns: &Patterns, topic: &Topic, place: u8) -> Option<Selectors> {
        let mut selectors = self.selectors.lock().unwrap_or_else(PoisonError::into_inner);
        if self.seen.load(Acquire) >> 1 != patterns.version(place) {
            let Selecting { selectors: found, version, is_kept } = patterns.selecting(topic, place);
            self.is_unlisted.store(!is_kept, Release);
            if !is_kept {
                *selectors = None;
                return found;
            }
            self.seen.store(version << 1 | u64::from(found.is_some()), Release);
            *selectors = found;
        }
        selectors.clone()
    }

    /// The patterns that selected the topic when it was last published to.
    pub(in crate::hub) fn last_selectors(&self) -> Option<Selectors> {
        if self.seen.load(Acquire) & 1 == 0 {
            return None;
        }
        self.selectors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether any shard may have been reached by patterns when the topic was last published to.
    pub(in crate::hub) fn is_unlisted(&self) -> bool {
        self.is_unlisted.load(Acquire)
    }

    /// Drops cached patterns if some of them may have been removed: for topics without publishers.
    pub(crate) fn forget_changed(&self, patterns: &Patterns) {
        let place = self.place;
        let seen = self.seen.load(Acquire);
        if seen & 1 == 1 && seen >> 1 != patterns.version(place) {
            let mut selectors = self.selectors.lock().unwrap_or_else(PoisonError::into_inner);
            // The cached version stays outdated, so that the next publisher looks the patterns up again.
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
    fn shards_are_reached_from_the_first_subscriber_until_the_next_count_after_the_last() {
        let topic = Topic::parse("t").expect("a topic");
        for shards in [1, 8, 9, 63, 64, 65, 256] {
            let patterns = Patterns::new(1, 1, 1_000, shards, Arc::new(Metrics::default()));
            let reach = Reach::new(Arc::new(Audience::new(shards, &Delivery::Queue)), patterns.place(&topic), true);
            let reached = || (0..shards).filter(|shard| reach.has(*shard)).collect::<Vec<_>>();
            let entered = if shards == 1 { vec![0] } else { vec![0, shards - 1] };
            assert!(reached().is_empty());
            entered.iter().for_each(|shard| reach.enter(*shard));
            (1..=RECOUNT_EVERY).for_each(|offset| assert!(reach.selectors_now(&patterns, &topic, offset).is_none()));
            assert_eq!(reached(), entered);
            entered.iter().for_each(|shard| reach.audience().leave(*shard));
            (1..=RECOUNT_EVERY).for_each(|offset| assert!(reach.selectors_now(&patterns, &topic, offset).is_none()));
            assert!(reached().is_empty(), "{shards}");
        }
    }
}
