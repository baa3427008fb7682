//! A log for tests that delays commits and reads, fails, and answers in doubt, all from a seed. What it keeps is in memory.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::log::{Completer, Ticket};
use super::model_random::ModelRandom;
use super::model_reads::ModelReads;
use super::{
    Batch, Begun, End, Key, KeyRecord, Log, MemoryStore, NamedTimer, Page, Reading, Retention, Scope, Span, StateEntry,
    Store, StoreError,
};
use crate::clock::Now;
use crate::topic::Topic;

/// How many commits may wait.
const QUEUE_MAX: usize = 64;

/// A log that completes commits when [`ModelLog::turn`] is called, and by its seed not always well.
#[derive(Debug)]
pub(crate) struct ModelLog {
    kept: MemoryStore,
    queue: Mutex<Queue>,
    reads: ModelReads,
    /// Whether reads of values fail.
    state_reads_fail: AtomicBool,
}

#[derive(Debug)]
struct Queue {
    random: ModelRandom,
    waiting: VecDeque<(Batch, Completer)>,
    /// Of eight commits, so many fail.
    failures: u64,
    /// Since a commit has failed, until everything behind it has been completed.
    is_failing: bool,
    /// A commit whose answer was lost and which is kept: reads find it once the log has taken another one.
    in_doubt: Option<Batch>,
    /// Whether the next commit is kept and its answer lost, whatever the seed says.
    loses_next: bool,
}

impl ModelLog {
    pub(crate) fn new(seed: u64, failures: u64) -> Self {
        Self::with_room(1 << 24, seed, failures)
    }

    /// The same, whose messages and keys may take so many bytes.
    fn with_room(bytes_max: usize, seed: u64, failures: u64) -> Self {
        let queue = Queue {
            random: ModelRandom::new(seed),
            waiting: VecDeque::new(),
            failures,
            is_failing: false,
            in_doubt: None,
            loses_next: false,
        };
        let reads = ModelReads::default();
        Self {
            kept: MemoryStore::new(bytes_max, Arc::default()),
            queue: Mutex::new(queue),
            reads,
            state_reads_fail: AtomicBool::new(false),
        }
    }

    /// Lets the reads of values fail from now on, or not.
    pub(crate) fn fail_state_reads(&self, fail: bool) {
        self.state_reads_fail.store(fail, Release);
    }

    /// Lets so many of eight commits fail from now on.
    pub(crate) fn set_failures(&self, failures: u64) {
        self.lock().failures = failures;
    }

    /// The same with reads that by the seed complete late, and fail.
    pub(crate) fn with_reads(mut self, reads: ModelReads) -> Self {
        self.reads = reads;
        self
    }

    pub(crate) fn reads(&self) -> &ModelReads {
        &self.reads
    }

    /// Completes one read, if one waits that may complete. Whether one did.
    pub(crate) fn read_turn(&self) -> bool {
        self.reads.turn(&self.kept)
    }

    /// Keeps the next commit and loses its answer.
    pub(crate) fn lose_next_answer(&self) {
        self.lock().loses_next = true;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes one commit, if one waits. Whether one did.
    pub(crate) fn turn(&self) -> bool {
        let mut queue = self.lock();
        let Some((batch, completer)) = queue.waiting.pop_front() else {
            queue.is_failing = false;
            return false;
        };
        let loses = std::mem::take(&mut queue.loses_next);
        let fails = !queue.is_failing && (loses || queue.random.next() % 8 < queue.failures);
        let result = if queue.is_failing {
            Err(StoreError::Failing("a commit before it was not kept".to_owned()))
        } else if fails {
            queue.is_failing = true;
            let kind = if loses { 3 } else { queue.random.next() % 4 };
            match kind {
                0 => Err(StoreError::Full("the model says so".to_owned())),
                1 => Err(StoreError::Failing("the model says so".to_owned())),
                // In doubt: the answer is lost, whatever became of the commit.
                2 => Err(StoreError::Unknown("the answer was lost".to_owned())),
                _ => {
                    queue.in_doubt = Some(batch);
                    Err(StoreError::Unknown("the answer was lost".to_owned()))
                }
            }
        } else {
            self.kept.commit(batch)
        };
        drop(queue);
        completer.complete(result);
        let mut queue = self.lock();
        if queue.waiting.is_empty() {
            queue.is_failing = false;
        }
        true
    }
}

impl Log for ModelLog {
    fn completes_at_once(&self) -> bool {
        false
    }

    fn begin(&self, batch: Batch) -> Begun {
        let mut queue = self.lock();
        if queue.is_failing {
            return Begun::Complete(Err(StoreError::Failing("commits before it were not kept".to_owned())));
        }
        if queue.waiting.len() >= QUEUE_MAX {
            return Begun::Complete(Err(StoreError::Busy));
        }
        if let Some(kept) = queue.in_doubt.take() {
            self.kept.commit(kept).expect("memory keeps everything");
        }
        let (ticket, completer) = Ticket::new();
        queue.waiting.push_back((batch, completer));
        Begun::Pending(ticket)
    }
}

impl Store for ModelLog {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<Arc<[u8]>>, StoreError> {
        if self.state_reads_fail.load(Acquire) {
            return Err(StoreError::Failing("the model says so".to_owned()));
        }
        self.kept.get(namespace, key)
    }

    fn next(&self, namespace: &str, from: Bound<&str>) -> Result<Option<StateEntry>, StoreError> {
        self.kept.next(namespace, from)
    }

    fn state_bytes(&self, namespace: &str) -> Result<usize, StoreError> {
        self.kept.state_bytes(namespace)
    }

    fn timers(&self, namespace: &str) -> Result<Vec<NamedTimer>, StoreError> {
        self.kept.timers(namespace)
    }

    fn end(&self, topic: &Topic) -> Result<Option<End>, StoreError> {
        self.kept.end(topic)
    }

    fn begin_read(&self, topic: &Topic, span: Span, page: Page, now: Now) -> Reading {
        self.reads.begin(&self.kept, topic, span, page, now)
    }

    fn recall(&self, scope: &Scope, key: &Key, now: Now) -> Result<Option<KeyRecord>, StoreError> {
        self.kept.recall(scope, key, now)
    }

    fn forget_old(&self, now: Now) {
        self.kept.forget_old(now);
    }

    fn set_retention(&self, topic: &Topic, retention: Option<Retention>, now: Now) {
        self.kept.set_retention(topic, retention, now);
    }

    fn set_bytes_max(&self, bytes_max: usize) {
        self.kept.set_bytes_max(bytes_max);
    }
}

mod tests {
    use super::*;
    use crate::store::conformance;

    #[test]
    fn keeps_to_what_every_store_promises() {
        conformance::check(|bytes_max| {
            let log = Arc::new(ModelLog::with_room(bytes_max, 1, 0));
            let driven = Arc::downgrade(&log);
            std::thread::spawn(move || {
                while let Some(log) = driven.upgrade() {
                    if !log.turn() {
                        std::thread::yield_now();
                    }
                }
            });
            log
        });
    }
}
