//! The right to answer one request, once. Dropping it unanswered answers `internal`.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError};

use rialto_protocol::{ErrorCode, Failure, Reply};
use tokio::sync::oneshot;

use crate::hub::{Hub, InFlightGuard, Push, SessionKey, Start, What};
use crate::presence::{PresenceFollower, follow_all};
use crate::topic::Topic;

/// The outcome of a request.
pub(crate) type RequestResult = Result<Reply, Failure>;

/// The right to answer one request.
pub(crate) struct Responder {
    to: Option<To>,
    /// Notified whether the answer was a success: how a session knows the state of its subscription.
    observer: Option<Observer>,
}

/// What the outcome of a subscribe is reported to.
struct Observer {
    state: Arc<SubscriptionState>,
    topic: Topic,
    refusals: Arc<Refusals>,
}

/// Topics that a session has asked for and is not subscribed to.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Vec<Topic>>);

impl Refusals {
    /// Those since the last time.
    pub(crate) fn take(&self) -> Vec<Topic> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, topic: Topic) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(topic);
    }
}

/// What starts for one subscribe of a bulk when the bulk is answered.
#[derive(Debug, Default)]
pub(crate) struct PartStart {
    /// A replay.
    pub(crate) replay: Option<u64>,
    /// A subscription to the topic's presence.
    pub(crate) presence: Option<PresenceFollower>,
}

enum To {
    Session { hub: Hub, session: SessionKey, id: Option<u64>, in_flight: Option<InFlightGuard> },
    Caller(oneshot::Sender<RequestResult>),
    Part { bulk: Arc<Bulk>, place: usize, topic: Arc<str> },
}

impl Responder {
    /// An answer that becomes a frame for a session; the request is in flight until then.
    pub(crate) fn session(hub: Hub, session: SessionKey, id: Option<u64>, in_flight: InFlightGuard) -> Self {
        Self::to(To::Session { hub, session, id, in_flight: Some(in_flight) })
    }

    /// An answer for code that waits.
    pub(crate) fn caller() -> (Self, oneshot::Receiver<RequestResult>) {
        let (sender, receiver) = oneshot::channel();
        (Self::to(To::Caller(sender)), receiver)
    }

    fn to(to: To) -> Self {
        Self { to: Some(to), observer: None }
    }

    /// Splits the answer to a request about several topics into one for each. When all are answered, `combine` makes
    /// the answer to the request.
    pub(crate) fn split(self, topics: impl ExactSizeIterator<Item = Arc<str>>, combine: Combine) -> Vec<Self> {
        let bulk = Arc::new(Bulk {
            parts: Mutex::new((0..topics.len()).map(|_| None).collect()),
            starts: Mutex::default(),
            open: AtomicUsize::new(topics.len()),
            whole: Mutex::new(Some(self)),
            combine,
        });
        let part = |(place, topic)| Self::to(To::Part { bulk: Arc::clone(&bulk), place, topic });
        topics.enumerate().map(part).collect()
    }

    /// The same responder, which also reports the outcome to `state`, and a topic that is refused to `refusals`.
    pub(crate) fn telling(mut self, state: &Arc<SubscriptionState>, topic: &Topic, refusals: &Arc<Refusals>) -> Self {
        state.pending.fetch_add(1, AcqRel);
        self.observer =
            Some(Observer { state: Arc::clone(state), topic: topic.clone(), refusals: Arc::clone(refusals) });
        self
    }

    /// Whether the answer is sent at once, and not together with those of other topics.
    pub(crate) fn is_whole(&self) -> bool {
        !matches!(self.to, Some(To::Part { .. }))
    }

