//! The host of a replay: answers a hook's calls from its recording, and notes where the hook makes another call.

use super::event::{HostCall, HostReply, HostRequest, Step};
use crate::imports::{Entry, Imports, Level, Refusal};
use crate::message::Raw;
use crate::native::Limited;
use crate::payload::Payload;
use crate::session::Session;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;

/// Where a replay is no longer what was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The number of the event.
    pub number: u64,
    /// The hook, and what it was about.
    pub event: String,
    /// What the recording has there.
    pub recorded: String,
    /// What came instead.
    pub replayed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "first difference at event {}, {}", self.number, self.event)?;
        writeln!(f, "  recorded: {}", self.recorded)?;
        write!(f, "  replayed: {}", self.replayed)
    }
}

/// Answers one hook at a time from its recording.
#[derive(Debug, Default)]
pub struct Player {
    state: RefCell<Playback>,
}

#[derive(Debug, Default)]
struct Playback {
    number: u64,
    event: String,
    now_ms: u64,
    calls: VecDeque<HostCall>,
    outcome: String,
    /// Whether the recorded hook was ended from outside after its last call.
    ended: bool,
    difference: Option<Difference>,
    /// Whether the hook has made more calls than were recorded before it was ended.
    over: bool,
}

impl Player {
    /// The next hook is this one.
    pub fn begin(&self, step: &Step) {
        let mut state = self.state.borrow_mut();
        state.number = step.number;
        state.event = format!("{} ({})", step.event.hook(), step.event.about());
        state.now_ms = step.now_ms;
        state.calls = step.calls.iter().cloned().collect();
        state.outcome = describe(&step.outcome);
        state.ended = matches!(step.outcome, super::Outcome::Limit(_) | super::Outcome::Deadline);
        state.over = false;
    }

    /// The time of day that the hook sees.
    pub fn now_ms(&self) -> u64 {
        self.state.borrow().now_ms
    }

    /// Whether the hook reached the place where it was ended from outside.
    pub fn has_reached_its_end(&self) -> bool {
        self.state.borrow().over
    }

    /// Notes that a hook had another outcome or call than was recorded.
    pub fn differs(&self, recorded: String, replayed: String) {
        let mut state = self.state.borrow_mut();
        if state.difference.is_none() {
            let (number, event) = (state.number, state.event.clone());
            state.difference = Some(Difference { number, event, recorded, replayed });
        }
    }

    /// Passes over the line that a panic leaves in the log of a component, and not in that of a native plugin: the outcome
    /// tells it too.
    pub fn skip_panic(&self) {
        let mut state = self.state.borrow_mut();
        if state
            .calls
            .front()
            .is_some_and(|call| matches!(&call.request, HostRequest::Log { text, .. } if is_panic(text)))
        {
            state.calls.pop_front();
        }
    }

    /// Notes a host call that was recorded and did not come.
    pub fn finish(&self) {
        let missing = self.state.borrow().calls.front().map(|call| describe(&call.request));
        if let Some(missing) = missing {
            self.differs(missing, "the hook has ended".to_owned());
        }
    }

    /// The first difference, if there is one.
    pub fn difference(&self) -> Option<Difference> {
        self.state.borrow().difference.clone()
    }

    /// The recorded answer, if this is the recorded call.
    fn answer(&self, request: HostRequest) -> Option<HostReply> {
        let mut state = self.state.borrow_mut();
        if state.difference.is_some() || state.over {
            return None;
        }
        match state.calls.pop_front() {
            Some(call) if call.request == request => Some(call.reply),
            None if state.ended => {
                state.over = true;
                None
            }
            other => {
                let recorded = match other {
                    Some(call) => describe(&call.request),
                    None => format!("the hook has ended: {}", state.outcome),
                };
                drop(state);
                self.differs(recorded, describe(&request));
                None
            }
        }
    }

    fn done(&self, request: HostRequest) -> Result<(), Refusal> {
        match self.answer(request) {
            Some(HostReply::Refused(refusal)) => Err(refusal),
            Some(_) => Ok(()),
            None => Err(over()),
        }
    }
}

