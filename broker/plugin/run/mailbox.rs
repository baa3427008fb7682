//! A plugin's mailbox: events in order, with a bound for what clients send. It calls no hooks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::version::{OnReplaced, Replacement, Version};
use crate::plugin::{Done, Event, HookError};

/// Completes a hook's outcome, on the plugin's thread, before its next hook runs. Returns whether its effects are committed.
pub(crate) type Finish = Box<dyn FnOnce(Result<Done, HookError>) -> bool + Send>;

/// What the plugin's thread does next.
pub(in crate::plugin) enum Work {
    Job(Job),
    Replace(Replacement),
    /// Nothing arrived in time.
    Nothing,
    /// The mailbox was stopped, or all senders are gone.
    End,
}

/// Says, on the plugin's thread right before the hook, whether the hook is still to be called.
pub(crate) type IsNew = Box<dyn FnOnce() -> bool + Send>;

/// One event, and the function that completes its outcome.
pub(in crate::plugin) struct Job {
    pub(in crate::plugin) event: Event,
    pub(in crate::plugin) wanted: Option<IsNew>,
    pub(in crate::plugin) finish: Finish,
    /// Whether the job counts against the bound.
    counted: bool,
}

/// The mailbox is full; the event was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

/// The sending side.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    sender: Sender<Work>,
    shared: Arc<Queue>,
    bound: usize,
}

/// A reserved slot of a mailbox, to be filled at once.
#[must_use]
pub(crate) struct Slot<'m>(&'m Mailbox);

impl Slot<'_> {
    /// Adds the event.
    pub(crate) fn fill(self, event: Event, wanted: Option<IsNew>, finish: Finish) {
        self.0.send(Job { event, wanted, finish, counted: true });
    }
}

/// The plugin's side.
pub(in crate::plugin) struct Jobs {
    receiver: Receiver<Work>,
    shared: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: AtomicUsize,
    stopped: AtomicBool,
}

impl Mailbox {
    pub(in crate::plugin) fn new(bound: usize) -> (Self, Jobs) {
        let (sender, receiver) = channel();
        let shared = Arc::new(Queue::default());
        (Self { sender, shared: Arc::clone(&shared), bound }, Jobs { receiver, shared })
    }

    /// Reserves a slot for an event that a client caused.
    ///
    /// # Errors
    /// [`Busy`] when as many events wait as the bound allows.
    pub(crate) fn reserve(&self) -> Result<Slot<'_>, Busy> {
        if self.shared.waiting.fetch_add(1, AcqRel) >= self.bound {
            self.shared.waiting.fetch_sub(1, AcqRel);
            return Err(Busy);
        }
        Ok(Slot(self))
    }

    /// Adds an event that must not be lost: the end of a subscription. There are at most as many of these as there
    /// are subscriptions, which is their bound.
    pub(crate) fn submit_end(&self, event: Event, finish: Finish) {
        self.send(Job { event, wanted: None, finish, counted: false });
    }

    /// Replaces the plugin's version, behind the events that wait already.
    pub(crate) fn replace(&self, version: Version, on_replaced: OnReplaced) {
        let _ = self.sender.send(Work::Replace(Replacement { version, on_replaced }));
    }

    /// The number of clients' events that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.waiting.load(Acquire)
    }

    /// Ends the plugin's thread after the hook it is in; events that wait are dropped.
    pub(crate) fn stop(&self) {
        self.shared.stopped.store(true, Release);
        let _ = self.sender.send(Work::End);
    }

    fn send(&self, job: Job) {
        // Once the thread has ended the broker is stopping; dropping `finish` fails the request that waits.
        let _ = self.sender.send(Work::Job(job));
    }
}

impl Jobs {
    /// The next work; waits for at most `timeout`, if there is one.
    pub(in crate::plugin) fn next(&self, timeout: Option<Duration>) -> Work {
        let work = match timeout {
            None => self.receiver.recv().unwrap_or(Work::End),
            Some(timeout) => match self.receiver.recv_timeout(timeout) {
                Ok(work) => work,
                Err(RecvTimeoutError::Timeout) => Work::Nothing,
                Err(RecvTimeoutError::Disconnected) => Work::End,
            },
        };
        if self.shared.stopped.load(Acquire) {
            return Work::End;
        }
        if let Work::Job(Job { counted: true, .. }) = work {
            self.shared.waiting.fetch_sub(1, AcqRel);
        }
        work
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::Member;

    use super::*;
    use crate::topic::Topic;

    #[test]
    fn a_full_mailbox_turns_requests_away_and_still_takes_endings() {
        let (mailbox, jobs) = Mailbox::new(2);
        let session = Member { session: "s".into(), user: None };
        let event = Event::Unsubscribe { session, topic: Topic::parse("a").expect("a topic") };
        let submit = || mailbox.reserve().map(|slot| slot.fill(event.clone(), None, Box::new(|_| true))).is_ok();
        assert_eq!([submit(), submit(), submit()], [true, true, false]);
        mailbox.submit_end(event.clone(), Box::new(|_| true));
        assert!(matches!(jobs.next(None), Work::Job(_)));
        assert_eq!([submit(), submit()], [true, false]);
    }
}
