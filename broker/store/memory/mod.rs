//! The memory store: everything is gone when the process ends. It never does I/O.

mod evictions;
mod idempotency;
mod log;
mod space;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::evictions::Evictions;
use self::idempotency::KeyTable;
use self::log::Log;
use self::space::Space;
use super::{
    Account, Batch, Begun, End, KeptKey, KeptMessage, Key, KeyRecord, NamedTimer, Page, Past, Reading, Removal,
    Retention, Scope, Span, StateEntry, Store, StoreError, Writes,
};
use crate::clock::Now;
use crate::collections::parted_map::{Pace, PartedMap};
use crate::metrics::Metrics;
use crate::topic::Topic;

/// How many recently used holders one eviction skips before it evicts one of them all the same: this bounds the time that a
/// commit takes.
const SKIPPED_MAX: usize = 64;

/// State, messages and keys in memory. What messages take together is bounded here; what keys take, by the shares that they
/// come with; of state, each plugin's.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    bytes_max: AtomicUsize,
    metrics: Arc<Metrics>,
    spaces: Mutex<BTreeMap<Arc<str>, Space>>,
    logs: PartedMap<Topic, Log>,
    key_tables: PartedMap<Scope, KeyTable>,
    /// Bytes of all logs.
    bytes: AtomicUsize,
    evictions: Mutex<Evictions>,
}

impl MemoryStore {
    /// A store whose messages take at most so much memory.
    pub(crate) fn new(bytes_max: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            bytes_max: AtomicUsize::new(bytes_max),
            metrics,
            spaces: Mutex::default(),
            logs: PartedMap::new(),
            key_tables: PartedMap::new(),
            bytes: AtomicUsize::new(0),
            evictions: Mutex::default(),
        }
    }

    fn keep(&self, kept: KeptMessage, now_ms: u64) {
        let topic = kept.message.topic.clone();
        let account = Arc::clone(&kept.account);
        let is_new = match self.logs.part(&topic).get_mut(&topic) {
            Some(mut log) => {
                self.change_log(&mut log, |log| log.push(kept, now_ms));
                false
            }
            None => {
                let mut log = Log::before(&kept, now_ms);
                log.push(kept, now_ms);
                self.count(&log, (0, 0));
                self.logs.part(&topic).insert(topic.clone(), log);
                true
            }
        };
        if is_new {
            lock(&self.evictions).add(&account, now_ms, topic);
        }
    }

    fn remove(&self, removal: &Removal) {
        let Some(mut log) = self.logs.part(&removal.topic).get_mut(&removal.topic) else { return };
        if self.change_log(&mut log, |log| log.remove(&removal.epoch, removal.offset)) {
            removal.set_kept();
        }
    }

    fn remember(&self, kept: KeptKey, now_ms: u64) {
        let mut key_table = self.key_tables.part(&kept.scope).entry(kept.scope.clone()).or_default();
        let before = (key_table.bytes(), key_table.keys());
        key_table.trim(now_ms);
        key_table.add(kept, now_ms);
        self.count_keys(&key_table, before);
    }

    /// Changes a log, and counts what it takes afterwards.
    fn change_log<T>(&self, log: &mut Log, change: impl FnOnce(&mut Log) -> T) -> T {
        let before = (log.bytes(), log.messages());
        let changed = change(log);
        self.count(log, before);
        changed
    }

    /// Counts the bytes and messages of a log, instead of those before.
    fn count(&self, log: &Log, (bytes, messages): (usize, usize)) {
        self.metrics.history_messages.change(messages, log.messages());
        self.change_bytes(log.account(), bytes, log.bytes());
    }

    fn change_bytes(&self, account: &Account, before: usize, after: usize) {
        if after >= before {
            self.bytes.fetch_add(after - before, AcqRel);
        } else {
            self.bytes.fetch_sub(before - after, AcqRel);
        }
        account.change(before, after);
        self.metrics.history_bytes.change(before, after);
    }

    fn uncount_log(&self, log: &Log) {
        self.metrics.history_messages.change(log.messages(), 0);
        self.change_bytes(log.account(), log.bytes(), 0);
    }

    fn count_keys(&self, key_table: &KeyTable, (bytes, keys): (usize, usize)) {
        self.metrics.keys.change(keys, key_table.keys());
        self.metrics.key_bytes.change(bytes, key_table.bytes());
    }

    /// Evicts logs until all together take no more than the limit.
    fn make_room(&self) {
        let mut skipped = 0;
        while self.bytes.load(Acquire) > self.bytes_max.load(Acquire) {
            let candidate = {
                let mut evictions = lock(&self.evictions);
                if evictions.is_apart {
                    return;
                }
                let Some(candidate) = evictions.next() else { return };
                candidate
            };
            if candidate.is_only {
                let shrank = self.halve(&candidate.topic);
                if self.logs.part(&candidate.topic).contains_key(&candidate.topic) {
                    lock(&self.evictions).put_back(candidate);
                }
                if !shrank {
                    return;
                }
                continue;
            }
            let used_ms = self.logs.part(&candidate.topic).get(&candidate.topic).map(|log| log.used_ms());
            match used_ms.filter(|used_ms| *used_ms > candidate.looked_ms && skipped < SKIPPED_MAX) {
                Some(used_ms) => {
                    skipped += 1;
                    lock(&self.evictions).add(&candidate.account, used_ms, candidate.topic);
                }
                None => self.drop_log(&candidate.topic),
            }
        }
    }

    fn drop_log(&self, topic: &Topic) {
        if let Some((_, log)) = self.logs.part(topic).remove(topic) {
            self.uncount_log(&log);
            self.metrics.histories_dropped.add(1);
        }
    }

    /// Evicts the older half of the only log of an account, or all of one that has a single message, unless it is the only one of
    /// all. Returns whether that freed anything.
    fn halve(&self, topic: &Topic) -> bool {
        let is_only_of_all = lock(&self.evictions).has_none();
        let Some(mut log) = self.logs.part(topic).get_mut(topic) else { return true };
        let shrank = self.change_log(&mut log, Log::halve);
        drop(log);
        if !shrank && !is_only_of_all {
            self.drop_log(topic);
            return true;
        }
        shrank
    }
}

