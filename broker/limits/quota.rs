//! Bounds how many places each of many holders takes. It knows nothing of who they are.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many places for every key.
pub(crate) struct Quota<K> {
    places_max: usize,
    taken: Arc<SlotCounts<K>>,
}

/// A place of one key. Dropping it gives it back.
pub(crate) struct QuotaSlot<K: Eq + Hash> {
    key: K,
    taken: Arc<SlotCounts<K>>,
}

/// How many places each key has that has any.
struct SlotCounts<K>(Mutex<HashMap<K, usize>>);

impl<K: Clone + Eq + Hash> Quota<K> {
    pub(crate) fn new(places_max: usize) -> Self {
        Self { places_max, taken: Arc::new(SlotCounts(Mutex::default())) }
    }

    /// A place for this key, if it has one left.
    pub(crate) fn take(&self, key: &K) -> Option<QuotaSlot<K>> {
        let mut taken = self.taken.lock();
        match taken.entry(key.clone()) {
            Entry::Occupied(mut places) if *places.get() < self.places_max => *places.get_mut() += 1,
            Entry::Vacant(places) if self.places_max > 0 => drop(places.insert(1)),
            _ => return None,
        }
        drop(taken);
        Some(QuotaSlot { key: key.clone(), taken: Arc::clone(&self.taken) })
    }
}

impl<K> SlotCounts<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        // Nothing that is done under the lock can fail half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for QuotaSlot<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        let Some(places) = taken.get_mut(&self.key) else { return };
        *places -= 1;
        if *places == 0 {
            taken.remove(&self.key);
        }
        if taken.capacity() > 1_024 && taken.len() < taken.capacity() / 8 {
            // A flood of keys is over: it must not keep its memory.
            taken.shrink_to_fit();
        }
    }
}

impl<K: Eq + Hash> fmt::Debug for QuotaSlot<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

impl<K> fmt::Debug for Quota<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quota").field("places_max", &self.places_max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_places_and_leaves_nothing_behind() {
        let quota = Quota::new(2);
        let first = quota.take(&"a").expect("a place");
        let second = quota.take(&"a").expect("a place");
        assert!(quota.take(&"a").is_none());
        let other = quota.take(&"b").expect("another's place");
        drop(first);
        let again = quota.take(&"a").expect("one was given back");
        drop((second, other, again));
        assert!(quota.taken.lock().is_empty());
        assert!(Quota::new(0).take(&"a").is_none());
    }

    #[test]
    fn memory_of_a_flood_is_given_back() {
        let quota = Quota::new(1);
        let flood: Vec<_> = (0..100_000).map(|key| quota.take(&key)).collect();
        assert!(quota.taken.lock().capacity() >= 100_000);
        drop(flood);
        assert!(quota.taken.lock().capacity() <= 1_024);
    }
}
