//! The state that a shard and a session's task share: how the session ends, whether the socket is full, when the peer last
//! sent something.

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
    /// The broker closes the connection once the queued messages are written.
    Drained(Closing),
    /// The peer sent a Close with this code.
    PeerClosed(Option<u16>),
    /// The connection is broken; nothing can be sent any more.
    Gone,
}

/// Shared by the shard and the session's task, on the shard's thread.
pub(crate) struct Signals {
    /// Boxed, because it is needed only when a session ends.
    ending: RefCell<Option<Box<Ending>>>,
    ended: Signal,
    pub(in crate::hub) full: Signal,
    pub(in crate::hub) written: Signal,
    pub(in crate::hub) last_activity: Cell<Instant>,
    pub(in crate::hub) pinged: Cell<Option<Instant>>,
    frame_started: Cell<Option<Instant>>,
    reading_paused: Cell<bool>,
    answers_nothing: Cell<bool>,
    recheck: Cell<bool>,
    /// When the session's task looks at its token, in the shard's own time; 0 for never. As small as the room between others.
    recheck_at: Cell<u32>,
}

impl Signals {
    pub(in crate::hub) fn new(now: Instant) -> Self {
        Self {
            ending: RefCell::new(None),
            ended: Signal::default(),
            full: Signal::default(),
            written: Signal::default(),
            last_activity: Cell::new(now),
            pinged: Cell::new(None),
            frame_started: Cell::new(None),
            reading_paused: Cell::new(false),
            answers_nothing: Cell::new(false),
            recheck: Cell::new(false),
            recheck_at: Cell::new(0),
        }
    }

    /// Ends the session; the first ending counts.
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
            // Polled to be woken; the slot decides.
            let _ = self.ended.poll(context);
            match &*self.ending.borrow() {
                Some(ending) => Poll::Ready(Ending::clone(ending)),
                None => Poll::Pending,
            }
        })
    }

    /// Bytes have arrived: the peer is alive.
    pub(crate) fn record_activity(&self) {
        self.last_activity.set(Instant::now());
    }

    /// A frame or a fragmented message has begun and is not complete.
    pub(crate) fn frame_begun(&self) {
        if self.frame_started.get().is_none() {
            self.frame_started.set(Some(Instant::now()));
        }
    }

    /// No frame or message is incomplete.
    pub(crate) fn frame_ended(&self) {
        self.frame_started.set(None);
    }

    /// The peer cannot answer pings: they only keep the connection alive, and the system notices a peer that is gone.
    pub(crate) fn answers_nothing(&self) {
        self.answers_nothing.set(true);
    }

    /// The session's task looks at its permissions again as soon as it can.
    pub(in crate::hub) fn request_recheck(&self) {
        self.recheck.set(true);
        // The task waits for its end, whatever else it does.
        self.ended.wake();
    }

    /// Sets when the task looks at its token, in the shard's own time.
    pub(in crate::hub) fn set_recheck_at(&self, at: u64) {
        self.recheck_at.set(u32::try_from(at).unwrap_or(u32::MAX));
    }

    /// Requests what is due at this time.
    pub(in crate::hub) fn request_due_recheck(&self, now: u64) {
        let at = self.recheck_at.get();
        if at != 0 && u64::from(at) <= now {
            self.recheck_at.set(0);
            self.request_recheck();
        }
    }

    /// Whether the session has to look at its permissions, which it does now.
    pub(crate) fn take_recheck(&self) -> bool {
        self.recheck.take()
    }

    /// A ping is sent.
    pub(in crate::hub) fn record_ping(&self, now: Instant) {
        match self.answers_nothing.get() {
            true => self.last_activity.set(now),
            false => self.pinged.set(Some(now)),
        }
    }

    /// Back-pressure: the socket is not read for a while, so no activity can be recorded and no deadline runs.
    pub(crate) fn pause_reading(&self) {
        self.reading_paused.set(true);
    }

    /// The socket is read again.
    pub(crate) fn resume_reading(&self) {
        self.reading_paused.set(false);
        self.record_activity();
    }

    /// Whether the socket is not read at the moment.
    pub(in crate::hub) fn is_reading_paused(&self) -> bool {
        self.reading_paused.get()
    }

    /// Since when a frame or message has been incomplete.
    pub(in crate::hub) fn frame_started(&self) -> Option<Instant> {
        self.frame_started.get()
    }
}

/// Notifies one task on the same thread; a notification before it waits is kept, once. It is far smaller than
/// [`tokio::sync::Notify`].
#[derive(Default)]
pub(in crate::hub) struct Signal {
    is_notified: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl Signal {
    pub(in crate::hub) fn notify_one(&self) {
        self.is_notified.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Wakes the task that waits, without a notification.
    fn wake(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits for the next notification.
    pub(in crate::hub) fn notified(&self) -> impl Future<Output = ()> {
        poll_fn(|context| self.poll(context))
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_notified.take() {
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
    fn a_notification_is_received_once_by_a_later_or_a_waiting_task() {
        let signal = Signal::default();
        let mut context = Context::from_waker(Waker::noop());
        signal.notify_one();
        signal.notify_one();
        assert!(pin!(signal.notified()).poll(&mut context).is_ready(), "notified before");
        let mut waiting = pin!(signal.notified());
        assert!(waiting.as_mut().poll(&mut context).is_pending(), "two notifications are one");
        signal.notify_one();
        assert!(waiting.poll(&mut context).is_ready(), "notified while waiting");
        assert!(pin!(signal.notified()).poll(&mut context).is_pending());
    }
}
