//! A store that keeps nothing whenever a test says so: what a full disk looks like from above.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};

use super::{
    Batch, Begun, End, Key, KeyRecord, Log, MemoryStore, NamedTimer, Page, Reading, Retention, Scope, Span, StateEntry,
    Store, StoreError,
};
use crate::clock::Now;
use crate::topic::Topic;

/// A store in memory whose next commits fail.
#[derive(Debug)]
pub(crate) struct FailingStore {
    within: MemoryStore,
    failures: AtomicUsize,
}

impl FailingStore {
    pub(crate) fn new() -> Self {
        Self { within: MemoryStore::new(1 << 20, Arc::default()), failures: AtomicUsize::new(0) }
    }

    /// Lets so many commits fail from now on.
    pub(crate) fn fail(&self, commits: usize) {
        self.failures.store(commits, Release);
    }
}

impl Log for FailingStore {
    fn completes_at_once(&self) -> bool {
        true
    }

    fn begin(&self, batch: Batch) -> Begun {
        let left = self.failures.load(Acquire);
        if left > 0 {
            self.failures.fetch_sub(1, AcqRel);
            return Begun::Complete(Err(StoreError::Failing("a test wants it so".to_owned())));
        }
        self.within.begin(batch)
    }
}

impl Store for FailingStore {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<Arc<[u8]>>, StoreError> {
        self.within.get(namespace, key)
    }

    fn next(&self, namespace: &str, from: Bound<&str>) -> Result<Option<StateEntry>, StoreError> {
        self.within.next(namespace, from)
    }

    fn state_bytes(&self, namespace: &str) -> Result<usize, StoreError> {
        self.within.state_bytes(namespace)
    }

    fn timers(&self, namespace: &str) -> Result<Vec<NamedTimer>, StoreError> {
        self.within.timers(namespace)
    }

    fn end(&self, topic: &Topic) -> Result<Option<End>, StoreError> {
        self.within.end(topic)
    }

    fn begin_read(&self, topic: &Topic, span: Span, page: Page, now: Now) -> Reading {
        self.within.begin_read(topic, span, page, now)
    }

    fn recall(&self, scope: &Scope, key: &Key, now: Now) -> Result<Option<KeyRecord>, StoreError> {
        self.within.recall(scope, key, now)
    }

    fn forget_old(&self, now: Now) {
        self.within.forget_old(now);
    }

    fn set_retention(&self, topic: &Topic, retention: Option<Retention>, now: Now) {
        self.within.set_retention(topic, retention, now);
    }

    fn set_bytes_max(&self, bytes_max: usize) {
        self.within.set_bytes_max(bytes_max);
    }
}
