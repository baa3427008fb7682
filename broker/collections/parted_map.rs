//! A concurrent map in many small parts: a walk over all of it, on a thread beside those that serve, holds up nobody for long.

use std::borrow::Borrow;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::time::{Duration, Instant};

use dashmap::DashMap;

/// With a hundred thousand entries a part has some hundreds, and a lock in it a hundred.
const PARTS: usize = 256;
const LOCKS: usize = 4;

/// After so much work a walk rests. Where there are more threads than processors, the system would otherwise let it go on for
/// milliseconds while others wait.
const WORK: Duration = Duration::from_micros(200);
const REST: Duration = Duration::from_millis(1);

/// The map.
#[derive(Debug)]
pub(crate) struct PartedMap<K: Eq + Hash, V> {
    hasher: RandomState,
    parts: Box<[DashMap<K, V>]>,
}

/// The pace of a walk: work, and rests between.
pub(crate) struct Pace {
    rested: Instant,
}

impl<K: Eq + Hash, V> PartedMap<K, V> {
    pub(crate) fn new() -> Self {
        let part = |_| DashMap::with_shard_amount(LOCKS);
        Self { hasher: RandomState::new(), parts: (0..PARTS).map(part).collect() }
    }

    /// The part with a key, if the map has the key.
    pub(crate) fn part<Q: Hash + ?Sized>(&self, key: &Q) -> &DashMap<K, V>
    where
        K: Borrow<Q>,
    {
        &self.parts[self.hasher.hash_one(key) as usize % PARTS]
    }

    /// Keeps what `stays` says of each entry; rests now and then. Locks are held meanwhile, but not while it rests.
    pub(crate) fn retain(&self, pace: &mut Pace, mut stays: impl FnMut(&K, &mut V) -> bool) {
        for part in &self.parts {
            part.retain(&mut stays);
            pace.rest();
        }
    }

    /// Gives memory back when less than an eighth of the room for so many entries is used.
    pub(crate) fn shrink(&self, sparse_min: usize, pace: &mut Pace) {
        let (mut used, mut room) = (0, 0);
        for part in &self.parts {
            used += part.len();
            room += part.capacity();
        }
        if room <= sparse_min || used >= room / 8 {
            return;
        }
        for part in &self.parts {
            part.shrink_to_fit();
            pace.rest();
        }
    }

    /// All entries, part by part. A lock is held meanwhile.
    pub(crate) fn iter(&self) -> impl Iterator<Item = dashmap::mapref::multiple::RefMulti<'_, K, V>> {
        self.parts.iter().flat_map(DashMap::iter)
    }
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { rested: Instant::now() }
    }

    /// Rests if it is time.
    pub(crate) fn rest(&mut self) {
        if self.rested.elapsed() >= WORK {
            std::thread::sleep(REST);
            self.rested = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_are_walked_and_none_is_large() {
        let map = PartedMap::new();
        for number in 0..100_000_u32 {
            map.part(&number).insert(number, number);
        }
        assert!(map.parts.iter().all(|part| part.len() < 2 * 100_000 / PARTS));
        assert_eq!(map.iter().count(), 100_000);
        map.retain(&mut Pace::new(), |_, number| *number % 100 == 0);
        assert_eq!(map.iter().count(), 1_000);
        assert!((0..100_000).all(|number| map.part(&number).contains_key(&number) == (number % 100 == 0)));
        map.shrink(1_000, &mut Pace::new());
        assert!(map.parts.iter().map(DashMap::capacity).sum::<usize>() < 50_000);
    }
}
