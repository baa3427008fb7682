//! Reads of messages: complete when they are begun, or later and on another thread. It knows nothing of what is read from.

use std::fmt;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Past, StoreError};

/// What a read comes to.
pub(crate) type ReadResult = Result<Past, StoreError>;

/// What became of a read when it was begun.
#[derive(Debug)]
#[must_use]
pub(crate) enum Reading {
    /// It is complete.
    Complete(ReadResult),
    /// It is under way.
    #[cfg_attr(not(test), allow(dead_code, reason = "memory completes at once; what reads from a disk does not"))]
    Pending(ReadTicket),
}

/// What is done with the result of a read: on any thread, in no order among reads.
type ReadCompletion = Box<dyn FnOnce(ReadResult) + Send>;

/// The side of a read that waits for it. Dropped, it ignores the result.
#[derive(Debug)]
#[must_use]
pub(crate) struct ReadTicket(Arc<Slot>);

/// The store's side of a read under way. Dropped, it completes the read with an error: every read ends.
#[derive(Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "memory completes at once; what reads from a disk does not"))]
pub(crate) struct ReadCompleter(Option<Arc<Slot>>);

#[derive(Debug, Default)]
struct Slot(Mutex<SlotState>);

#[derive(Default)]
enum SlotState {
    /// Neither side has come.
    #[default]
    Open,
    /// It is known what to do with the result.
    Registered(ReadCompletion),
    /// The result is there.
    Complete(ReadResult),
    /// Both sides have come.
    Over,
}

impl Reading {
    /// Does something with the result: at once if the read is complete, else on the thread that completes it. Never to be
    /// called under a lock that `completion` needs.
    pub(crate) fn then(self, completion: impl FnOnce(ReadResult) + Send + 'static) {
        match self {
            Self::Complete(result) => completion(result),
            Self::Pending(ticket) => ticket.then(completion),
        }
    }

    /// The same read with another result.
    pub(crate) fn map(self, change: impl FnOnce(Past) -> Past + Send + 'static) -> Self {
        match self {
            Self::Complete(result) => Self::Complete(result.map(change)),
            Self::Pending(ticket) => {
                let (changed, completer) = ReadTicket::new();
                ticket.then(move |result| completer.complete(result.map(change)));
                Self::Pending(changed)
            }
        }
    }

    /// Waits for the result. Never to be called on a shard's thread, nor under a lock that another completion needs.
    pub(crate) fn wait(self) -> ReadResult {
        match self {
            Self::Complete(result) => result,
            Self::Pending(ticket) => {
                let (sender, receiver) = channel();
                ticket.then(move |result| drop(sender.send(result)));
                receiver.recv().unwrap_or_else(|_| Err(given_up()))
            }
        }
    }
}

impl ReadTicket {
    /// Both sides of a read under way.
    pub(crate) fn new() -> (Self, ReadCompleter) {
        let slot = Arc::new(Slot::default());
        (Self(Arc::clone(&slot)), ReadCompleter(Some(slot)))
    }

    /// Does something with the result: at once if it is there, else on the thread that completes the read.
    pub(crate) fn then(self, completion: impl FnOnce(ReadResult) + Send + 'static) {
        let mut state = self.0.lock();
        match std::mem::replace(&mut *state, SlotState::Over) {
            SlotState::Complete(result) => {
                drop(state);
                completion(result);
            }
            _ => *state = SlotState::Registered(Box::new(completion)),
        }
    }
}

impl ReadCompleter {
    /// The read is complete.
    #[cfg_attr(not(test), allow(dead_code, reason = "memory completes at once; what reads from a disk does not"))]
    pub(crate) fn complete(mut self, result: ReadResult) {
        self.finish(result);
    }

    fn finish(&mut self, result: ReadResult) {
        let Some(slot) = self.0.take() else { return };
        let mut state = slot.lock();
        match std::mem::replace(&mut *state, SlotState::Over) {
            SlotState::Registered(completion) => {
                drop(state);
                completion(result);
            }
            _ => *state = SlotState::Complete(result),
        }
    }
}

impl Drop for ReadCompleter {
    fn drop(&mut self) {
        self.finish(Err(given_up()));
    }
}

fn given_up() -> StoreError {
    StoreError::Failing("a read was given up".to_owned())
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SlotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Registered(_) => "Registered",
            Self::Complete(_) => "Complete",
            Self::Over => "Over",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(first: u64) -> Past {
        Past { first: Some(first), ..Past::default() }
    }

    #[test]
    fn the_result_arrives_whichever_side_comes_first() {
        let doubled = |past: Past| Past { first: past.first.map(|first| 2 * first), ..past };
        for completes_first in [false, true] {
            let (sender, receiver) = channel();
            let (ticket, completer) = ReadTicket::new();
            let reading = Reading::Pending(ticket).map(doubled);
            if completes_first {
                completer.complete(Ok(past(2)));
                reading.then(move |result| drop(sender.send(result)));
            } else {
                reading.then(move |result| drop(sender.send(result)));
                assert!(receiver.try_recv().is_err(), "it is under way");
                completer.complete(Ok(past(2)));
            }
            assert_eq!(receiver.recv().expect("a result").expect("read").first, Some(4));
        }
        assert_eq!(Reading::Complete(Ok(past(3))).map(doubled).wait().expect("read").first, Some(6));
    }

    #[test]
    fn a_read_that_the_store_gives_up_fails() {
        let (ticket, completer) = ReadTicket::new();
        drop(completer);
        assert!(matches!(Reading::Pending(ticket).wait(), Err(StoreError::Failing(_))));
        let (ticket, completer) = ReadTicket::new();
        let waiting = std::thread::spawn(|| Reading::Pending(ticket).wait());
        completer.complete(Ok(past(1)));
        assert!(waiting.join().expect("no panic").is_ok());
    }
}
