//! What a shard and a session's task tell each other: that it must end, that the socket is full, what was heard when.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use rialto_protocol::Closing;

/// How a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The broker closes the connection and says why.
    Closed(Closing),
    /// The broker closes the connection once the messages that wait are written.
    Drained(Closing),
    /// The peer sent a Close with this code.
    PeerClosed(Option<u16>),
    /// The connection is gone; nothing can be said any more.
    Gone,
}

/// Shared by the shard and the session's task, on the shard's thread.
pub(crate) struct Signals {
    /// In a box, because every session has room for it and only the last moments of one need it.
    ending: RefCell<Option<Box<Ending>>>,
    ended: Signal,
    pub(in crate::hub) full: Signal,
    pub(in crate::hub) written: Signal,
    pub(in crate::hub) heard: Cell<Instant>,
    pub(in crate::hub) pinged: Cell<Option<Instant>>,
    frame_started: Cell<Option<Instant>>,
    held: Cell<bool>,
}

impl Signals {
    pub(in crate::hub) fn new(now: Instant) -> Self {
        Self {
            ending: RefCell::new(None),
            ended: Signal::default(),
            full: Signal::default(),
            written: Signal::default(),
            heard: Cell::new(now),
            pinged: Cell::new(None),
            frame_started: Cell::new(None),
            held: Cell::new(false),
        }
    }

    /// Ends the session; the first reason stands.
    pub(crate) fn end(&self, ending: Ending) {
        let mut slot = self.ending.borrow_mut();
        if slot.is_none() {
            *slot = Some(Box::new(ending));
            self.ended.notify_one();
        }
    }

    /// Whether the session is about to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.borrow().is_some()
    }

    /// Waits until something ends the session.
    pub(crate) fn ended(&self) -> impl Future<Output = Ending> {
        poll_fn(|context| {
            // Rung or not, the slot says it.
            let _ = self.ended.poll(context);
            match &*self.ending.borrow() {
                Some(ending) => Poll::Ready(Ending::clone(ending)),
                None => Poll::Pending,
            }
        })
    }

    /// Bytes came in: the peer is alive.
    pub(crate) fn heard(&self) {
        self.heard.set(Instant::now());
    }

    /// The connection waits for bytes in the middle of a frame or of a fragmented message.
    pub(crate) fn inside(&self) {
        if self.frame_started.get().is_none() {
            self.frame_started.set(Some(Instant::now()));
        }
    }

    /// Nothing unfinished is under way.
    pub(crate) fn quiet(&self) {
        self.frame_started.set(None);
    }

    /// We do not read for a while: what the peer sends meanwhile is not heard, and that is not its fault.
    pub(crate) fn hold(&self) {
        self.held.set(true);
    }

    /// We read again.
    pub(crate) fn release(&self) {
        self.held.set(false);
        self.heard();
    }

    /// Whether the connection is not read at the moment.
    pub(in crate::hub) fn is_held(&self) -> bool {
        self.held.get()
    }

    /// Since when an unfinished frame or message has been coming in.
    pub(in crate::hub) fn frame_started(&self) -> Option<Instant> {
        self.frame_started.get()
    }
}

/// Wakes the one task that waits for it, on the same thread; rung before anyone waits, it is heard later, once. It takes
/// far less room than what may be shared by threads.
#[derive(Default)]
pub(in crate::hub) struct Signal {
    rung: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl Signal {
    pub(in crate::hub) fn notify_one(&self) {
        self.rung.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits until the bell has been rung since this was last done.
    pub(in crate::hub) fn notified(&self) -> impl Future<Output = ()> {
        poll_fn(|context| self.poll(context))
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.rung.take() {
            return Poll::Ready(());
        }
        let same = self.waiting.take().filter(|waker| waker.will_wake(context.waker()));
        self.waiting.set(Some(same.unwrap_or_else(|| context.waker().clone())));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[test]
    fn a_ring_is_heard_once_whether_someone_waits_or_not() {
        let signal = Signal::default();
        let mut context = Context::from_waker(Waker::noop());
        signal.notify_one();
        signal.notify_one();
        assert!(pin!(signal.notified()).poll(&mut context).is_ready(), "rung before");
        let mut waiting = pin!(signal.notified());
        assert!(waiting.as_mut().poll(&mut context).is_pending(), "two rings are one");
        signal.notify_one();
        assert!(waiting.poll(&mut context).is_ready(), "rung while waited for");
        assert!(pin!(signal.notified()).poll(&mut context).is_pending());
    }
}
