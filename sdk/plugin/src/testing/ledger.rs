//! The state, clock and log of a test, and the transaction of the hook that runs.

use super::effect::{Effect, Sent};
use super::limits::Limits;
use super::{pattern, value};
use crate::imports::{Entry, Imports, Level, Refusal};
use crate::message::Raw;
use crate::payload::Payload;
use crate::session::Session;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Longest key of the state, in bytes.
const KEY_BYTES_MAX: usize = 1024;
/// Longest name of a timer, and most of a reason that is kept, in bytes.
const TIMER_BYTES_MAX: usize = 255;
const REASON_BYTES_MAX: usize = 123;
/// Longest delay of a timer: a year.
const DELAY_MS_MAX: u64 = 365 * 24 * 3_600_000;
/// How much of a log line is kept, in bytes.
const LOG_BYTES_MAX: usize = 8 << 10;
/// The clock of a new host: 1 January 2026, 00:00 UTC.
const START_MS: u64 = 1_767_225_600_000;

/// A message that went out.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The topic it went to.
    pub topic: String,
    /// Its data as plain JSON; bytes are base64 text.
    pub data: Value,
    /// Its data as it was encoded.
    pub payload: Payload,
}

/// All that a host keeps, with the hook that runs.
pub(super) struct Ledger {
    books: RefCell<Books>,
}

struct Books {
    limits: Limits,
    owned: Vec<String>,
    needs: Option<Vec<String>>,
    entries: BTreeMap<String, Vec<u8>>,
    timers: BTreeMap<String, Waiting>,
    /// Who is on which topic.
    roll: BTreeMap<String, BTreeMap<String, Session>>,
    /// Who is on which raw endpoint.
    endpoints: BTreeMap<String, String>,
    logs: Vec<(Level, String)>,
    now_ms: u64,
    random: u64,
    hook: Hook,
}

/// A timer that waits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Waiting {
    pub(super) due_ms: u64,
    pub(super) payload: Option<Payload>,
    pub(super) failures: u32,
}

/// What the running hook has used and asked for.
#[derive(Default)]
struct Hook {
    host_calls: u32,
    transferred_bytes: usize,
    effects: Vec<Effect>,
    /// What keys and timers held before this hook wrote to them, oldest first.
    undo: Vec<Undo>,
    /// The session that caused it.
    session: Option<Session>,
}

enum Undo {
    Entry(String, Option<Vec<u8>>),
    Timer(String, Option<Waiting>),
}

impl Ledger {
    pub(super) fn new() -> Self {
        let books = Books {
            limits: Limits::default(),
            owned: Vec::new(),
            needs: None,
            entries: BTreeMap::new(),
            timers: BTreeMap::new(),
            roll: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            logs: Vec::new(),
            now_ms: START_MS,
            random: 0,
            hook: Hook::default(),
        };
        Self { books: RefCell::new(books) }
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.books.get_mut().limits = limits;
    }

    pub(super) fn own(&mut self, pattern: String) {
        self.books.get_mut().owned.push(pattern);
    }

    pub(super) fn need(&mut self, needs: Vec<String>) {
        self.books.get_mut().needs = Some(needs);
    }

    /// A hook begins that this session caused.
    pub(super) fn begin(&mut self, session: Option<Session>) {
        self.books.get_mut().hook.session = session;
    }

    pub(super) fn enter(&mut self, topic: &str, session: &Session) {
        let books = self.books.get_mut();
        books.roll.entry(topic.to_owned()).or_default().insert(session.id.clone(), session.clone());
    }

    pub(super) fn leave(&mut self, topic: &str, session: &str) {
        let books = self.books.get_mut();
        if let Some(members) = books.roll.get_mut(topic) {
            members.remove(session);
        }
        books.roll.retain(|_, members| !members.is_empty());
    }

    pub(super) fn come_in(&mut self, endpoint: &str, session: &Session) {
        self.books.get_mut().endpoints.insert(session.id.clone(), endpoint.to_owned());
    }

    pub(super) fn go_out(&mut self, session: &str) {
        self.books.get_mut().endpoints.remove(session);
    }

    /// The topics that a session is on.
    pub(super) fn topics_of(&self, session: &str) -> Vec<String> {
        let books = self.books.borrow();
        let on = books.roll.iter().filter(|(_, members)| members.contains_key(session));
        on.map(|(topic, _)| topic.clone()).collect()
    }

    /// Timers that wait, with the time at which each is due.
    pub(super) fn timers(&self) -> BTreeMap<String, u64> {
        let books = self.books.borrow();
        books.timers.iter().map(|(name, timer)| (name.clone(), timer.due_ms)).collect()
    }

