//! A plugin's mailbox: the events of each client in order, clients in turn, with a bound for what they send and a share of it
//! for each. It calls no hooks.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::version::Replacement;
use crate::collections::fair_queue::FairQueue;
use crate::plugin::{Done, Event, HookError, PluginSession};
use crate::shares::is_used_up;

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

/// The mailbox is full, or the lane's share of it; the event was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

/// Who caused events: those of one lane wait for each other, and take turns with those of other lanes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// A user, with all sessions.
    User(Arc<str>),
    /// A session without a user.
    Session(Arc<str>),
    /// The embedding program, the HTTP API and other plugins.
    Trusted,
}

/// The sending side.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    queue: Arc<Queue>,
    _open: Arc<Open>,
}

/// A reserved slot of a mailbox, to be filled at once: nobody else uses the mailbox meanwhile.
#[must_use]
pub(crate) struct Slot<'m> {
    queue: &'m Queue,
    waiting: MutexGuard<'m, Waiting>,
    lane: Lane,
}

impl Slot<'_> {
    /// Adds the event of a request.
    pub(crate) fn fill(mut self, event: Event, request: Box<dyn HookRequest>) {
        self.waiting.push(self.lane, Job { event, request, counted: true });
        drop(self.waiting);
        self.queue.filled.notify_one();
    }
}

/// The plugin's side.
pub(in crate::plugin) struct Jobs(Arc<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

/// Closes the queue when the last sender is gone.
#[derive(Debug)]
struct Open(Arc<Queue>);

/// What waits for the plugin's thread.
#[derive(Default)]
struct Waiting {
    /// The events between replacements: a replacement comes behind all that waited before it, and before all that came after.
    sections: VecDeque<Section>,
    /// How many events of clients may wait.
    bound: usize,
    /// Events that count against the bound, in all and of each lane.
    counted: usize,
    of_lane: FxHashMap<Lane, usize>,
    is_ended: bool,
}

#[derive(Default)]
struct Section {
    jobs: FairQueue<Lane, Job>,
    /// What follows them.
    then: Option<Then>,
}

/// What follows the events of a section.
enum Then {
    Replace(Box<Replacement>),
    End,
}

impl Lane {
    pub(crate) fn of(session: Option<&PluginSession>) -> Self {
        match session {
            Some(PluginSession { identity: Some(identity), .. }) => Self::User(Arc::clone(&identity.user)),
            Some(PluginSession { id, identity: None }) => Self::Session(Arc::clone(id)),
            None => Self::Trusted,
        }
    }
}

impl Waiting {
    /// Whether a lane may have no more events.
    fn is_full_for(&self, lane: &Lane) -> bool {
        let held = self.of_lane.get(lane).copied().unwrap_or_default();
        is_used_up(self.bound as u64, self.counted as u64, held as u64)
    }

    fn push(&mut self, lane: Lane, job: Job) {
        if self.is_ended {
            // The plugin's thread is ending; dropping the request fails it.
            return;
        }
        if job.counted {
            self.counted += 1;
            *self.of_lane.entry(lane.clone()).or_default() += 1;
        }
        self.last().jobs.push(lane, job);
    }

    /// The section that is added to.
    fn last(&mut self) -> &mut Section {
        if self.sections.back().is_none_or(|section| section.then.is_some()) {
            self.sections.push_back(Section::default());
        }
        self.sections.back_mut().expect("one is there")
    }

    fn pop(&mut self) -> Option<Work> {
        if self.is_ended {
            return Some(Work::End);
        }
        let section = self.sections.front_mut()?;
        if let Some((lane, job)) = section.jobs.pop() {
            if job.counted {
                self.counted -= 1;
                if let Entry::Occupied(mut held) = self.of_lane.entry(lane) {
                    *held.get_mut() -= 1;
                    if *held.get() == 0 {
                        held.remove();
                    }
                }
            }
            return Some(Work::Job(job));
        }
        match section.then.take()? {
            Then::Replace(replacement) => {
                self.sections.pop_front();
                Some(Work::Replace(replacement))
            }
            Then::End => {
                section.then = Some(Then::End);
                Some(Work::End)
            }
        }
    }
}

impl Queue {
    /// Adds something behind the events that wait.
    fn follow_by(&self, then: Then) {
        let mut waiting = self.lock();
        if !waiting.is_ended {
            waiting.last().then = Some(then);
        }
        drop(waiting);
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No change under the lock can stop half way, so a poisoned lock is consistent.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the plugin's thread after the hook it is in; events that wait are dropped.
    fn end(&self) {
        let mut waiting = self.lock();
        waiting.is_ended = true;
        let dropped = std::mem::take(&mut waiting.sections);
        drop(waiting);
        self.filled.notify_one();
        // Without the lock: dropping a request answers it.
        drop(dropped);
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        // Nobody handles what waits any more.
        self.0.end();
    }
}

impl Mailbox {
    pub(in crate::plugin) fn new(bound: usize) -> (Self, Jobs) {
        let waiting = Mutex::new(Waiting { bound, ..Waiting::default() });
        let queue = Arc::new(Queue { waiting, filled: Condvar::new() });
        let open = Arc::new(Open(Arc::clone(&queue)));
        (Self { queue: Arc::clone(&queue), _open: open }, Jobs(queue))
    }

    /// Reserves a slot for an event that a client caused.
    ///
    /// # Errors
    /// [`Busy`] when as many events wait as the bound allows, or as the lane's share of it does.
    pub(crate) fn reserve(&self, lane: Lane) -> Result<Slot<'_>, Busy> {
        let waiting = self.queue.lock();
        if waiting.is_full_for(&lane) {
            return Err(Busy);
        }
        Ok(Slot { queue: &self.queue, waiting, lane })
    }

    /// Adds an event that must not be lost: the end of a subscription. There are at most as many of these as there
    /// are subscriptions, which is their bound.
    pub(crate) fn submit_end(&self, lane: Lane, event: Event, request: Box<dyn HookRequest>) {
        self.queue.lock().push(lane, Job { event, request, counted: false });
        self.queue.filled.notify_one();
    }

    /// Replaces the plugin's version, behind the events that wait already.
    pub(crate) fn replace(&self, replacement: Replacement) {
        self.queue.follow_by(Then::Replace(Box::new(replacement)));
    }

    /// Takes so many events of clients from now on.
    pub(crate) fn set_bound(&self, bound: usize) {
        self.queue.lock().bound = bound;
    }

    /// Ends the plugin's thread after the events that wait.
    pub(crate) fn finish(&self) {
        self.queue.follow_by(Then::End);
    }

    /// The number of clients' events that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.lock().counted
    }

    /// Ends the plugin's thread after the hook it is in; events that wait are dropped.
    pub(crate) fn stop(&self) {
        self.queue.end();
    }
}

