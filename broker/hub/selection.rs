//! The patterns that select one topic, as a publisher finds them: one look at a number as long as no pattern that could
//! concern the topic came or went.

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::{Mutex, PoisonError};

use super::patterns::{Patterns, Selectors};
use crate::topic::Topic;

/// What one topic remembers of the patterns.
#[derive(Debug)]
pub(crate) struct Selection {
    /// Which version concerns the topic; none for a topic that patterns do not select.
    place: Option<u8>,
    /// Twice the version that is remembered, and one more if any pattern selects the topic.
    seen: AtomicU64,
    selectors: Mutex<Option<Selectors>>,
}

impl Selection {
    /// Of a topic whose version is at this place, if patterns select it.
    pub(crate) fn new(place: Option<u8>) -> Self {
        // Before the first change of a place no pattern selects its topics: that is true, and not to be looked up.
        Self { place, seen: AtomicU64::new(0), selectors: Mutex::default() }
    }

    /// The patterns that select the topic at this moment. To be asked while the topic's order stands still: so whoever was
    /// told that it is subscribed gets every message after that, and no message is passed over behind one that was not.
    pub(super) fn now(&self, patterns: &Patterns, topic: &Topic) -> Option<Selectors> {
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
    pub(super) fn last(&self) -> Option<Selectors> {
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
