//! The reads of the model log: by a seed some complete late and in any order, some fail, and those of a topic may hang.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::model_random::ModelRandom;
use super::reading::ReadCompleter;
use super::{MemoryStore, Page, ReadResult, ReadTicket, Reading, Span, Store as _, StoreError};
use crate::clock::Now;
use crate::topic::Topic;

/// Reads that complete when [`ModelReads::turn`] is called. By default all complete at once.
#[derive(Debug, Default)]
pub(crate) struct ModelReads(Mutex<Reads>);

#[derive(Debug, Default)]
struct Reads {
    random: ModelRandom,
    /// Of eight reads, so many are late, and so many fail.
    late: u64,
    failures: u64,
    waiting: Vec<WaitingRead>,
    hanging: Option<Topic>,
    /// The most that ever waited.
    most: usize,
}

#[derive(Debug)]
struct WaitingRead {
    topic: Topic,
    span: Span,
    page: Page,
    now: Now,
    /// What was there when it was begun, if it sees that.
    early: Option<ReadResult>,
    completer: ReadCompleter,
}

impl ModelReads {
    pub(crate) fn new(seed: u64, late: u64, failures: u64) -> Self {
        Self(Mutex::new(Reads { random: ModelRandom::new(seed), late, failures, ..Reads::default() }))
    }

    /// Reads of this topic do not complete from now on; without one, those that hang may complete again.
    pub(crate) fn hang(&self, topic: Option<Topic>) {
        self.lock().hanging = topic;
    }

    /// How many of eight reads are late, and fail, from now on.
    pub(crate) fn set(&self, late: u64, failures: u64) {
        let mut reads = self.lock();
        (reads.late, reads.failures) = (late, failures);
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// The most that ever waited at the same time.
    pub(crate) fn most(&self) -> usize {
        self.lock().most
    }

    pub(super) fn begin(&self, kept: &MemoryStore, topic: &Topic, span: Span, page: Page, now: Now) -> Reading {
        let mut reads = self.lock();
        if reads.random.next() % 8 >= reads.late && reads.hanging.as_ref() != Some(topic) {
            return Reading::Complete(reads.result(|| kept.read(topic, span, page, now)));
        }
        let (ticket, completer) = ReadTicket::new();
        let early = reads.random.next().is_multiple_of(2).then(|| kept.read(topic, span, page, now));
        reads.waiting.push(WaitingRead { topic: topic.clone(), span, page, now, early, completer });
        reads.most = reads.most.max(reads.waiting.len());
        Reading::Pending(ticket)
    }

    pub(super) fn turn(&self, kept: &MemoryStore) -> bool {
        let mut reads = self.lock();
        let may = |waiting: &WaitingRead, hanging: Option<&Topic>| hanging != Some(&waiting.topic);
        let able: Vec<usize> =
            (0..reads.waiting.len()).filter(|place| may(&reads.waiting[*place], reads.hanging.as_ref())).collect();
        if able.is_empty() {
            return false;
        }
        let place = able[reads.random.next() as usize % able.len()];
        let WaitingRead { topic, span, page, now, early, completer } = reads.waiting.swap_remove(place);
        let result = reads.result(|| early.unwrap_or_else(|| kept.read(&topic, span, page, now)));
        drop(reads);
        completer.complete(result);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Reads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reads {
    fn result(&mut self, read: impl FnOnce() -> ReadResult) -> ReadResult {
        match self.random.next() % 8 < self.failures {
            true => Err(StoreError::Failing("the model says so".to_owned())),
            false => read(),
        }
    }
}
