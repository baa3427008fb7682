//! The log: takes commits in their order and says later, in the same order, which of them are kept. It orders no messages itself.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Batch, StoreError};

/// Where commits go. One log is one queue: the order of `begin` is the order in which commits are kept and completed.
///
/// - A commit is kept whole or not at all, and only if everything that was begun before it is kept.
/// - When one fails, everything behind it in the queue fails with it. From then on, until the completion of the last of them has
///   returned, `begin` refuses what comes: so nothing is ever kept that was built on a commit that is not.
/// - [`StoreError::Unknown`] is an answer in doubt: the commit may be kept. Before the log takes another one it has decided that;
///   until then its reads may say either. So who needs to know begins an empty commit first.
/// - A batch with nothing in it is kept as soon as everything before it is.
/// - `begin` does not wait for the log's work, so it may be called under a topic's lock.
pub(crate) trait Log {
    /// Takes a commit into the queue, or completes or refuses it at once. A log that completes a commit at once has none under
    /// way; a refusal is possible at any time, and leaves nothing in the queue.
    fn begin(&self, batch: Batch) -> Begun;

    /// Whether `begin` completes or refuses every commit at once: then nothing is ever under way.
    fn completes_at_once(&self) -> bool;

    /// Commits and waits for that. Never to be called under a topic's lock, which the completion of an earlier commit may need.
    ///
    /// # Errors
    /// [`StoreError`], as [`Log::begin`] or the completion says.
    #[cfg(test)]
    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        match self.begin(batch) {
            Begun::Complete(result) => result,
            Begun::Pending(ticket) => ticket.wait().0,
        }
    }
}

/// What became of a commit when it was begun.
#[derive(Debug)]
#[must_use]
pub(crate) enum Begun {
    /// It is kept, or refused.
    Complete(Result<(), StoreError>),
    /// It is in the queue.
    #[cfg_attr(not(test), allow(dead_code, reason = "memory completes at once; what writes to a disk does not"))]
    Pending(Ticket),
}

/// What is done when a commit is complete: on any thread, after the completions of all commits before it.
pub(crate) type Completion = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The side of a commit in the queue that waits for it. The log does not pass the commit until it is known what to do then.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ticket(Arc<Slot>);

/// The time in which the thread that waited for a commit does what follows from it, in the log's order.
#[derive(Debug)]
#[must_use]
pub(crate) struct Turn(#[allow(dead_code, reason = "it is over when this is dropped")] SyncSender<()>);

/// The log's side of a commit in the queue.
#[derive(Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "memory completes at once; what writes to a disk does not"))]
pub(crate) struct Completer(Arc<Slot>);

#[derive(Debug, Default)]
struct Slot {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
enum Waiting {
    /// It is not known yet what to do.
    #[default]
    Open,
    Registered(Completion),
    /// There is nothing to do.
    Abandoned,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Registered(_) => "Registered",
            Self::Abandoned => "Abandoned",
        })
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, waiting: Waiting) {
        *self.lock() = waiting;
        self.changed.notify_one();
    }
}

impl Ticket {
    /// Both sides of a commit that is in the queue.
    #[cfg_attr(not(test), allow(dead_code, reason = "memory completes at once; what writes to a disk does not"))]
    pub(crate) fn new() -> (Self, Completer) {
        let slot = Arc::new(Slot::default());
        (Self(Arc::clone(&slot)), Completer(slot))
    }

    /// Says what to do when the commit is complete.
    pub(crate) fn then(self, completion: impl FnOnce(Result<(), StoreError>) + Send + 'static) {
        self.0.set(Waiting::Registered(Box::new(completion)));
    }

    /// Waits until the commit is complete. The completion lasts until the turn is dropped: until then the log completes nothing
    /// that is behind it.
    pub(crate) fn wait(self) -> (Result<(), StoreError>, Turn) {
        let (sender, receiver) = sync_channel(1);
        let (turn, over) = sync_channel(0);
        self.then(move |result| {
            if sender.send(result).is_ok() {
                // Nothing is ever sent: this returns when the turn is dropped.
                let _ = over.recv();
            }
        });
        let result = receiver.recv().unwrap_or_else(|_| Err(StoreError::Unknown("the log has ended".to_owned())));
        (result, Turn(turn))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        if matches!(*waiting, Waiting::Open) {
            *waiting = Waiting::Abandoned;
            self.0.changed.notify_one();
        }
    }
}

#[cfg_attr(not(test), allow(dead_code, reason = "memory completes at once; what writes to a disk does not"))]
impl Completer {
    /// Does what is to be done when the commit is complete, as soon as that is known.
    pub(crate) fn complete(self, result: Result<(), StoreError>) {
        let mut waiting = self.0.lock();
        while matches!(*waiting, Waiting::Open) {
            waiting = self.0.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let completion = std::mem::replace(&mut *waiting, Waiting::Abandoned);
        drop(waiting);
        if let Waiting::Registered(completion) = completion {
            completion(result);
        }
    }
}
