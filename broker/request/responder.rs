//! The right to answer one request, once. Whoever drops it unanswered has answered `internal`.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError};

use rialto_protocol::{ErrorCode, Failure, Reply};
use tokio::sync::oneshot;

use crate::hub::{Hub, InFlightGuard, Push, SessionKey, What};

/// What a request comes to.
pub(crate) type RequestResult = Result<Reply, Failure>;

/// The right to answer one request.
pub(crate) struct Responder {
    to: Option<To>,
    /// Told whether the answer was a success: how a session learns what became of a subscription.
    state: Option<Arc<SubscriptionState>>,
    /// What follows the answer.
    then: Option<Then>,
}

/// Something that is done right after an answer was given.
pub(crate) type Then = Box<dyn FnOnce() + Send>;

enum To {
    Session { hub: Hub, session: SessionKey, id: Option<u64>, in_flight: Option<InFlightGuard> },
    Caller(oneshot::Sender<RequestResult>),
    Part { bulk: Arc<Bulk>, place: usize, topic: Arc<str> },
}

impl Responder {
    /// An answer that becomes a frame for a session; the request counts as under way until then.
    pub(crate) fn session(hub: Hub, session: SessionKey, id: Option<u64>, in_flight: InFlightGuard) -> Self {
        Self::to(To::Session { hub, session, id, in_flight: Some(in_flight) })
    }

    /// An answer for code that waits.
    pub(crate) fn caller() -> (Self, oneshot::Receiver<RequestResult>) {
        let (sender, receiver) = oneshot::channel();
        (Self::to(To::Caller(sender)), receiver)
    }

    fn to(to: To) -> Self {
        Self { to: Some(to), state: None, then: None }
    }

    /// Splits the answer to a request about several topics into one for each. When all are given, `combine` makes the
    /// answer to the request.
    pub(crate) fn split(self, topics: impl ExactSizeIterator<Item = Arc<str>>, combine: Combine) -> Vec<Self> {
        let bulk = Arc::new(Bulk {
            parts: Mutex::new((0..topics.len()).map(|_| None).collect()),
            thens: Mutex::default(),
            open: AtomicUsize::new(topics.len()),
            whole: Mutex::new(Some(self)),
            combine,
        });
        let part = |(place, topic)| Self::to(To::Part { bulk: Arc::clone(&bulk), place, topic });
        topics.enumerate().map(part).collect()
    }

    /// The same answer, which tells `state` what it was.
    pub(crate) fn telling(mut self, state: &Arc<SubscriptionState>) -> Self {
        state.pending.fetch_add(1, AcqRel);
        self.state = Some(Arc::clone(state));
        self
    }

    /// Whether it is given at once, and does not wait for others.
    pub(crate) fn is_whole(&self) -> bool {
        !matches!(self.to, Some(To::Part { .. }))
    }

    pub(crate) fn ok(mut self, reply: Reply) {
        self.settle(Ok(reply));
    }

    /// Answers, and then does what has to come after the answer: where this is one of several parts, after all of them.
    pub(crate) fn ok_then(mut self, reply: Reply, then: impl FnOnce() + Send + 'static) {
        self.then = Some(Box::new(then));
        self.settle(Ok(reply));
    }

    pub(crate) fn fail(mut self, failure: Failure) {
        self.settle(Err(failure));
    }

