//! The right to answer one request, once. Whoever drops it unanswered has answered `internal`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError};

use rialto_protocol::{ErrorCode, Failure, Reply, Subscribed};
use tokio::sync::{Notify, oneshot};

use crate::hub::{Hub, Push, SessionKey};

/// What a request comes to.
pub(crate) type Outcome = Result<Reply, Failure>;

/// The right to answer one request.
pub(crate) struct Answer {
    to: Option<To>,
    /// Set when the answer is a failure: how a session learns that a subscription did not come about.
    refused: Option<Arc<AtomicBool>>,
    /// Held until the answer is given: what bounds the requests of one session that are under way.
    _under_way: Option<UnderWay>,
}

enum To {
    Session { hub: Hub, session: SessionKey, id: Option<u64> },
    Caller(oneshot::Sender<Outcome>),
    Part { gather: Arc<Gather>, place: usize, topic: Arc<str> },
}

impl Answer {
    /// An answer that becomes a frame for a session.
    pub(crate) fn session(hub: Hub, session: SessionKey, id: Option<u64>) -> Self {
        Self { to: Some(To::Session { hub, session, id }), refused: None, _under_way: None }
    }

    /// An answer for code that waits.
    pub(crate) fn caller() -> (Self, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        (Self { to: Some(To::Caller(sender)), refused: None, _under_way: None }, receiver)
    }

    /// Splits the answer to a request about several topics into one for each; the request is answered when all are.
    pub(crate) fn split(self, topics: impl ExactSizeIterator<Item = Arc<str>>) -> Vec<Self> {
        let gather = Arc::new(Gather {
            outcomes: Mutex::new((0..topics.len()).map(|_| None).collect()),
            open: AtomicUsize::new(topics.len()),
            whole: Mutex::new(Some(self)),
        });
        let part = |(place, topic)| {
            let to = To::Part { gather: Arc::clone(&gather), place, topic };
            Self { to: Some(to), refused: None, _under_way: None }
        };
        topics.enumerate().map(part).collect()
    }

    /// The same answer, which sets `refused` if it is a failure.
    pub(crate) fn refusing(mut self, refused: Arc<AtomicBool>) -> Self {
        self.refused = Some(refused);
        self
    }

    /// The same answer, which counts as under way until it is given.
    pub(crate) fn under_way(mut self, under_way: UnderWay) -> Self {
        self._under_way = Some(under_way);
        self
    }

    pub(crate) fn ok(self, reply: Reply) {
        self.give(Ok(reply));
    }

    pub(crate) fn fail(self, failure: Failure) {
        self.give(Err(failure));
    }

    fn give(mut self, outcome: Outcome) {
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: Outcome) {
        if let (Err(_), Some(refused)) = (&outcome, &self.refused) {
            refused.store(true, Release);
        }
        match self.to.take() {
            Some(To::Session { hub, session, id }) => hub.push(session, Push::Reply { id, outcome }),
            Some(To::Caller(sender)) => {
                // Who no longer waits need not know.
                let _ = sender.send(outcome);
            }
            Some(To::Part { gather, place, topic }) => gather.put(place, topic, outcome),
            None => {}
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.to.is_some() {
            self.settle(Err(Failure::new(ErrorCode::Internal, "the request was dropped")));
        }
    }
}

type Part = Result<Subscribed, (Arc<str>, Failure)>;

/// Collects the outcomes of a request about several topics.
struct Gather {
    outcomes: Mutex<Vec<Option<Part>>>,
    open: AtomicUsize,
    whole: Mutex<Option<Answer>>,
}

impl Gather {
    fn put(&self, place: usize, topic: Arc<str>, outcome: Outcome) {
        let part = match outcome {
            Ok(Reply::Subscribed(subscribed)) => Ok(subscribed),
            Ok(_) => Err((topic, Failure::new(ErrorCode::Internal, "not the answer to a subscription"))),
            Err(failure) => Err((topic, failure)),
        };
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(part);
        if self.open.fetch_sub(1, AcqRel) > 1 {
            return;
        }
        let outcomes = std::mem::take(&mut *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(whole) = self.whole.lock().unwrap_or_else(PoisonError::into_inner).take() {
            whole.ok(Reply::SubscribedAll(outcomes.into_iter().flatten().collect()));
        }
    }
}

/// Counts the requests of one session that are under way.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    under_way: AtomicUsize,
    less: Notify,
}

/// One request under way.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Traffic>);

impl Traffic {
    pub(crate) fn enter(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, AcqRel);
        UnderWay(Arc::clone(self))
    }

    pub(crate) fn is_below(&self, bound: usize) -> bool {
        self.under_way.load(Acquire) < bound
    }

    /// Waits until fewer than `bound` requests are under way.
    pub(crate) async fn below(&self, bound: usize) {
        while !self.is_below(bound) {
            self.less.notified().await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, AcqRel);
        // One session waits for its own traffic, so one permit is enough and none is lost.
        self.0.less.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rialto_protocol::Position;

    fn subscribed(topic: &str) -> Reply {
        let position = Position { epoch: "e".into(), offset: 1 };
        Reply::Subscribed(Subscribed { topic: topic.into(), position, recovered: None })
    }

    #[test]
    fn an_answer_that_is_dropped_says_internal() {
        let (answer, mut receiver) = Answer::caller();
        drop(answer);
        let outcome = receiver.try_recv().expect("an outcome");
        assert_eq!(outcome.expect_err("a failure").code, ErrorCode::Internal);
    }

    #[test]
    fn parts_are_answered_together_in_their_order() {
        let (answer, mut receiver) = Answer::caller();
        let refused = Arc::new(AtomicBool::new(false));
        let mut parts = answer.split(["a", "b"].map(Arc::from).into_iter());
        let second = parts.pop().expect("two parts").refusing(Arc::clone(&refused));
        second.fail(Failure::new(ErrorCode::Forbidden, "no"));
        assert!(receiver.try_recv().is_err(), "one part is still open");
        parts.pop().expect("one part").ok(subscribed("a"));
        let outcome = receiver.try_recv().expect("an outcome").expect("the whole succeeds");
        let Reply::SubscribedAll(outcomes) = outcome else { panic!("{outcome:?}") };
        assert_eq!(outcomes[0].as_ref().map(|one| &*one.topic), Ok("a"));
        assert_eq!(
            outcomes[1].as_ref().map_err(|(topic, failure)| (&**topic, failure.code)),
            Err(("b", ErrorCode::Forbidden))
        );
        assert!(refused.load(Acquire));
    }
}
