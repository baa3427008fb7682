//! The memory store: everything is gone when the process ends. It never does I/O.

mod idempotency;
mod log;
mod space;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;

use self::idempotency::KeyTable;
use self::log::Log;
use self::space::Space;
use super::{
    Batch, Begun, End, KeptKey, KeptMessage, Key, KeyRecord, NamedTimer, Page, Past, Reading, Scope, Span, StateEntry,
    Store, StoreError, Writes,
};
use crate::clock::Now;
use crate::metrics::Metrics;
use crate::topic::Topic;

/// How many recently used holders one eviction skips before it evicts one of them all the same: this bounds the time that a
/// commit takes.
const SKIPPED_MAX: usize = 64;

/// State, messages and keys in memory. What messages and keys take together is bounded; of state, each plugin's.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    bytes_max: usize,
    metrics: Arc<Metrics>,
    spaces: Mutex<BTreeMap<Arc<str>, Space>>,
    logs: DashMap<Topic, Log>,
    key_tables: DashMap<Scope, KeyTable>,
    bytes: AtomicUsize,
    /// The holders in the order of eviction, the least recently used first, each with the time at which it was last checked.
    evictions: Mutex<EvictionQueue>,
}

/// The holders that may be evicted.
#[derive(Debug, Default)]
struct EvictionQueue {
    holders: VecDeque<(u64, Holder)>,
    /// Whether only the newest holders are here, because the others are being checked: nothing is evicted meanwhile.
    is_apart: bool,
}

/// The log of a topic or a table of keys: takes memory and may be evicted.
#[derive(Clone, Debug)]
enum Holder {
    Log(Topic),
    KeyTable(Scope),
}

impl MemoryStore {
    /// A store whose messages and keys take at most so much memory.
    pub(crate) fn new(bytes_max: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            bytes_max,
            metrics,
            spaces: Mutex::default(),
            logs: DashMap::new(),
            key_tables: DashMap::new(),
            bytes: AtomicUsize::new(0),
            evictions: Mutex::default(),
        }
    }

    fn keep(&self, kept: KeptMessage, now_ms: u64) {
        let topic = kept.message.topic.clone();
        let (before, after, is_new) = match self.logs.get_mut(&topic) {
            Some(mut log) => {
                let before = (log.bytes(), log.messages());
                log.push(kept, now_ms);
                (before, (log.bytes(), log.messages()), false)
            }
            None => {
                let mut log = Log::before(&kept, now_ms);
                log.push(kept, now_ms);
                let after = (log.bytes(), log.messages());
                self.logs.insert(topic.clone(), log);
                ((0, 0), after, true)
            }
        };
        self.metrics.history_messages.change(before.1, after.1);
        self.count(before.0, after.0);
        if is_new {
            lock(&self.evictions).holders.push_back((now_ms, Holder::Log(topic)));
        }
    }

    fn remember(&self, kept: KeptKey, now_ms: u64) {
        let scope = kept.scope.clone();
        let (before, after, is_new) = match self.key_tables.entry(scope.clone()) {
            Slot::Occupied(mut there) => {
                let key_table = there.get_mut();
                let before = (key_table.bytes(), key_table.keys());
                key_table.trim(now_ms);
                key_table.add(kept, now_ms);
                (before, (key_table.bytes(), key_table.keys()), false)
            }
            Slot::Vacant(free) => {
                let mut key_table = KeyTable::default();
                key_table.add(kept, now_ms);
                let after = (key_table.bytes(), key_table.keys());
                free.insert(key_table);
                ((0, 0), after, true)
            }
        };
        self.metrics.keys.change(before.1, after.1);
        self.count(before.0, after.0);
        if is_new {
            lock(&self.evictions).holders.push_back((now_ms, Holder::KeyTable(scope)));
        }
    }

    /// Counts the bytes that a holder takes, after a change.
    fn count(&self, before: usize, after: usize) {
        if after >= before {
            self.bytes.fetch_add(after - before, AcqRel);
        } else {
            self.bytes.fetch_sub(before - after, AcqRel);
        }
        self.metrics.history_bytes.change(before, after);
    }

    /// Evicts holders until all together take no more than the limit.
    fn make_room(&self) {
        let mut skipped = 0;
        while self.bytes.load(Acquire) > self.bytes_max {
            let (looked_ms, holder, is_only) = {
                let mut line = lock(&self.evictions);
                if line.is_apart {
                    return;
                }
                let Some((looked_ms, holder)) = line.holders.pop_front() else { return };
                (looked_ms, holder, line.holders.is_empty())
            };
            if is_only {
                let shrank = self.halve(&holder);
                lock(&self.evictions).holders.push_front((looked_ms, holder));
                if !shrank {
                    return;
                }
                continue;
            }
            match self.used_ms(&holder).filter(|used_ms| *used_ms > looked_ms && skipped < SKIPPED_MAX) {
                Some(used_ms) => {
                    skipped += 1;
                    lock(&self.evictions).holders.push_back((used_ms, holder));
                }
                None => self.drop_holder(&holder),
            }
        }
    }

    fn used_ms(&self, holder: &Holder) -> Option<u64> {
        match holder {
            Holder::Log(topic) => self.logs.get(topic).map(|log| log.used_ms()),
            Holder::KeyTable(scope) => self.key_tables.get(scope).map(|key_table| key_table.used_ms()),
        }
    }

    fn drop_holder(&self, holder: &Holder) {
        match holder {
            Holder::Log(topic) => {
                if let Some((_, log)) = self.logs.remove(topic) {
                    self.uncount_log(&log);
                    self.metrics.histories_dropped.add(1);
                }
            }
            Holder::KeyTable(scope) => {
                if let Some((_, key_table)) = self.key_tables.remove(scope) {
                    self.uncount_keys(&key_table);
                }
            }
        }
    }

    /// Evicts the older half of the only holder. Returns whether that freed anything.
    fn halve(&self, holder: &Holder) -> bool {
        let Holder::Log(topic) = holder else {
            self.drop_holder(holder);
            return true;
        };
        let Some(mut log) = self.logs.get_mut(topic) else { return false };
        let before = (log.bytes(), log.messages());
        let shrank = log.halve();
        self.metrics.history_messages.change(before.1, log.messages());
        self.count(before.0, log.bytes());
        shrank
    }

    fn uncount_log(&self, log: &Log) {
        self.metrics.history_messages.change(log.messages(), 0);
        self.count(log.bytes(), 0);
    }

    fn uncount_keys(&self, key_table: &KeyTable) {
        self.metrics.keys.change(key_table.keys(), 0);
        self.count(key_table.bytes(), 0);
    }
}

