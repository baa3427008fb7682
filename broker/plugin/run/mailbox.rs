//! A plugin's mailbox: events in order, with a bound for what clients send. It calls no hooks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::version::{OnReplaced, Replacement, Version};
use crate::plugin::{Done, Event, HookError};

/// A request that waits in the mailbox with its event, on the plugin's thread from its turn on.
pub(crate) trait HookRequest: Send {
    /// Says, right before the hook, whether the hook is still to be called.
    fn is_new(&mut self) -> bool {
        true
    }

    /// Completes the hook's outcome, before the next hook runs.
    fn complete(self: Box<Self>, outcome: Result<Done, HookError>) -> Commitment;
}

/// What became of the effects of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commitment {
    /// They are kept and applied.
    Kept,
    /// None of them is.
    NotKept,
    /// The log says later whether they are kept; hooks that are called meanwhile see what was written.
    Pending,
}

/// What the plugin's thread does next.
pub(in crate::plugin) enum Work {
    Job(Job),
    /// Boxed, because a version is large and every job would have its size.
    Replace(Box<Replacement>),
    /// Nothing arrived in time.
    Nothing,
    /// The mailbox was stopped, or all senders are gone.
    End,
}

/// One event, and the request that it is for.
pub(in crate::plugin) struct Job {
    pub(in crate::plugin) event: Event,
    pub(in crate::plugin) request: Box<dyn HookRequest>,
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
    /// Adds the event of a request.
    pub(crate) fn fill(self, event: Event, request: Box<dyn HookRequest>) {
        self.0.send(Job { event, request, counted: true });
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
    pub(crate) fn submit_end(&self, event: Event, request: Box<dyn HookRequest>) {
        self.send(Job { event, request, counted: false });
    }

    /// Replaces the plugin's version, behind the events that wait already.
    pub(crate) fn replace(&self, version: Version, on_replaced: OnReplaced) {
        let _ = self.sender.send(Work::Replace(Box::new(Replacement { version, on_replaced })));
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
        // Once the thread has ended the broker is stopping; dropping the request fails it.
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

    struct Nothing;

    impl HookRequest for Nothing {
        fn complete(self: Box<Self>, _: Result<Done, HookError>) -> Commitment {
            Commitment::Kept
        }
    }

    #[test]
    fn a_full_mailbox_turns_requests_away_and_still_takes_endings() {
        let (mailbox, jobs) = Mailbox::new(2);
        let session = Member { session: "s".into(), user: None };
        let event = Event::Unsubscribe { session, topic: Topic::parse("a").expect("a topic") };
        let submit = || mailbox.reserve().map(|slot| slot.fill(event.clone(), Box::new(Nothing))).is_ok();
        assert_eq!([submit(), submit(), submit()], [true, true, false]);
        mailbox.submit_end(event.clone(), Box::new(Nothing));
        assert!(matches!(jobs.next(None), Work::Job(_)));
        assert_eq!([submit(), submit()], [true, false]);
    }
}
