//! The store that lives in memory: plugin state, gone when the process ends. It never does I/O.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The writes of one hook, in one namespace.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// What each key shall hold; none removes it.
    pub(crate) writes: BTreeMap<String, Option<Arc<[u8]>>>,
}

/// Key-value state by namespace.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    spaces: Mutex<BTreeMap<String, Space>>,
}

#[derive(Debug, Default)]
struct Space {
    entries: BTreeMap<String, Arc<[u8]>>,
    bytes: usize,
}

impl MemoryStore {
    pub(crate) fn get(&self, namespace: &str, key: &str) -> Option<Arc<[u8]>> {
        self.lock().get(namespace)?.entries.get(key).cloned()
    }

    /// The first entry with a key after `after` (or equal, where `after` is excluded by no one) in byte order.
    pub(crate) fn next(&self, namespace: &str, from: Bound<&str>) -> Option<(String, Arc<[u8]>)> {
        let spaces = self.lock();
        let (key, value) = spaces.get(namespace)?.entries.range::<str, _>((from, Bound::Unbounded)).next()?;
        Some((key.clone(), value.clone()))
    }

    /// How many bytes the keys and values of a namespace take.
    pub(crate) fn bytes(&self, namespace: &str) -> usize {
        self.lock().get(namespace).map_or(0, |space| space.bytes)
    }

    /// Applies all writes of a batch at once.
    pub(crate) fn commit(&self, namespace: &str, batch: Batch) {
        if batch.writes.is_empty() {
            return;
        }
        let mut spaces = self.lock();
        let space = spaces.entry(namespace.to_owned()).or_default();
        for (key, value) in batch.writes {
            let key_bytes = key.len();
            let old = match value {
                Some(value) => {
                    space.bytes += key_bytes + value.len();
                    space.entries.insert(key, value)
                }
                None => space.entries.remove(&key),
            };
            if let Some(old) = old {
                space.bytes -= key_bytes + old.len();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Space>> {
        // The map is changed by plain inserts and removals only, so it is whole even after a panic elsewhere.
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(writes: &[(&str, Option<&str>)]) -> Batch {
        let writes = writes.iter().map(|(key, value)| ((*key).to_owned(), value.map(|value| value.as_bytes().into())));
        Batch { writes: writes.collect() }
    }

    #[test]
    fn bytes_follow_the_entries() {
        let store = MemoryStore::default();
        for (writes, bytes) in [
            (batch(&[("ab", Some("123")), ("c", Some(""))]), 6),
            (batch(&[("ab", Some("1"))]), 4),
            (batch(&[("c", None), ("nothing", None)]), 3),
            (batch(&[("ab", None)]), 0),
        ] {
            store.commit("chat", writes);
            assert_eq!(store.bytes("chat"), bytes);
        }
        assert_eq!(store.bytes("other"), 0);
    }

    #[test]
    fn next_walks_in_key_order_within_the_namespace() {
        let store = MemoryStore::default();
        store.commit("chat", batch(&[("b", Some("2")), ("a", Some("1"))]));
        store.commit("other", batch(&[("c", Some("3"))]));
        let key = |from| store.next("chat", from).map(|(key, _)| key);
        assert_eq!(key(Bound::Included("")).as_deref(), Some("a"));
        assert_eq!(key(Bound::Excluded("a")).as_deref(), Some("b"));
        assert_eq!(key(Bound::Excluded("b")), None);
    }
}