impl super::Log for MemoryStore {
    fn completes_at_once(&self) -> bool {
        true
    }

    fn begin(&self, batch: Batch) -> Begun {
        let Batch { state, messages, keys, now: Now { monotonic_ms: now_ms, .. } } = batch;
        // Nothing here can fail, so a batch that was begun is finished.
        if let Some(Writes { namespace, values, timers }) = state
            && !(values.is_empty() && timers.is_empty())
        {
            lock(&self.spaces).entry(namespace).or_default().write(values, timers);
        }
        for kept in messages {
            self.keep(kept, now_ms);
        }
        for kept in keys {
            self.remember(kept, now_ms);
        }
        self.make_room();
        Begun::Complete(Ok(()))
    }
}

impl Store for MemoryStore {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<Arc<[u8]>>, StoreError> {
        Ok(lock(&self.spaces).get(namespace).and_then(|space| space.get(key)))
    }

    fn next(&self, namespace: &str, from: Bound<&str>) -> Result<Option<StateEntry>, StoreError> {
        Ok(lock(&self.spaces).get(namespace).and_then(|space| space.next(from)))
    }

    fn state_bytes(&self, namespace: &str) -> Result<usize, StoreError> {
        Ok(lock(&self.spaces).get(namespace).map_or(0, Space::bytes))
    }

    fn timers(&self, namespace: &str) -> Result<Vec<NamedTimer>, StoreError> {
        let spaces = lock(&self.spaces);
        let is_within =
            |name: &str| name.strip_prefix(namespace).is_some_and(|rest| matches!(rest.as_bytes(), [] | [b'/', ..]));
        let within = spaces.range::<str, _>((Bound::Included(namespace), Bound::Unbounded));
        let within = within.take_while(|(name, _)| name.starts_with(namespace)).filter(|(name, _)| is_within(name));
        let named = |(name, space): (&Arc<str>, &Space)| {
            let name = Arc::clone(name);
            space.timers().map(move |(timer, kept)| (Arc::clone(&name), timer, kept)).collect::<Vec<_>>()
        };
        Ok(within.flat_map(named).collect())
    }

    fn end(&self, topic: &Topic) -> Result<Option<End>, StoreError> {
        Ok(self.logs.get(topic).map(|log| log.end()))
    }

    fn begin_read(&self, topic: &Topic, span: Span, page: Page, now: Now) -> Reading {
        let Some(mut log) = self.logs.get_mut(topic) else { return Reading::Complete(Ok(Past::default())) };
        let before = (log.bytes(), log.messages());
        log.trim(now.monotonic_ms);
        self.metrics.history_messages.change(before.1, log.messages());
        self.count(before.0, log.bytes());
        Reading::Complete(Ok(log.read(span, page)))
    }