/// Something of a recording as a line for people, cut where it is long.
pub(crate) fn describe(value: &impl serde::Serialize) -> String {
    const LONGEST: usize = 300;
    let mut text = serde_json::to_string(value).unwrap_or_default();
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

fn over() -> Refusal {
    Refusal::Forbidden("the replay is over".to_owned())
}

impl Limited for Player {
    /// Whether the hook made another call than was recorded, or more calls.
    fn is_over(&self) -> bool {
        let state = self.state.borrow();
        state.over || state.difference.is_some()
    }
}

impl Imports for Player {
    fn publish(&self, topic: &str, payload: Payload, exclude: Option<&str>) -> Result<(), Refusal> {
        self.done(HostRequest::Publish { topic: topic.to_owned(), payload, exclude: exclude.map(str::to_owned) })
    }

    fn remove(&self, topic: &str, offset: u64) -> Result<(), Refusal> {
        self.done(HostRequest::Remove { topic: topic.to_owned(), offset })
    }

    fn send(&self, session: &str, payload: Payload) -> Result<(), Refusal> {
        self.done(HostRequest::Send { session: session.to_owned(), payload })
    }

    fn send_raw(&self, session: &str, message: Raw) -> Result<(), Refusal> {
        self.done(HostRequest::SendRaw { session: session.to_owned(), message })
    }

    fn sessions(&self, topic: &str, after: Option<&str>, limit: u32) -> Result<Vec<Session>, Refusal> {
        match self.answer(HostRequest::Sessions { topic: topic.to_owned(), after: after.map(str::to_owned), limit }) {
            Some(HostReply::Sessions(sessions)) => Ok(sessions),
            Some(HostReply::Refused(refusal)) => Err(refusal),
            _ => Err(over()),
        }
    }

    fn session_count(&self, topic: &str) -> Result<u64, Refusal> {
        match self.answer(HostRequest::SessionCount { topic: topic.to_owned() }) {
            Some(HostReply::Number(count)) => Ok(count),
            Some(HostReply::Refused(refusal)) => Err(refusal),
            _ => Err(over()),
        }
    }

    fn subscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        self.done(HostRequest::Subscribe { session: session.to_owned(), topic: topic.to_owned() })
    }

    fn unsubscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        self.done(HostRequest::Unsubscribe { session: session.to_owned(), topic: topic.to_owned() })
    }

    fn disconnect(&self, session: &str, reason: &str) -> Result<(), Refusal> {
        self.done(HostRequest::Disconnect { session: session.to_owned(), reason: reason.to_owned() })
    }

    fn set_timer(&self, name: &str, delay_ms: u64, payload: Option<Payload>) -> Result<(), Refusal> {
        self.done(HostRequest::SetTimer { name: name.to_owned(), delay_ms, payload })
    }

    fn cancel_timer(&self, name: &str) -> Result<(), Refusal> {
        self.done(HostRequest::CancelTimer { name: name.to_owned() })
    }

    fn timer_due_ms(&self, name: &str) -> Result<Option<u64>, Refusal> {
        match self.answer(HostRequest::TimerDue { name: name.to_owned() }) {
            Some(HostReply::Due(due_ms)) => Ok(due_ms),
            Some(HostReply::Refused(refusal)) => Err(refusal),
            _ => Err(over()),
        }
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        match self.answer(HostRequest::Get { key: key.to_owned() }) {
            Some(HostReply::Value(value)) => Ok(value),
            Some(HostReply::Refused(refusal)) => Err(refusal),
            _ => Err(over()),
        }
    }

    fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Refusal> {
        self.done(HostRequest::Put { key: key.to_owned(), value })
    }

    fn delete(&self, key: &str) -> Result<(), Refusal> {
        self.done(HostRequest::Delete { key: key.to_owned() })
    }

    fn scan(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<Entry>, Refusal> {
        match self.answer(HostRequest::Scan { prefix: prefix.to_owned(), after: after.map(str::to_owned), limit }) {
            Some(HostReply::Entries(entries)) => Ok(entries),
            Some(HostReply::Refused(refusal)) => Err(refusal),
            _ => Err(over()),
        }
    }

    fn log(&self, level: Level, text: &str) {
        if is_panic(text) {
            return self.skip_panic();
        }
        self.answer(HostRequest::Log { level, text: text.to_owned() });
    }

    fn now_ms(&self) -> u64 {
        match self.answer(HostRequest::Now) {
            Some(HostReply::Number(now_ms)) => now_ms,
            _ => self.now_ms(),
        }
    }

    fn random(&self) -> u64 {
        match self.answer(HostRequest::Random) {
            Some(HostReply::Number(bits)) => bits,
            _ => 0,
        }
    }

    fn authenticate(&self, session: &str, user: &str, _: &str) -> Result<(), Refusal> {
        self.done(HostRequest::Authenticate { session: session.to_owned(), user: user.to_owned() })
    }
}

fn is_panic(text: &str) -> bool {
    text.starts_with("panicked at ")
}
