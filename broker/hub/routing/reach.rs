//! The shards and patterns that receive the messages of one topic, cached for its publishers until subscribers change. It
//! delivers nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::patterns::{Patterns, Selecting, Selectors};
use crate::config::TopicOptions;
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
    cached: Mutex<Cached>,
    /// Whether patterns select the topic whose list there was no room to keep.
    is_unlisted: AtomicBool,
    audience: Arc<Audience>,
}

/// The patterns that select a topic, and the rule by which they do.
#[derive(Debug)]
struct Cached {
    selectors: Option<Selectors>,
    rule: Arc<TopicOptions>,
}

impl Reach {
    /// For a topic under this rule, whose version has this index.
    pub(crate) fn new(audience: Arc<Audience>, place: u8, rule: Arc<TopicOptions>) -> Self {
        // At version 0 no pattern selects the topic, so the empty cache is up to date.
        let (shards, seen) = (AtomicU64::new(0), AtomicU64::new(0));
        let (is_selected, is_unlisted) = (AtomicBool::new(rule.is_selected()), AtomicBool::new(false));
        let cached = Mutex::new(Cached { selectors: None, rule });
        Self { shards, seen, place, is_selected, cached, is_unlisted, audience }
    }

    /// The topic is under another rule from now on. The caller holds the topic's order.
    pub(crate) fn set_rule(&self, rule: Arc<TopicOptions>) {
        let mut cached = self.cached();
        self.is_selected.store(rule.is_selected(), Relaxed);
        *cached = Cached { selectors: None, rule };
        self.is_unlisted.store(false, Release);
        // Outdated, unless there never was a pattern.
        self.seen.store(0, Release);
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
        let mut cached = self.cached();
        if self.seen.load(Acquire) >> 1 != patterns.version(place) {
            let Selecting { selectors: found, version, is_kept } = patterns.selecting(topic, &cached.rule, place);
            self.is_unlisted.store(!is_kept, Release);
            if !is_kept {
                cached.selectors = None;
                return found;
            }
            self.seen.store(version << 1 | u64::from(found.is_some()), Release);
            cached.selectors = found;
        }
        cached.selectors.clone()
    }

    /// The patterns that selected the topic when it was last published to.
    pub(in crate::hub) fn last_selectors(&self) -> Option<Selectors> {
        if self.seen.load(Acquire) & 1 == 0 {
            return None;
        }
        self.cached().selectors.clone()
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
            let mut cached = self.cached();
            // The cached version stays outdated, so that the next publisher looks the patterns up again.
            if self.seen.load(Acquire) >> 1 != patterns.version(place) {
                cached.selectors = None;
            }
        }
    }

    fn cached(&self) -> MutexGuard<'_, Cached> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
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
            let reach = Reach::new(
                Arc::new(Audience::new(shards, &Delivery::Queue)),
                patterns.place(&topic),
                TopicOptions::of_test(None, 0),
            );
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