    /// The timer that is due first, of those of one time the first by name.
    pub(super) fn first_timer(&self) -> Option<(String, Waiting)> {
        let books = self.books.borrow();
        let first = books.timers.iter().min_by_key(|(name, timer)| (timer.due_ms, (*name).clone()))?;
        Some((first.0.clone(), first.1.clone()))
    }

    pub(super) fn timer(&self, name: &str) -> Option<Waiting> {
        self.books.borrow().timers.get(name).cloned()
    }

    /// Writes or removes a timer, as a write of the running hook.
    pub(super) fn put_timer(&mut self, name: &str, timer: Option<Waiting>) {
        self.books.get_mut().write_timer(name, timer);
    }

    pub(super) fn set_clock(&mut self, now_ms: u64) {
        self.books.get_mut().now_ms = now_ms;
    }

    pub(super) fn owns(&self, topic: &str) -> bool {
        self.books.borrow().owns(topic)
    }

    pub(super) fn clock_ms(&self) -> u64 {
        self.books.borrow().now_ms
    }

    pub(super) fn logs(&self) -> Vec<(Level, String)> {
        self.books.borrow().logs.clone()
    }

    /// Every entry whose key begins with `prefix`, without the prefix.
    pub(super) fn entries(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let books = self.books.borrow();
        let entries = books.entries.iter().filter_map(|(key, content)| Some((key.strip_prefix(prefix)?, content)));
        entries.map(|(key, content)| (key.to_owned(), content.clone())).collect()
    }

    /// Writes an entry outside of any hook.
    pub(super) fn insert(&mut self, key: String, content: Vec<u8>) {
        self.books.get_mut().entries.insert(key, content);
    }

    /// Keeps what the hook wrote and returns what else it asked for, done to the roll already.
    pub(super) fn commit(&mut self) -> Vec<Effect> {
        let effects = std::mem::take(&mut self.books.get_mut().hook).effects;
        for effect in &effects {
            match effect {
                Effect::Subscribed { session, topic } => self.enter(topic, session),
                Effect::Unsubscribed { session, topic } => self.leave(topic, &session.id),
                Effect::Published(_) | Effect::Sent { .. } | Effect::Disconnected { .. } => {}
            }
        }
        effects
    }

    /// Forgets all that the hook asked for.
    pub(super) fn roll_back(&mut self) {
        let books = self.books.get_mut();
        for undo in std::mem::take(&mut books.hook).undo.into_iter().rev() {
            match undo {
                Undo::Entry(key, Some(content)) => drop(books.entries.insert(key, content)),
                Undo::Entry(key, None) => drop(books.entries.remove(&key)),
                Undo::Timer(name, Some(timer)) => drop(books.timers.insert(name, timer)),
                Undo::Timer(name, None) => drop(books.timers.remove(&name)),
            }
        }
    }

    /// Checks what a hook answers with, and reads it.
    pub(super) fn check_output(&mut self, payload: &Payload) -> Result<Value, String> {
        let books = self.books.get_mut();
        books.transfer(payload.content.len()).map_err(|refusal| refusal.to_string())?;
        value::read(payload).map_err(|problem| format!("the hook's answer is not valid: {problem}"))
    }
}

impl Books {
    fn owns(&self, topic: &str) -> bool {
        self.owned.is_empty() || self.owned.iter().any(|pattern| pattern::selects(pattern, topic))
    }

    fn count_call(&mut self) {
        self.hook.host_calls += 1;
        let limit = self.limits.host_calls;
        assert!(self.hook.host_calls <= limit, "limit: more than {limit} host calls in one hook");
    }

    fn transfer(&mut self, bytes: usize) -> Result<(), Refusal> {
        let (total, limit) = (self.hook.transferred_bytes + bytes, self.limits.transfer_bytes);
        if total > limit {
            return Err(Refusal::Limit(format!("{total} bytes of host calls in one hook, the limit is {limit}")));
        }
        self.hook.transferred_bytes = total;
        Ok(())
    }

    /// A read has no way to be refused, so the broker ends the hook.
    fn transfer_read(&mut self, bytes: usize) {
        self.transfer(bytes).unwrap_or_else(|refusal| panic!("{refusal}"));
    }

    fn write(&mut self, key: &str, content: Option<Vec<u8>>) {
        let before = match content {
            Some(content) => self.entries.insert(key.to_owned(), content),
            None => self.entries.remove(key),
        };
        self.hook.undo.push(Undo::Entry(key.to_owned(), before));
    }

