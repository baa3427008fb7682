//! The state of one namespace in memory: keys with their values in byte order, how much they take, and timers.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use rialto_plugin::host::state_entry_bytes;

use crate::store::KeptTimer;

/// Entries of one namespace.
#[derive(Debug, Default)]
pub(super) struct Space {
    entries: BTreeMap<String, Arc<[u8]>>,
    bytes: usize,
    timers: BTreeMap<String, KeptTimer>,
}

impl Space {
    pub(super) fn get(&self, key: &str) -> Option<Arc<[u8]>> {
        self.entries.get(key).cloned()
    }

    pub(super) fn next(&self, from: Bound<&str>) -> Option<(String, Arc<[u8]>)> {
        let (key, value) = self.entries.range::<str, _>((from, Bound::Unbounded)).next()?;
        Some((key.clone(), value.clone()))
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is no entry and no timer.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.timers.is_empty()
    }

    pub(super) fn timers(&self) -> impl Iterator<Item = (String, KeptTimer)> {
        self.timers.iter().map(|(name, timer)| (name.clone(), timer.clone()))
    }

    pub(super) fn write(
        &mut self,
        values: BTreeMap<String, Option<Arc<[u8]>>>,
        timers: BTreeMap<String, Option<KeptTimer>>,
    ) {
        for (name, timer) in timers {
            match timer {
                Some(timer) => self.timers.insert(name, timer),
                None => self.timers.remove(&name),
            };
        }
        for (key, value) in values {
            if let Some(old) = self.entries.get(&key) {
                self.bytes -= state_entry_bytes(&key, old);
            }
            match value {
                Some(value) => {
                    self.bytes += state_entry_bytes(&key, &value);
                    self.entries.insert(key, value);
                }
                None => drop(self.entries.remove(&key)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_the_entries() {
        let mut space = Space::default();
        for (writes, bytes) in [
            (&[("ab", Some("123")), ("c", Some(""))][..], 2 * 96 + 6),
            (&[("ab", Some("1"))], 2 * 96 + 4),
            (&[("c", None), ("nothing", None)], 96 + 3),
            (&[("ab", None)], 0),
        ] {
            let write =
                |(key, value): &(&str, Option<&str>)| ((*key).to_owned(), value.map(|value| value.as_bytes().into()));
            space.write(writes.iter().map(write).collect(), BTreeMap::new());
            assert_eq!((space.bytes(), space.is_empty()), (bytes, bytes == 0));
        }
    }
}
