//! The idempotency keys of one scope in memory, each for its time. It has no clock and no lock.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, VecDeque};
use std::mem::size_of;
use std::sync::Arc;

use crate::shares::Share;
use crate::store::{KeptKey, Key, KeyRecord};

/// What requests came to, by their keys. The map's order is not for those to know who choose the keys.
#[derive(Debug, Default)]
pub(super) struct KeyTable {
    known: HashMap<Key, StoredKey>,
    /// Keys in the order in which they came.
    order: VecDeque<(u64, Key)>,
    bytes: usize,
}

#[derive(Debug)]
struct StoredKey {
    record: KeyRecord,
    at_ms: u64,
    keys_ms: u64,
    /// Given back when the key is forgotten.
    _share: Option<Arc<Share>>,
}

impl KeyTable {
    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn keys(&self) -> usize {
        self.known.len()
    }

    pub(super) fn recall(&self, key: &Key, now_ms: u64) -> Option<KeyRecord> {
        let known = self.known.get(key)?;
        known.is_fresh(now_ms).then(|| known.record.clone())
    }

    /// Remembers a key.
    pub(super) fn add(&mut self, kept: KeptKey, now_ms: u64) {
        let KeptKey { key, record, keys_ms, share, .. } = kept;
        if let Some(share) = &share {
            // The answer was not known when the share was taken.
            share.grow(record.outcome.bytes() as u64);
        }
        let known = StoredKey { record, at_ms: now_ms, keys_ms, _share: share };
        self.bytes += known.bytes(&key);
        match self.known.entry(key.clone()) {
            Slot::Occupied(mut there) => {
                let old = there.insert(known);
                self.bytes -= old.bytes(&key);
            }
            Slot::Vacant(free) => {
                free.insert(known);
            }
        }
        self.order.push_back((now_ms, key));
    }

    /// Forgets keys whose time is over. Whether any is left.
    pub(super) fn trim(&mut self, now_ms: u64) -> bool {
        while let Some((at_ms, key)) = self.order.front() {
            if self.known.get(key).is_some_and(|known| known.at_ms == *at_ms && known.is_fresh(now_ms)) {
                break;
            }
            self.forget_first();
        }
        !self.known.is_empty()
    }

    fn forget_first(&mut self) {
        let Some((at_ms, key)) = self.order.pop_front() else { return };
        // A key that was used again later stands in the order twice.
        if let Slot::Occupied(there) = self.known.entry(key)
            && there.get().at_ms == at_ms
        {
            let bytes = there.get().bytes(there.key());
            self.bytes -= bytes;
            there.remove();
        }
    }
}

impl StoredKey {
    fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.at_ms) <= self.keys_ms
    }

    fn bytes(&self, key: &Key) -> usize {
        let texts = key.text.len() + key.owner.bytes();
        // The key stands in the map and in the order.
        texts + 2 * size_of::<Key>() + size_of::<Self>() + self.record.outcome.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Digest, KeyOwner, Outcome, Scope};

    fn kept(text: &str) -> KeptKey {
        KeptKey {
            scope: Scope::Plugin("p".into()),
            key: key(text),
            record: KeyRecord { digest: Digest::of(None, None), outcome: Outcome::Published(None) },
            keys_ms: 100,
            share: Some(Share::of_test()),
        }
    }

    fn key(text: &str) -> Key {
        Key { owner: KeyOwner::Embedder, text: text.into() }
    }

    #[test]
    fn keys_are_known_for_their_time() {
        let mut key_table = KeyTable::default();
        for (text, now_ms) in [("a", 0), ("b", 10), ("c", 20)] {
            key_table.add(kept(text), now_ms);
        }
        let is_known = |key_table: &KeyTable, text, now_ms| key_table.recall(&key(text), now_ms).is_some();
        assert!(is_known(&key_table, "a", 100) && !is_known(&key_table, "a", 101));
        assert!(is_known(&key_table, "b", 110) && !is_known(&key_table, "b", 111));
        let user = Key { owner: KeyOwner::User(Arc::from("u")), text: "b".into() };
        assert!(key_table.recall(&user, 20).is_none());
        key_table.add(kept("b"), 115);
        assert!(key_table.trim(121), "b was used again");
        assert_eq!(key_table.keys(), 1);
        assert!(is_known(&key_table, "b", 215));
        assert!(!key_table.trim(216));
        assert_eq!(key_table.bytes(), 0);
    }
}
