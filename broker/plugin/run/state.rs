//! A plugin's state as its hooks read it: what waits for the log over what the store has kept; and the commits of its hooks. A
//! read that fails leaves the hook without an outcome.

use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rialto_plugin::host::state_entry_bytes;

use super::pending::{MembershipChange, PendingCommit, PendingWrites, merge_next};
use crate::store::{Batch, Begun, Key, KeyRecord, Scope, StateEntry, Store, StoreError};
use crate::topic::Topic;

/// How many commits of one plugin may wait for the log, and the bytes that they may write: then its next hook waits.
const COMMITS_MAX: usize = 1_024;
const COMMITS_BYTES_MAX: usize = 8 << 20;

/// Tells apart what a hook may have read: it grows whenever writes that hooks could see turn out not to be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Generation(u64);

/// The state of one plugin, in all its namespaces.
pub(crate) struct PluginState {
    store: Arc<dyn Store>,
    /// Why a read of the hook in progress failed: whatever the hook made of that, it has no outcome.
    failed: Mutex<Option<StoreError>>,
    generation: AtomicU64,
    /// How many commits are under way: while none is, nothing takes the lock.
    commits: AtomicUsize,
    pending: Mutex<PendingWrites>,
    /// Notified when a commit is complete.
    completed: Condvar,
}

impl PluginState {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            failed: Mutex::default(),
            generation: AtomicU64::new(0),
            commits: AtomicUsize::new(0),
            pending: Mutex::default(),
            completed: Condvar::new(),
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the store cannot read it; then the hook in progress has no outcome.
    pub(in crate::plugin) fn get(&self, namespace: &str, key: &str) -> Result<Option<Arc<[u8]>>, StoreError> {
        self.note(self.read_value(namespace, key))
    }

    /// The first entry from a key on, in byte order.
    ///
    /// # Errors
    /// Those of [`PluginState::get`].
    pub(in crate::plugin) fn next(&self, namespace: &str, from: Bound<&str>) -> Result<Option<StateEntry>, StoreError> {
        if !self.is_pending() {
            return self.note(self.store.next(namespace, from));
        }
        let written = |from: Bound<&str>| self.lock().next(namespace, from);
        self.note(merge_next(from, written, |from| self.store.next(namespace, from)))
    }

    /// How many bytes the keys and values of a namespace take.
    ///
    /// # Errors
    /// Those of [`PluginState::get`].
    pub(in crate::plugin) fn bytes(&self, namespace: &str) -> Result<usize, StoreError> {
        self.note(self.read_bytes(namespace))
    }

    /// What a request under way with this key will have come to.
    pub(crate) fn pending_key(&self, scope: Scope, key: &Key) -> Option<KeyRecord> {
        if self.is_pending() { self.lock().key(scope, key.clone()) } else { None }
    }

    /// What a hook that begins now may read.
    pub(crate) fn generation(&self) -> Generation {
        Generation(self.generation.load(Acquire))
    }

    /// Why a read has failed since this was asked last.
    pub(in crate::plugin) fn take_failure(&self) -> Option<StoreError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Begins a commit of what a hook has written that could read this generation. If it is under way, later hooks see it:
    /// `anticipate` makes its changes to the members, and the log's completion must call [`PluginState::complete`].
    pub(super) fn begin(
        &self,
        batch: Batch,
        generation: Generation,
        anticipate: impl FnOnce() -> Vec<MembershipChange>,
    ) -> Begun {
        if self.store.completes_at_once() {
            return self.store.begin(batch);
        }
        let state_bytes = match self.bytes_after(&batch) {
            Ok(bytes) => bytes,
            Err(error) => return Begun::Complete(Err(error)),
        };
        let mut pending = self.lock();
        if self.generation() != generation {
            let text = "a hook has read state that could not be kept".to_owned();
            return Begun::Complete(Err(StoreError::Failing(text)));
        }
        let commit = PendingCommit::of(&batch);
        let begun = self.store.begin(batch);
        if let Begun::Pending(_) = begun {
            pending.push(commit, state_bytes, anticipate());
            self.commits.store(pending.size().0, Release);
        }
        begun
    }