impl super::Log for MemoryStore {
    fn completes_at_once(&self) -> bool {
        true
    }

    fn begin(&self, batch: Batch) -> Begun {
        let Batch { state, messages, removals, keys, now: Now { monotonic_ms: now_ms, .. } } = batch;
        // Nothing here can fail, so a batch that was begun is finished.
        if let Some(Writes { namespace, values, timers }) = state
            && !(values.is_empty() && timers.is_empty())
        {
            let mut spaces = lock(&self.spaces);
            let space = spaces.entry(Arc::clone(&namespace)).or_default();
            space.write(values, timers);
            if space.is_empty() {
                spaces.remove(&namespace);
            }
        }
        for kept in messages {
            self.keep(kept, now_ms);
        }
        for removal in &removals {
            self.remove(removal);
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
        Ok(self.logs.part(topic).get(topic).map(|log| log.end()))
    }

    fn begin_read(&self, topic: &Topic, span: Span, page: Page, now: Now) -> Reading {
        let Some(mut log) = self.logs.part(topic).get_mut(topic) else { return Reading::Complete(Ok(Past::default())) };
        let before = (log.bytes(), log.messages());
        log.trim(now.monotonic_ms);
        self.count(&log, before);
        Reading::Complete(Ok(log.read(span, page)))
    }

    fn recall(&self, scope: &Scope, key: &Key, now: Now) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.key_tables.part(scope).get(scope).and_then(|key_table| key_table.recall(key, now.monotonic_ms)))
    }

    fn forget_old(&self, now: Now) {
        let (now_ms, pace) = (now.monotonic_ms, &mut Pace::new());
        let mut is_any_gone = false;
        self.logs.retain(pace, |_, log| {
            let stays = self.change_log(log, |log| log.trim(now_ms));
            if !stays {
                self.uncount_log(log);
                is_any_gone = true;
            }
            stays
        });
        self.key_tables.retain(pace, |_, key_table| {
            let before = (key_table.bytes(), key_table.keys());
            let stays = key_table.trim(now_ms);
            self.count_keys(key_table, before);
            stays
        });
        if !is_any_gone {
            return;
        }
        // Those that are gone must not stand in line for ever; one that came back meanwhile stands there once more.
        let mut lines = lock(&self.evictions).part();
        for line in &mut lines {
            line.logs.retain(|(_, topic)| self.logs.part(topic).contains_key(topic));
        }
        lock(&self.evictions).join(lines);
        // What was kept meanwhile has made none.
        self.make_room();
    }

    fn set_retention(&self, topic: &Topic, retention: Option<Retention>, now: Now) {
        let Some(mut log) = self.logs.part(topic).get_mut(topic) else { return };
        self.change_log(&mut log, |log| log.set_retention(retention, now.monotonic_ms));
    }

    fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Release);
        self.make_room();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is changed by plain inserts and removals only, so it is whole even after a panic elsewhere.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

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
        assert!(lock(&store.evictions).has_none());
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