    fn write_timer(&mut self, name: &str, timer: Option<Waiting>) {
        let before = match timer {
            Some(timer) => self.timers.insert(name.to_owned(), timer),
            None => self.timers.remove(name),
        };
        self.hook.undo.push(Undo::Timer(name.to_owned(), before));
    }

    fn effect(&mut self, effect: Effect) -> Result<(), Refusal> {
        if self.hook.effects.len() >= self.limits.effects {
            return Err(Refusal::Limit(format!("more than {} effects in one hook", self.limits.effects)));
        }
        self.hook.effects.push(effect);
        Ok(())
    }

    /// Refuses what needs a capability that the plugin has not.
    fn check_need(&self, capability: &str) -> Result<(), Refusal> {
        match &self.needs {
            Some(needs) if !needs.iter().any(|need| need == capability) => {
                Err(Refusal::Forbidden(format!("the plugin has not the capability `{capability}`")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a topic that is not the plugin's, unless it has a capability for it.
    fn check_topic(&self, topic: &str, capability: &str) -> Result<(), Refusal> {
        pattern::check_topic(topic).map_err(Refusal::Invalid)?;
        let may = |need: &String| {
            let pattern = need.strip_prefix(capability).and_then(|rest| rest.strip_prefix(' '));
            pattern.is_some_and(|pattern| pattern::selects(pattern, topic))
        };
        if self.owns(topic) || self.needs.as_ref().is_some_and(|needs| needs.iter().any(may)) {
            return Ok(());
        }
        Err(Refusal::Forbidden(format!("topic {topic:?} does not belong to this plugin")))
    }

    fn check_own(&self, topic: &str) -> Result<(), Refusal> {
        pattern::check_topic(topic).map_err(Refusal::Invalid)?;
        match self.owns(topic) {
            true => Ok(()),
            false => Err(Refusal::Forbidden(format!("topic {topic:?} does not belong to this plugin"))),
        }
    }

    /// A session that the plugin knows.
    fn known(&self, session: &str) -> Result<Session, Refusal> {
        let caused = self.hook.session.iter().find(|caused| caused.id == session);
        let present = || self.roll.values().find_map(|members| members.get(session));
        let connected = || self.endpoints.contains_key(session).then(|| Session::new(session));
        caused.or_else(present).cloned().or_else(connected).ok_or_else(|| {
            Refusal::Forbidden(format!("no session {session:?} is on a topic or an endpoint of this plugin"))
        })
    }

    fn state_bytes_without(&self, key: &str) -> usize {
        let others = self.entries.iter().filter(|(other, _)| *other != key);
        others.map(|(key, content)| key.len() + content.len()).sum()
    }
}

impl Imports for Ledger {
    fn publish(&self, topic: &str, payload: Payload, exclude: Option<&str>) -> Result<(), Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.check_topic(topic, "publish")?;
        exclude.map(|session| books.known(session)).transpose()?;
        let data = value::read(&payload).map_err(|problem| Refusal::Invalid(format!("payload: {problem}")))?;
        books.transfer(topic.len() + payload.content.len())?;
        books.effect(Effect::Published(Published { topic: topic.to_owned(), data, payload }))
    }

    fn send(&self, session: &str, payload: Payload) -> Result<(), Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        let to = books.known(session)?;
        let data = value::read(&payload).map_err(|problem| Refusal::Invalid(format!("payload: {problem}")))?;
        let is_frame = data["type"].as_str().is_some_and(|kind| kind.starts_with("x-"));
        if !is_frame && !books.endpoints.contains_key(session) {
            let text = "a frame is one map whose `type` is a text that begins with \"x-\"";
            return Err(Refusal::Invalid(text.to_owned()));
        }
        books.transfer(session.len() + payload.content.len())?;
        books.effect(Effect::Sent { session: to, what: Sent::Payload { data, payload } })
    }

    fn send_raw(&self, session: &str, message: Raw) -> Result<(), Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        let to = books.known(session)?;
        if !books.endpoints.contains_key(session) {
            return Err(Refusal::Forbidden("the session is not on a raw endpoint".to_owned()));
        }
        let bytes = match &message {
            Raw::Text(text) => text.len(),
            Raw::Binary(bytes) => bytes.len(),
        };
        books.transfer(session.len() + bytes)?;
        books.effect(Effect::Sent { session: to, what: Sent::Raw(message) })
    }

    fn sessions(&self, topic: &str, after: Option<&str>, limit: u32) -> Result<Vec<Session>, Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.check_need("sessions")?;
        books.check_own(topic)?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let members = books.roll.get(topic).map(|members| members.range::<str, _>((from, Bound::Unbounded)));
        let listed = members.into_iter().flatten().take(limit as usize).map(|(_, session)| session.clone());
        let listed: Vec<Session> = listed.collect();
        books.transfer_read(topic.len() + listed.iter().map(|session| session.id.len()).sum::<usize>());
        Ok(listed)
    }

    fn session_count(&self, topic: &str) -> Result<u64, Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.check_need("sessions")?;
        books.check_own(topic)?;
        Ok(books.roll.get(topic).map_or(0, |members| members.len() as u64))
    }

