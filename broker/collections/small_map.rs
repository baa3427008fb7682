//! A map of any size that takes little memory while it has few entries. It knows nothing of what it holds.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// How many entries are still a list: looking through them takes no longer than hashing.
const LIST_MAX: usize = 8;

/// A map whose first entries are a plain list, without room for more; a table takes 100 bytes for the first entry.
#[derive(Debug)]
#[allow(clippy::box_collection, reason = "a table would take 24 bytes more of every map, a list included")]
pub(crate) enum SmallMap<K, V, S = RandomState> {
    List(Vec<(K, V)>),
    Table(Box<HashMap<K, V, S>>),
}

impl<K: Eq + Hash, V, S: BuildHasher + Default> SmallMap<K, V, S> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Table(table) => table.len(),
        }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::List(list) => list.iter().find(|(own, _)| own.borrow() == key).map(|(_, value)| value),
            Self::Table(table) => table.get(key),
        }
    }

    pub(crate) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::List(list) => list.iter_mut().find(|(own, _)| own.borrow() == key).map(|(_, value)| value),
            Self::Table(table) => table.get_mut(key),
        }
    }

    /// All keys, in any order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        let (list, table) = match self {
            Self::List(list) => (&list[..], None),
            Self::Table(table) => (&[][..], Some(table.keys())),
        };
        list.iter().map(|(key, _)| key).chain(table.into_iter().flatten())
    }

    /// Adds an entry, whose key must not be there yet.
    pub(crate) fn add(&mut self, key: K, value: V) {
        if let Self::List(list) = self
            && list.len() == LIST_MAX
        {
            *self = Self::Table(Box::new(list.drain(..).collect()));
        }
        match self {
            Self::List(list) => {
                list.reserve_exact(1);
                list.push((key, value));
            }
            Self::Table(table) => {
                table.insert(key, value);
            }
        }
    }

    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let removed = match self {
            Self::List(list) => {
                let place = list.iter().position(|(own, _)| own.borrow() == key)?;
                Some(list.swap_remove(place).1)
            }
            Self::Table(table) => table.remove(key),
        };
        self.shrink();
        removed
    }

    /// Takes all entries out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (K, V)> {
        let (list, table) = match std::mem::take(self) {
            Self::List(list) => (list, None),
            Self::Table(table) => (Vec::new(), Some(*table)),
        };
        list.into_iter().chain(table.into_iter().flatten())
    }

    /// Releases unused memory. A table becomes a list with hysteresis, so that it does not change back and forth.
    fn shrink(&mut self) {
        match self {
            Self::List(list) => list.shrink_to_fit(),
            Self::Table(table) if table.len() <= LIST_MAX / 2 => {
                let mut list: Vec<(K, V)> = table.drain().collect();
                list.shrink_to_fit();
                *self = Self::List(list);
            }
            Self::Table(_) => {}
        }
    }
}

impl<K, V, S> Default for SmallMap<K, V, S> {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_whatever_their_number() {
        let mut map = SmallMap::<u32, u32>::default();
        for key in 0..30 {
            assert_eq!((map.len(), map.get(&key)), (key as usize, None));
            map.add(key, key + 100);
            for there in 0..=key {
                assert_eq!(map.get(&there), Some(&(there + 100)));
                assert_eq!(map.get_mut(&there), Some(&mut (there + 100)));
                assert_eq!(map.keys().filter(|key| **key == there).count(), 1);
            }
        }
        (1..30).step_by(2).for_each(|key| assert_eq!(map.remove(&key), Some(key + 100)));
        assert_eq!((map.len(), map.get(&7), map.get(&8)), (15, None, Some(&108)));
        for key in 0..30 {
            assert_eq!(map.remove(&key), (key % 2 == 0).then_some(key + 100));
        }
        assert_eq!(map.len(), 0);
    }

    #[test]
    fn removed_entries_take_no_memory() {
        let mut map = SmallMap::<u32, u32>::default();
        (0..1_000).for_each(|key| map.add(key, key));
        assert!(matches!(map, SmallMap::Table(_)));
        (1..1_000).for_each(|key| assert_eq!(map.remove(&key), Some(key)));
        assert!(matches!(&map, SmallMap::List(list) if list.capacity() == 1));
        let all: Vec<(u32, u32)> = map.drain().collect();
        assert_eq!(all, [(0, 0)]);
    }
}
