//! Requests that wait for their answers: sent again in a new session where that can do no harm, given up at their deadlines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rialto_protocol::{Answer, Answered, FrameError, Operation, Outcome, Past, Present, Published};

use super::{Action, Ticket};
use crate::Error;

/// The outcome of a request that succeeded.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Published(Published),
    Answered(Answered),
    Past(Past),
    Present(Present),
    /// The broker's time, Unix milliseconds.
    Pong(u64),
    Subscribed(Vec<Outcome>),
    Done,
}

/// Whether a request may be sent again when the connection is lost before its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It has a key, or it changes nothing.
    Allowed,
    /// It might be done twice.
    Forbidden,
}

/// A request as it is handed in.
#[derive(Debug)]
pub(crate) struct NewRequest {
    pub(crate) ticket: Ticket,
    pub(crate) operation: Operation<'static>,
    pub(crate) within: Duration,
    pub(crate) retry: Retry,
}

/// Where a request has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendStatus {
    Unsent,
    /// In an earlier session, which ended without an answer.
    EarlierSession,
    /// In this one.
    ThisSession,
}

#[derive(Debug)]
struct Waiting {
    request: NewRequest,
    deadline: Instant,
    sent: SendStatus,
}

impl Waiting {
    /// Whether the broker may have done it: it was sent, and it is something that is done.
    fn may_have_acted(&self) -> bool {
        self.sent != SendStatus::Unsent && matches!(self.request.operation, Operation::Publish(_) | Operation::Call(_))
    }
}

/// All requests without an answer, by their ids, which is the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    waiting: BTreeMap<u64, Waiting>,
    deadlines: BTreeSet<(Instant, u64)>,
}

impl Requests {
    /// Takes a request under a new id.
    pub(crate) fn add(&mut self, id: u64, request: NewRequest, now: Instant) {
        let deadline = now + request.within;
        self.deadlines.insert((deadline, id));
        self.waiting.insert(id, Waiting { request, deadline, sent: SendStatus::Unsent });
    }

    /// The requests that this session has not been sent yet, the oldest first.
    pub(crate) fn unsent(&self) -> Vec<u64> {
        let unsent = self.waiting.iter().filter(|(_, waiting)| waiting.sent != SendStatus::ThisSession);
        unsent.map(|(id, _)| *id).collect()
    }

    pub(crate) fn operation(&self, id: u64) -> Option<&Operation<'static>> {
        self.waiting.get(&id).map(|waiting| &waiting.request.operation)
    }

    /// Says that a request goes out in this session.
    pub(crate) fn mark_sent(&mut self, id: u64) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.sent = SendStatus::ThisSession;
        }
    }

    /// Whether any request of this session has no answer yet.
    pub(crate) fn are_under_way(&self) -> bool {
        self.waiting.values().any(|waiting| waiting.sent == SendStatus::ThisSession)
    }

    /// Takes a request out because it has an answer; returns what was asked.
    pub(crate) fn take(&mut self, id: u64) -> Option<NewRequest> {
        let waiting = self.waiting.remove(&id)?;
        self.deadlines.remove(&(waiting.deadline, id));
        Some(waiting.request)
    }

    /// The session has ended. What may not be sent again is over.
    pub(crate) fn lose(&mut self) -> Vec<Action> {
        let mut over = Vec::new();
        for (id, waiting) in &mut self.waiting {
            match (waiting.sent, waiting.request.retry) {
                (SendStatus::ThisSession, Retry::Allowed) => waiting.sent = SendStatus::EarlierSession,
                (SendStatus::ThisSession, Retry::Forbidden) => over.push((*id, Err(Error::Lost))),
                _ => {}
            }
        }
        over.into_iter().filter_map(|(id, outcome)| self.finish(id, outcome)).collect()
    }

    /// Gives up the requests whose deadline has passed.
    pub(crate) fn give_up(&mut self, now: Instant) -> Vec<Action> {
        let mut over = Vec::new();
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now) {
            let Some(waiting) = self.waiting.get(&id) else { break };
            let error = Error::TimedOut { within: waiting.request.within, may_have_acted: waiting.may_have_acted() };
            over.extend(self.finish(id, Err(error)));
        }
        over
    }

    /// The client has ended.
    pub(crate) fn close(&mut self, ending: &crate::Ending) -> Vec<Action> {
        let ids: Vec<(u64, bool)> = self.waiting.iter().map(|(id, waiting)| (*id, waiting.may_have_acted())).collect();
        let closed = |may_have_acted| Err(Error::Closed { ending: ending.clone(), may_have_acted });
        ids.into_iter().filter_map(|(id, may_have_acted)| self.finish(id, closed(may_have_acted))).collect()
    }

    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    fn finish(&mut self, id: u64, outcome: Result<Reply, Error>) -> Option<Action> {
        let request = self.take(id)?;
        Some(Action::Complete { ticket: request.ticket, outcome: Box::new(outcome) })
    }
}

/// Reads the answer to a request.
pub(crate) fn read(operation: &Operation<'_>, answer: &Answer<'_>) -> Result<Reply, FrameError> {
    match operation {
        Operation::Publish(_) => answer.published().map(Reply::Published),
        Operation::Call(_) => answer.answered().map(Reply::Answered),
        Operation::History(_) => answer.past().map(Reply::Past),
        Operation::Presence(_) => answer.present().map(Reply::Present),
        Operation::Subscribe(_) => answer.subscribed().map(Reply::Subscribed),
        Operation::Connect(_) | Operation::Unsubscribe(_) | Operation::Ping(_) => Ok(Reply::Done),
    }
}