impl Jobs {
    /// The next work; waits for at most `timeout`, if there is one.
    pub(in crate::plugin) fn next(&self, timeout: Option<Duration>) -> Work {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let mut waiting = self.0.lock();
        loop {
            if let Some(work) = waiting.pop() {
                return work;
            }
            waiting = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.0.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Work::Nothing,
                Some(left) => self.0.filled.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::Topic;

    struct Nothing;

    impl HookRequest for Nothing {
        fn complete(self: Box<Self>, _: Result<Done, HookError>) -> Commitment {
            Commitment::Kept
        }
    }

    fn member(session: &str) -> PluginSession {
        PluginSession::anonymous(session)
    }

    fn event(session: &str) -> Event {
        Event::Unsubscribe { session: member(session), topic: Topic::parse("a").expect("a topic") }
    }

    fn submit(mailbox: &Mailbox, session: &str) -> bool {
        let slot = mailbox.reserve(Lane::of(Some(&member(session))));
        slot.map(|slot| slot.fill(event(session), Box::new(Nothing))).is_ok()
    }

    /// The sessions of the events that wait, in the order in which they come.
    fn order(jobs: &Jobs) -> Vec<String> {
        let next = || match jobs.next(Some(Duration::ZERO)) {
            Work::Job(Job { event: Event::Unsubscribe { session, .. }, .. }) => Some(session.id.to_string()),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_full_mailbox_turns_requests_away_and_still_takes_endings() {
        let (mailbox, jobs) = Mailbox::new(2);
        let submit = || submit(&mailbox, "s");
        assert_eq!([submit(), submit(), submit()], [true, true, false]);
        mailbox.submit_end(Lane::of(Some(&member("s"))), event("s"), Box::new(Nothing));
        assert!(matches!(jobs.next(None), Work::Job(_)));
        assert_eq!([submit(), submit()], [true, false]);
        mailbox.set_bound(3);
        assert_eq!([submit(), submit()], [true, false]);
    }

    #[test]
    fn what_was_submitted_before_the_end_is_still_handled() {
        let (mailbox, jobs) = Mailbox::new(10);
        assert!(submit(&mailbox, "a") && submit(&mailbox, "b"));
        mailbox.finish();
        assert!(submit(&mailbox, "a"));
        assert_eq!(order(&jobs), ["a", "b"]);
        assert!(matches!(jobs.next(None), Work::End));
        drop(jobs);
        assert!(mailbox.queue.lock().sections.is_empty(), "dropped, which answers it");
    }

    #[test]
    fn sessions_take_turns() {
        let (mailbox, jobs) = Mailbox::new(100);
        for _ in 0..3 {
            assert!(submit(&mailbox, "much"));
        }
        assert!(submit(&mailbox, "a") && submit(&mailbox, "b") && submit(&mailbox, "a"));
        assert_eq!(order(&jobs), ["much", "a", "b", "much", "a", "much"]);
        assert_eq!(mailbox.waiting(), 0);
    }

    #[test]
    fn there_is_room_for_the_next_client_however_many_fill_the_mailbox() {
        for attackers in [1, 2, 10, 40] {
            let (mailbox, jobs) = Mailbox::new(100);
            let names: Vec<String> = (0..attackers).map(|number| format!("attacker {number}")).collect();
            for _ in 0..200 {
                names.iter().for_each(|name| _ = submit(&mailbox, name));
            }
            assert!(mailbox.waiting() >= 75, "{attackers} may use what nobody else needs: {}", mailbox.waiting());
            assert!(submit(&mailbox, "neighbour"), "{attackers}");
            let place = order(&jobs).iter().position(|name| name == "neighbour");
            assert_eq!(place, Some(attackers), "after one of each");
            assert!(jobs.0.lock().of_lane.is_empty());
        }
    }

    #[test]
    fn the_thread_ends_with_the_last_sender() {
        let (mailbox, jobs) = Mailbox::new(1);
        assert!(submit(&mailbox, "s"));
        let other = mailbox.clone();
        drop(mailbox);
        assert!(matches!(jobs.next(None), Work::Job(_)));
        drop(other);
        assert!(matches!(jobs.next(None), Work::End));
    }
}