    fn recall(&self, scope: &Scope, key: &Key, now: Now) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.key_tables.get(scope).and_then(|key_table| key_table.recall(key, now.monotonic_ms)))
    }

    fn forget_old(&self, now: Now) {
        let now_ms = now.monotonic_ms;
        self.logs.retain(|_, log| {
            let before = (log.bytes(), log.messages());
            let stays = log.trim(now_ms);
            self.metrics.history_messages.change(before.1, log.messages());
            self.count(before.0, log.bytes());
            if !stays {
                self.uncount_log(log);
            }
            stays
        });
        self.key_tables.retain(|_, key_table| {
            let before = (key_table.bytes(), key_table.keys());
            let stays = key_table.trim(now_ms);
            self.metrics.keys.change(before.1, key_table.keys());
            self.count(before.0, key_table.bytes());
            stays
        });
        // Those that are gone must not stand in line for ever; one that came back meanwhile stands there once more.
        let line = {
            let mut line = lock(&self.evictions);
            line.is_apart = true;
            std::mem::take(&mut line.holders)
        };
        let left = line.into_iter().filter(|(_, holder)| self.used_ms(holder).is_some());
        let mut left: VecDeque<(u64, Holder)> = left.collect();
        {
            let mut line = lock(&self.evictions);
            left.append(&mut line.holders);
            *line = EvictionQueue { holders: left, is_apart: false };
        }
        // What was kept meanwhile has made none.
        self.make_room();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is changed by plain inserts and removals only, so it is whole even after a panic elsewhere.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Release};

    use super::*;
    use crate::store::Log as _;
    use crate::store::conformance::{self, at};

    #[test]
    fn keeps_to_what_every_store_promises() {
        conformance::check(|bytes_max| Arc::new(MemoryStore::new(bytes_max, Arc::default())));
    }

    #[test]
    fn who_was_used_longest_ago_gives_way_and_nothing_is_left_behind() {
        let metrics = Arc::new(Metrics::default());
        let store = MemoryStore::new(150_000, Arc::clone(&metrics));
        let topics: Vec<Topic> = (0..20).map(|index| conformance::topic(&format!("t{index}"))).collect();
        for (now_ms, topic) in topics.iter().enumerate() {
            store.commit(conformance::message(topic, "e", 1, 2_000, now_ms as u64)).expect("kept");
        }
        // The first is used again and stays, the second has to go.
        let mut offset = 1;
        while store.end(&topics[1]).expect("read").is_some() {
            offset += 1;
            store.commit(conformance::message(&topics[0], "e", offset, 2_000, 100 + offset)).expect("kept");
        }
        assert!(store.end(&topics[0]).expect("read").is_some_and(|end| end.last == offset));
        assert!(metrics.snapshot().history_bytes <= 150_000);
        assert!(metrics.snapshot().histories_dropped_total > 0);
        // One that alone takes too much loses its older half, again and again.
        for offset in 1..200 {
            store.commit(conformance::message(&topics[5], "other", offset, 2_000, 1_000 + offset)).expect("kept");
            assert!(metrics.snapshot().history_bytes <= 150_000);
        }
        let past = store.read(&topics[5], Span::After(0), conformance::ALL, at(1_200)).expect("read");
        assert_eq!(past.messages.last().map(|message| message.offset), Some(199));
        store.forget_old(at(u64::MAX / 2));
        let counted = metrics.snapshot();
        assert_eq!((counted.history_bytes, counted.history_messages, counted.keys), (0, 0, 0));
        assert!(lock(&store.evictions).holders.is_empty());
        assert_eq!(store.bytes.load(Acquire), 0);
    }

    #[test]
    fn what_was_just_kept_does_not_give_way_while_the_old_is_forgotten() {
        let store = MemoryStore::new(2_000_000, Arc::default());
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Acquire) {
                    store.forget_old(at(0));
                }
            });
            let mut lost = 0;
            for now_ms in 1..=6_000 {
                let topic = conformance::topic(&format!("t{now_ms}"));
                store.commit(conformance::message(&topic, "e", 1, 100, now_ms)).expect("kept");
                store.commit(conformance::message(&topic, "e", 2, 100, now_ms)).expect("kept");
                let past = store.read(&topic, Span::After(0), conformance::ALL, at(now_ms)).expect("read");
                lost += 2 - past.messages.len();
            }
            is_over.store(true, Release);
            assert_eq!(lost, 0, "of the newest messages");
        });
        store.forget_old(at(0));
        assert!(store.bytes.load(Acquire) <= 2_000_000);
    }
}