    /// Counts the request as so many until it is answered: a session of which that many may be in flight is not read meanwhile.
    pub(crate) fn count_as(&mut self, requests: usize) {
        match &mut self.to {
            Some(To::Session { in_flight: Some(in_flight), .. }) => in_flight.count_as(requests),
            Some(To::Part { bulk, .. }) => {
                if let Some(whole) = &mut *bulk.whole.lock().unwrap_or_else(PoisonError::into_inner) {
                    whole.count_as(requests);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn ok(mut self, reply: Reply) {
        self.complete(Ok(reply));
    }

    /// The answer as a frame for the session, for a command that carries it to the shard together with other things; or the
    /// responder and the reply, where no session waits for a frame of its own.
    pub(crate) fn into_frame(mut self, reply: Reply) -> Result<Push, Box<(Self, Reply)>> {
        match self.to.take() {
            Some(To::Session { id, in_flight, .. }) => {
                self.report(true);
                Ok(Push { what: What::Reply { id, outcome: Ok(reply) }, in_flight })
            }
            to => {
                self.to = to;
                Err(Box::new((self, reply)))
            }
        }
    }

    /// Answers a subscribe. If it is a part of a bulk, `start` happens when all parts are answered.
    pub(crate) fn ok_starting(mut self, reply: Reply, start: PartStart) {
        if let Some(To::Part { bulk, .. }) = &self.to {
            bulk.starts.lock().unwrap_or_else(PoisonError::into_inner).push(start);
        }
        self.complete(Ok(reply));
    }

    pub(crate) fn fail(mut self, failure: Failure) {
        self.complete(Err(failure));
    }

    fn complete(&mut self, outcome: RequestResult) {
        self.report(outcome.is_ok());
        match self.to.take() {
            Some(To::Session { hub, session, id, in_flight }) => {
                hub.push(session, Push { what: What::Reply { id, outcome }, in_flight });
            }
            Some(To::Caller(sender)) => {
                // The caller may no longer wait.
                let _ = sender.send(outcome);
            }
            Some(To::Part { bulk, place, topic }) => bulk.put(place, (topic, outcome)),
            None => {}
        }
    }

    /// Answers a bulk, and starts what its parts wait for.
    fn complete_starting(&mut self, outcome: RequestResult, starts: Vec<PartStart>) {
        let (session, push, hub) = match self.to.take() {
            Some(To::Session { hub, session, id, in_flight }) if !starts.is_empty() => {
                self.report(outcome.is_ok());
                (session, Push { what: What::Reply { id, outcome }, in_flight }, hub)
            }
            to => {
                self.to = to;
                return self.complete(outcome);
            }
        };
        let (mut replays, mut followers) = (Vec::new(), Vec::new());
        for PartStart { replay, presence } in starts {
            replays.extend(replay);
            followers.extend(presence);
        }
        follow_all(followers, |presence| hub.start(session, Start { reply: Some(push), presence, replays }));
    }

    fn report(&mut self, success: bool) {
        if let Some(Observer { state, topic, refusals }) = self.observer.take() {
            state.resolve(success);
            if !state.is_in() {
                refusals.add(topic);
            }
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.to.is_some() {
            self.complete(Err(Failure::new(ErrorCode::Internal, "the request was dropped")));
        }
    }
}

/// The outcome for one of several topics.
pub(crate) type Part = (Arc<str>, RequestResult);

/// Combines the outcomes, which are in the order of the request, into one.
pub(crate) type Combine = fn(Vec<Part>) -> RequestResult;

/// Collects the outcomes of a request about several topics.
struct Bulk {
    parts: Mutex<Vec<Option<Part>>>,
    starts: Mutex<Vec<PartStart>>,
    open: AtomicUsize,
    whole: Mutex<Option<Responder>>,
    combine: Combine,
}

impl Bulk {
    fn put(&self, place: usize, part: Part) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(part);
        if self.open.fetch_sub(1, AcqRel) > 1 {
            return;
        }
        let parts = std::mem::take(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(mut whole) = self.whole.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let starts = std::mem::take(&mut *self.starts.lock().unwrap_or_else(PoisonError::into_inner));
            whole.complete_starting((self.combine)(parts.into_iter().flatten().collect()), starts);
        }
    }
}

/// The state of a session's subscription to a topic.
#[derive(Debug, Default)]
pub(crate) struct SubscriptionState {
    pending: AtomicU32,
    subscribed: AtomicBool,
}

impl SubscriptionState {
    /// That of a topic to which a plugin has subscribed the session.
    pub(crate) fn subscribed() -> Arc<Self> {
        Arc::new(Self { subscribed: AtomicBool::new(true), ..Self::default() })
    }

    /// Whether it is subscribed, or a request to subscribe is pending.
    pub(crate) fn is_in(&self) -> bool {
        // Read in this order, because an answer sets `subscribed` before it lowers `pending`.
        self.pending.load(Acquire) > 0 || self.subscribed.load(Acquire)
    }

    /// Whether it is subscribed.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscribed.load(Acquire)
    }

    fn resolve(&self, success: bool) {
        if success {
            self.subscribed.store(true, Release);
        }
        self.pending.fetch_sub(1, AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{HubLimits, InFlight, commands_of};

    fn names(parts: Vec<Part>) -> RequestResult {
        let text = parts.into_iter().map(|(topic, outcome)| format!("{topic} {}", outcome.is_ok()));
        Err(Failure::new(ErrorCode::Rejected, text.collect::<Vec<_>>().join(", ")))
    }

    #[test]
    fn a_responder_that_is_dropped_answers_internal() {
        let (responder, mut receiver) = Responder::caller();
        drop(responder);
        let outcome = receiver.try_recv().expect("an outcome");
        assert_eq!(outcome.expect_err("a failure").code, ErrorCode::Internal);
    }

    #[test]
    fn parts_are_answered_together_in_their_order() {
        let (responder, mut receiver) = Responder::caller();
        let mut parts = responder.split(["a", "b"].map(Arc::from).into_iter(), names);
        parts.pop().expect("two parts").ok(Reply::Unsubscribed);
        assert!(receiver.try_recv().is_err(), "one part is still open");
        parts.pop().expect("one part").fail(Failure::new(ErrorCode::Forbidden, "no"));
        let outcome = receiver.try_recv().expect("an outcome");
        assert_eq!(outcome.expect_err("made by `names`").message, "a false, b true");
    }

    #[test]
    fn parts_begin_when_the_whole_is_answered() {
        let hub = Hub::spawn(HubLimits::of_test(), &Arc::default()).expect("a hub");
        let session = SessionKey { shard: 0, slot: 0, serial: 1 };
        let responder = Responder::session(hub.clone(), session, Some(1), Arc::<InFlight>::default().enter());
        let mut parts = responder.split(["a", "b"].map(Arc::from).into_iter(), names);
        let start = PartStart { replay: Some(1), presence: None };
        let last = parts.pop().expect("two parts");
        assert!(commands_of(|| last.ok_starting(Reply::Unsubscribed, start)).is_empty(), "one part is still open");
        let first = parts.pop().expect("one part");
        let commands = commands_of(|| first.fail(Failure::new(ErrorCode::Forbidden, "no")));
        assert_eq!(commands, ["start"], "the reply and the begin of the other part are one command");
        hub.stop();
    }

    #[test]
    fn a_subscription_state_outlasts_refusals_of_other_requests() {
        let state = Arc::new(SubscriptionState::default());
        let (topic, refusals) = (Topic::parse("t").expect("a topic"), Arc::<Refusals>::default());
        let ask = || Responder::caller().0.telling(&state, &topic, &refusals);
        assert!(!state.is_in());
        let (first, second, third) = (ask(), ask(), ask());
        first.fail(Failure::new(ErrorCode::Rejected, "no"));
        assert!(state.is_in(), "two are open");
        second.ok(Reply::Unsubscribed);
        third.fail(Failure::new(ErrorCode::Rejected, "no"));
        assert!(state.is_in(), "one was accepted");
        assert_eq!(refusals.take(), []);
        let unknown = Arc::new(SubscriptionState::default());
        let ask = || Responder::caller().0.telling(&unknown, &topic, &refusals);
        let (first, second) = (ask(), ask());
        first.fail(Failure::new(ErrorCode::Rejected, "no"));
        assert_eq!(refusals.take(), [], "one is open");
        second.fail(Failure::new(ErrorCode::Rejected, "no"));
        assert_eq!((refusals.take(), refusals.take()), (vec![topic.clone()], vec![]));
    }
}
