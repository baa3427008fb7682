//! Quotas: at most so many slots for each key, such as connections per address. It knows nothing of the keys.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The slots of many keys, each with the same bound.
pub(crate) struct Quota<K> {
    taken: Arc<SlotCounts<K>>,
}

/// A slot of one key. Dropping it releases the slot.
pub(crate) struct QuotaSlot<K: Eq + Hash> {
    key: K,
    taken: Arc<SlotCounts<K>>,
}

/// The slots in use, by key.
struct SlotCounts<K>(Mutex<HashMap<K, usize>>);

impl<K> Default for Quota<K> {
    fn default() -> Self {
        Self { taken: Arc::new(SlotCounts(Mutex::default())) }
    }
}

impl<K: Clone + Eq + Hash> Quota<K> {
    /// Takes a slot of this key, if one of `slots_max` is left.
    pub(crate) fn take(&self, key: &K, slots_max: usize) -> Option<QuotaSlot<K>> {
        let mut taken = self.taken.lock();
        match taken.entry(key.clone()) {
            Entry::Occupied(mut slots) if *slots.get() < slots_max => *slots.get_mut() += 1,
            Entry::Vacant(slots) if slots_max > 0 => drop(slots.insert(1)),
            _ => return None,
        }
        drop(taken);
        Some(QuotaSlot { key: key.clone(), taken: Arc::clone(&self.taken) })
    }
}

impl<K: Eq + Hash> QuotaSlot<K> {
    /// Whose slot it is.
    pub(crate) fn key(&self) -> &K {
        &self.key
    }
}

impl<K> SlotCounts<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        // No code panics between two changes under this lock, so a poisoned one is consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for QuotaSlot<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        let Some(slots) = taken.get_mut(&self.key) else { return };
        *slots -= 1;
        if *slots == 0 {
            taken.remove(&self.key);
        }
        if taken.capacity() > 1_024 && taken.len() < taken.capacity() / 8 {
            // Releases the memory of a flood of keys once it is over.
            taken.shrink_to_fit();
        }
    }
}

impl<K: Eq + Hash> fmt::Debug for QuotaSlot<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QuotaSlot")
    }
}

impl<K> fmt::Debug for Quota<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Quota")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_slots_and_is_removed_when_unused() {
        let quota = Quota::default();
        let first = quota.take(&"a", 2).expect("a slot");
        let second = quota.take(&"a", 2).expect("a slot");
        assert!(quota.take(&"a", 2).is_none());
        let third = quota.take(&"a", 3).expect("the bound was raised");
        drop(third);
        let other = quota.take(&"b", 2).expect("a slot of another key");
        drop(first);
        let again = quota.take(&"a", 2).expect("one was released");
        drop((second, other, again));
        assert!(quota.taken.lock().is_empty());
        assert!(Quota::default().take(&"a", 0).is_none());
    }

    #[test]
    fn memory_is_released_after_a_flood_of_keys() {
        let quota = Quota::default();
        let flood: Vec<_> = (0..100_000).map(|key| quota.take(&key, 1)).collect();
        assert!(quota.taken.lock().capacity() >= 100_000);
        drop(flood);
        assert!(quota.taken.lock().capacity() <= 1_024);
    }
}
