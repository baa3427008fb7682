//! The lists of patterns that select topics. Topics that the same patterns select share one list, and all lists together
//! have a budget: with many patterns, lists of their own would take more than the topics.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::patterns::Selector;
use crate::metrics::Metrics;

/// Fewer lists are not worth a sweep.
const SWEEP_MIN: usize = 1_024;

/// What a list takes beyond its entries, as an upper bound.
const LIST_BYTES: usize = 128;

/// The patterns that select a topic; there is at least one.
#[derive(Debug)]
pub(crate) struct SelectorList {
    selectors: Box<[Selector]>,
    /// Where its bytes are counted; none for a list that nobody keeps.
    counted: Option<Arc<Metrics>>,
}

/// All lists that topics keep.
#[derive(Debug)]
pub(super) struct SelectorLists {
    bytes_max: usize,
    metrics: Arc<Metrics>,
    hasher: RandomState,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    by_hash: HashMap<u64, Vec<Weak<SelectorList>>>,
    /// The number of lists at which those that nobody keeps any more are removed.
    sweep_at: usize,
    count: usize,
}

impl SelectorLists {
    pub(super) fn new(bytes_max: usize, metrics: Arc<Metrics>) -> Self {
        let known = Known { by_hash: HashMap::new(), sweep_at: SWEEP_MIN, count: 0 };
        Self { bytes_max, metrics, hasher: RandomState::new(), known: Mutex::new(known) }
    }

    /// The list with these selectors, in their order. Whether a topic may keep it: if not, there is no room for it.
    pub(super) fn share(&self, selectors: Vec<Selector>) -> (Arc<SelectorList>, bool) {
        let hash = self.hasher.hash_one(selectors.iter().map(|one| one.stream).collect::<Vec<_>>());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            known.by_hash.get(&hash).into_iter().flatten().filter_map(Weak::upgrade).find(|list| list.is(&selectors));
        if let Some(list) = same {
            return (list, true);
        }
        let bytes = bytes(selectors.len());
        let has_room = self.metrics.pattern_list_bytes.get() as usize + bytes <= self.bytes_max;
        let counted = has_room.then(|| Arc::clone(&self.metrics));
        let list = Arc::new(SelectorList { selectors: selectors.into(), counted });
        if has_room {
            self.metrics.pattern_list_bytes.add(bytes as u64);
            known.add(hash, &list);
        }
        (list, has_room)
    }
}

impl Known {
    fn add(&mut self, hash: u64, list: &Arc<SelectorList>) {
        if self.count >= self.sweep_at {
            self.by_hash.retain(|_, lists| {
                lists.retain(|list| list.strong_count() > 0);
                !lists.is_empty()
            });
            self.count = self.by_hash.values().map(Vec::len).sum();
            self.sweep_at = (2 * self.count).max(SWEEP_MIN);
        }
        self.by_hash.entry(hash).or_default().push(Arc::downgrade(list));
        self.count += 1;
    }
}

impl SelectorList {
    /// A list that is not shared, for tests.
    #[cfg(test)]
    pub(in crate::hub) fn alone(selectors: Vec<Selector>) -> Arc<Self> {
        Arc::new(Self { selectors: selectors.into(), counted: None })
    }

    /// Whether its selectors are these, in this order.
    fn is(&self, selectors: &[Selector]) -> bool {
        self.len() == selectors.len() && self.iter().zip(selectors).all(|(one, other)| one.stream == other.stream)
    }
}

impl Deref for SelectorList {
    type Target = [Selector];

    fn deref(&self) -> &[Selector] {
        &self.selectors
    }
}

impl Drop for SelectorList {
    fn drop(&mut self) {
        if let Some(metrics) = &self.counted {
            metrics.pattern_list_bytes.subtract(bytes(self.selectors.len()) as u64);
        }
    }
}

/// What a list takes.
fn bytes(count: usize) -> usize {
    LIST_BYTES + count * size_of::<Selector>()
}

#[cfg(test)]
mod tests {
    use rialto_protocol::Delivery;

    use super::*;
    use crate::hub::{Audience, StreamId};

    fn selectors(streams: impl IntoIterator<Item = u64>) -> Vec<Selector> {
        let audience = Arc::new(Audience::new(1, &Delivery::Queue));
        streams
            .into_iter()
            .map(|stream| Selector { stream: StreamId::pattern(stream), audience: Arc::clone(&audience) })
            .collect()
    }

    #[test]
    fn equal_lists_are_one_and_all_of_them_have_a_budget() {
        let metrics = Arc::new(Metrics::default());
        let lists = SelectorLists::new(2 * bytes(100), Arc::clone(&metrics));
        let (first, is_kept) = lists.share(selectors(0..100));
        assert!(is_kept);
        for _ in 0..10_000 {
            let (same, is_kept) = lists.share(selectors(0..100));
            assert!(is_kept && Arc::ptr_eq(&first, &same));
        }
        assert_eq!(metrics.pattern_list_bytes.get() as usize, bytes(100));
        let (second, is_kept) = lists.share(selectors(1..101));
        assert!(is_kept && !Arc::ptr_eq(&first, &second));
        let (third, is_kept) = lists.share(selectors(2..102));
        assert!(!is_kept && third.len() == 100, "it is right all the same");
        assert_eq!(metrics.pattern_list_bytes.get() as usize, 2 * bytes(100));
        drop((first, third));
        assert!(lists.share(selectors(2..102)).1, "there is room again");
        drop(second);
        assert_eq!(metrics.pattern_list_bytes.get(), 0);
    }

    #[test]
    fn lists_that_nobody_keeps_are_swept() {
        let lists = SelectorLists::new(usize::MAX, Arc::default());
        for stream in 0..10 * SWEEP_MIN as u64 {
            lists.share(selectors([stream]));
        }
        assert!(lists.known.lock().expect("nobody panics").by_hash.len() <= SWEEP_MIN + 1);
    }
}