    /// The oldest commit under way is complete. If it is not kept, no later one is: all of them are dropped, and `undo` gets
    /// their changes to the members, newest first.
    pub(super) fn complete(&self, result: &Result<(), StoreError>, undo: impl FnOnce(Vec<MembershipChange>)) {
        let mut pending = self.lock();
        if result.is_ok() {
            pending.pop();
        } else if pending.size().0 > 0 {
            self.generation.fetch_add(1, Release);
            undo(pending.drop_all());
        }
        self.commits.store(pending.size().0, Release);
        self.completed.notify_all();
    }

    /// A session has ended that a commit under way may have removed from a topic.
    pub(super) fn forget_left(&self, topic: &Topic, session: &str) {
        if self.is_pending() {
            self.lock().forget_left(topic, session);
        }
    }

    /// Waits while too many commits are under way.
    pub(in crate::plugin) fn wait_for_room(&self) {
        self.wait_until(|(commits, bytes)| commits < COMMITS_MAX && bytes < COMMITS_BYTES_MAX);
    }

    /// Waits until no commit is under way.
    pub(crate) fn wait_until_idle(&self) {
        self.wait_until(|(commits, _)| commits == 0);
    }

    fn wait_until(&self, is_enough: impl Fn((usize, usize)) -> bool) {
        if self.is_pending() {
            let waiting = self.completed.wait_while(self.lock(), |pending| !is_enough(pending.size()));
            drop(waiting.unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn read_value(&self, namespace: &str, key: &str) -> Result<Option<Arc<[u8]>>, StoreError> {
        let written = if self.is_pending() { self.lock().value(namespace, key) } else { None };
        written.map_or_else(|| self.store.get(namespace, key), Ok)
    }

    fn read_bytes(&self, namespace: &str) -> Result<usize, StoreError> {
        let written = if self.is_pending() { self.lock().state_bytes(namespace) } else { None };
        written.map_or_else(|| self.store.state_bytes(namespace), Ok)
    }

    /// How many bytes the namespace of a batch will take with it, if the batch changes any value. Not noted as a read of the
    /// next hook, which has nothing to do with it.
    fn bytes_after(&self, batch: &Batch) -> Result<usize, StoreError> {
        let Some(writes) = batch.state.as_ref().filter(|writes| !writes.values.is_empty()) else { return Ok(0) };
        let mut bytes = self.read_bytes(&writes.namespace)?;
        for (key, value) in &writes.values {
            let before = self.read_value(&writes.namespace, key)?;
            bytes -= before.map_or(0, |before| state_entry_bytes(key, &before)).min(bytes);
            bytes += value.as_ref().map_or(0, |value| state_entry_bytes(key, value));
        }
        Ok(bytes)
    }

    fn is_pending(&self) -> bool {
        self.commits.load(Acquire) > 0
    }

    fn lock(&self) -> MutexGuard<'_, PendingWrites> {
        // Each change is finished before the lock is released, so it is whole even after a panic elsewhere.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &read {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
        }
        read
    }
}

impl fmt::Debug for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginState").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::store::Writes;
    use crate::store::model::ModelLog;

    #[test]
    fn a_read_that_fails_while_a_commit_begins_does_not_fail_the_next_hook() {
        let log = Arc::new(ModelLog::new(1, 0));
        let state = PluginState::new(Arc::clone(&log) as Arc<dyn Store>);
        let begin = |value: &str| {
            let values = [("key".to_owned(), Some(value.as_bytes().into()))].into();
            let writes = Writes { namespace: "p".into(), values, timers: Default::default() };
            state.begin(Batch { state: Some(writes), ..Batch::at(Now::default()) }, state.generation(), Vec::new)
        };
        log.fail_state_reads(true);
        assert!(matches!(begin("1"), Begun::Complete(Err(_))));
        assert_eq!(state.take_failure(), None, "the next hook has read nothing yet");
        assert!(state.get("p", "key").is_err() && state.take_failure().is_some());
        log.fail_state_reads(false);
        assert!(matches!(begin("1"), Begun::Pending(_)));
        assert_eq!((state.get("p", "key").expect("read").as_deref(), state.bytes("p")), (Some(&b"1"[..]), Ok(100)));
    }
}