    fn subscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.check_need("sessions")?;
        let session = books.known(session)?;
        books.check_topic(topic, "subscribe")?;
        books.effect(Effect::Subscribed { session, topic: topic.to_owned() })
    }

    fn unsubscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.check_need("sessions")?;
        let session = books.known(session)?;
        books.check_topic(topic, "subscribe")?;
        books.effect(Effect::Unsubscribed { session, topic: topic.to_owned() })
    }

    fn disconnect(&self, session: &str, reason: &str) -> Result<(), Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.check_need("sessions")?;
        let session = books.known(session)?;
        let reason = reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned();
        books.effect(Effect::Disconnected { session, reason })
    }

    fn set_timer(&self, name: &str, delay_ms: u64, payload: Option<Payload>) -> Result<(), Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.check_need("timers")?;
        if !(1..=TIMER_BYTES_MAX).contains(&name.len()) {
            let text = format!("the name of a timer has 1 to {TIMER_BYTES_MAX} bytes, this one has {}", name.len());
            return Err(Refusal::Invalid(text));
        }
        if delay_ms > DELAY_MS_MAX {
            return Err(Refusal::Invalid(format!("a delay is at most {DELAY_MS_MAX} ms, this one is {delay_ms}")));
        }
        if let Some(payload) = &payload {
            value::read(payload).map_err(|problem| Refusal::Invalid(format!("payload: {problem}")))?;
        }
        if !books.timers.contains_key(name) && books.timers.len() >= books.limits.timers {
            return Err(Refusal::Limit(format!("the plugin has {} timers already", books.limits.timers)));
        }
        books.transfer(name.len() + payload.as_ref().map_or(0, |payload| payload.content.len()))?;
        let due_ms = books.now_ms + delay_ms.max(1);
        books.write_timer(name, Some(Waiting { due_ms, payload, failures: 0 }));
        Ok(())
    }

    fn cancel_timer(&self, name: &str) -> Result<(), Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.check_need("timers")?;
        books.write_timer(name, None);
        Ok(())
    }

    fn timer_due_ms(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.check_need("timers")?;
        let now_ms = books.now_ms;
        Ok(books.timers.get(name).map(|timer| timer.due_ms.saturating_sub(now_ms)))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.check_need("state")?;
        let content = books.entries.get(key).cloned();
        books.transfer_read(key.len() + content.as_ref().map_or(0, Vec::len));
        Ok(content)
    }

    fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.check_need("state")?;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(Refusal::Invalid(format!("a key of {} bytes, 1 to {KEY_BYTES_MAX} are allowed", key.len())));
        }
        books.transfer(key.len() + value.len())?;
        let (total, limit) = (books.state_bytes_without(key) + key.len() + value.len(), books.limits.state_bytes);
        if total > limit {
            return Err(Refusal::Limit(format!("a state of {total} bytes, the limit is {limit}")));
        }
        books.write(key, Some(value));
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.check_need("state")?;
        books.transfer_read(key.len());
        books.write(key, None);
        Ok(())
    }

    fn scan(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<Entry>, Refusal> {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.check_need("state")?;
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let entries: Vec<_> = books
            .entries
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit as usize)
            .map(|(key, content)| (key.clone(), content.clone()))
            .collect();
        let bytes: usize = entries.iter().map(|(key, content)| key.len() + content.len()).sum();
        books.transfer_read(prefix.len() + after.map_or(0, str::len) + bytes);
        Ok(entries)
    }

    fn log(&self, level: Level, text: &str) {
        let mut books = self.books.borrow_mut();
        books.count_call();
        let end = text.floor_char_boundary(LOG_BYTES_MAX);
        books.transfer_read(end);
        books.logs.push((level, text[..end].to_owned()));
    }

    fn now_ms(&self) -> u64 {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.now_ms
    }

    /// SplitMix64 from 0: the same numbers in every run.
    fn random(&self) -> u64 {
        let mut books = self.books.borrow_mut();
        books.count_call();
        books.random = books.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = books.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}