    fn settle(&mut self, outcome: RequestResult) {
        if let Some(state) = self.state.take() {
            state.settle(outcome.is_ok());
        }
        let then = self.then.take();
        match self.to.take() {
            Some(To::Session { hub, session, id, in_flight }) => {
                hub.push(session, Push { what: What::Reply { id, outcome }, in_flight });
            }
            Some(To::Caller(sender)) => {
                // Who no longer waits need not know.
                let _ = sender.send(outcome);
            }
            Some(To::Part { bulk, place, topic }) => return bulk.put(place, (topic, outcome), then),
            None => {}
        }
        if let Some(then) = then {
            then();
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.to.is_some() {
            self.settle(Err(Failure::new(ErrorCode::Internal, "the request was dropped")));
        }
    }
}

/// The outcome for one of several topics.
pub(crate) type Part = (Arc<str>, RequestResult);

/// Makes one answer of the parts, which are in the order of the request.
pub(crate) type Combine = fn(Vec<Part>) -> RequestResult;

/// Collects the outcomes of a request about several topics.
struct Bulk {
    parts: Mutex<Vec<Option<Part>>>,
    thens: Mutex<Vec<Then>>,
    open: AtomicUsize,
    whole: Mutex<Option<Responder>>,
    combine: Combine,
}

impl Bulk {
    fn put(&self, place: usize, part: Part, then: Option<Then>) {
        self.thens.lock().unwrap_or_else(PoisonError::into_inner).extend(then);
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(part);
        if self.open.fetch_sub(1, AcqRel) > 1 {
            return;
        }
        let parts = std::mem::take(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(mut whole) = self.whole.lock().unwrap_or_else(PoisonError::into_inner).take() {
            whole.settle((self.combine)(parts.into_iter().flatten().collect()));
            let thens = std::mem::take(&mut *self.thens.lock().unwrap_or_else(PoisonError::into_inner));
            thens.into_iter().for_each(|then| then());
        }
    }
}

/// How a session stands with a topic that it asked to subscribe to.
#[derive(Debug, Default)]
pub(crate) struct SubscriptionState {
    pending: AtomicU32,
    subscribed: AtomicBool,
}

impl SubscriptionState {
    /// Whether it is subscribed, or may still become so.
    pub(crate) fn is_in(&self) -> bool {
        // Asked in this order, because an answer sets the one before it lowers the other.
        self.pending.load(Acquire) > 0 || self.subscribed.load(Acquire)
    }

    /// Whether it was let in.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscribed.load(Acquire)
    }

    fn settle(&self, success: bool) {
        if success {
            self.subscribed.store(true, Release);
        }
        self.pending.fetch_sub(1, AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(parts: Vec<Part>) -> RequestResult {
        let text = parts.into_iter().map(|(topic, outcome)| format!("{topic} {}", outcome.is_ok()));
        Err(Failure::new(ErrorCode::Rejected, text.collect::<Vec<_>>().join(", ")))
    }

    #[test]
    fn an_answer_that_is_dropped_says_internal() {
        let (responder, mut receiver) = Responder::caller();
        drop(responder);
        let outcome = receiver.try_recv().expect("an outcome");
        assert_eq!(outcome.expect_err("a failure").code, ErrorCode::Internal);
    }

    #[test]
    fn parts_are_answered_together_in_their_order() {
        let (responder, mut receiver) = Responder::caller();
        let mut parts = responder.split(["a", "b"].map(Arc::from).into_iter(), names);
        let done = Arc::new(AtomicBool::new(false));
        let then = Arc::clone(&done);
        parts.pop().expect("two parts").ok_then(Reply::Unsubscribed, move || then.store(true, Release));
        assert!(receiver.try_recv().is_err() && !done.load(Acquire), "one part is still open");
        parts.pop().expect("one part").fail(Failure::new(ErrorCode::Forbidden, "no"));
        assert!(done.load(Acquire));
        let outcome = receiver.try_recv().expect("an outcome");
        assert_eq!(outcome.expect_err("made by `names`").message, "a false, b true");
    }

    #[test]
    fn a_standing_outlasts_refusals_of_other_requests() {
        let state = Arc::new(SubscriptionState::default());
        let ask = || Responder::caller().0.telling(&state);
        assert!(!state.is_in());
        let (first, second, third) = (ask(), ask(), ask());
        first.fail(Failure::new(ErrorCode::Rejected, "no"));
        assert!(state.is_in(), "two are open");
        second.ok(Reply::Unsubscribed);
        third.fail(Failure::new(ErrorCode::Rejected, "no"));
        assert!(state.is_in(), "one was let in");
    }
}
