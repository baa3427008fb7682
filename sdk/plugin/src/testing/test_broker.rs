//! What the double keeps between hooks: the state, timers, sessions, clock and log of a test. The rules for hooks are the
//! broker's, in [`crate::host`].

use super::effect::{Effect, Published, Sent, checked_to_json};
use super::limits::Limits;
use crate::host::{
    self, Capabilities, Capability, Credentials, HookLimits, HookOutput, HookTime, HostEnvironment, KnownSession,
    Permission, SessionMessage, StateEntry, state_entry_bytes,
};
use crate::imports::{Level, Refusal};
use crate::message::Raw;
use crate::payload::Payload;
use crate::session::Session;
use rialto_protocol::topic::{Pattern, Topic};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// The clock of a new host: 1 January 2026, 00:00 UTC.
const START_MS: u64 = 1_767_225_600_000;

/// The broker of a test.
pub(super) struct TestBroker {
    pub(super) limits: Limits,
    owned: Vec<Pattern>,
    capabilities: Capabilities,
    entries: BTreeMap<String, Arc<[u8]>>,
    entry_bytes: usize,
    timers: BTreeMap<String, PendingTimer>,
    /// The sessions on each topic.
    members: BTreeMap<String, BTreeMap<String, Session>>,
    /// The sessions on raw endpoints.
    connected: BTreeMap<String, Session>,
    /// Those that are being authenticated.
    authenticating: BTreeSet<String>,
    logs: RefCell<Vec<(Level, String)>>,
    pub(super) now_ms: u64,
    random: Cell<u64>,
}

/// A timer that waits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PendingTimer {
    pub(super) due_ms: u64,
    pub(super) payload: Option<Payload>,
    pub(super) failures: u32,
}

impl TestBroker {
    pub(super) fn new() -> Self {
        Self {
            limits: Limits::default(),
            owned: Vec::new(),
            capabilities: of(&Capability::OWN),
            entries: BTreeMap::new(),
            entry_bytes: 0,
            timers: BTreeMap::new(),
            members: BTreeMap::new(),
            connected: BTreeMap::new(),
            authenticating: BTreeSet::new(),
            logs: RefCell::default(),
            now_ms: START_MS,
            random: Cell::new(0),
        }
    }

    pub(super) fn own(&mut self, pattern: &str) {
        self.owned.push(Pattern::parse(pattern).unwrap_or_else(|error| panic!("{error}")));
    }

    pub(super) fn need(&mut self, needs: impl Iterator<Item = String>) {
        let parse = |text: String| Capability::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        self.capabilities = of(&needs.map(parse).collect::<Vec<_>>());
    }

    pub(super) fn enter(&mut self, topic: &str, session: &Session) {
        self.members.entry(topic.to_owned()).or_default().insert(session.id.clone(), session.clone());
    }

    pub(super) fn leave(&mut self, topic: &str, session: &str) {
        if let Some(members) = self.members.get_mut(topic) {
            members.remove(session);
        }
        self.members.retain(|_, members| !members.is_empty());
    }

    /// A session connects to a raw endpoint.
    pub(super) fn connect(&mut self, session: &Session) {
        self.connected.insert(session.id.clone(), session.clone());
    }

    /// A session leaves its raw endpoint.
    pub(super) fn disconnect(&mut self, session: &str) {
        self.connected.remove(session);
        self.authenticating.remove(session);
    }

    /// A session is no longer being authenticated; where that has succeeded it is this one from now on. Returns whether it
    /// was.
    pub(super) fn end_authentication(&mut self, session: &Session, is_success: bool) -> bool {
        let was_asked = self.authenticating.remove(&session.id);
        if was_asked && is_success {
            let topics = self.members.values_mut().filter_map(|members| members.get_mut(&session.id));
            topics.chain(self.connected.get_mut(&session.id)).for_each(|known| *known = session.clone());
        }
        was_asked
    }

    /// The topics that a session is on.
    pub(super) fn topics_of(&self, session: &str) -> Vec<String> {
        let on = self.members.iter().filter(|(_, members)| members.contains_key(session));
        on.map(|(topic, _)| topic.clone()).collect()
    }

    /// Timers that wait, with the time at which each is due.
    pub(super) fn timers(&self) -> BTreeMap<String, u64> {
        self.timers.iter().map(|(name, timer)| (name.clone(), timer.due_ms)).collect()
    }

    /// The timer that is due first, of those of one time the first by name.
    pub(super) fn first_timer(&self) -> Option<(String, PendingTimer)> {
        let first = self.timers.iter().min_by_key(|(name, timer)| (timer.due_ms, (*name).clone()))?;
        Some((first.0.clone(), first.1.clone()))
    }

    pub(super) fn timer(&self, name: &str) -> Option<&PendingTimer> {
        self.timers.get(name)
    }

    pub(super) fn put_timer(&mut self, name: &str, timer: Option<PendingTimer>) {
        match timer {
            Some(timer) => drop(self.timers.insert(name.to_owned(), timer)),
            None => drop(self.timers.remove(name)),
        }
    }

    /// Whether events of a topic reach the plugin.
    pub(super) fn owns_name(&self, topic: &str) -> bool {
        Topic::parse(topic).is_ok_and(|topic| self.owns(&topic))
    }

    pub(super) fn logs(&self) -> Vec<(Level, String)> {
        self.logs.borrow().clone()
    }

    /// Every entry whose key begins with `prefix`, without the prefix.
    pub(super) fn entries(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let entries = self.entries.iter().filter_map(|(key, content)| Some((key.strip_prefix(prefix)?, content)));
        entries.map(|(key, content)| (key.to_owned(), content.to_vec())).collect()
    }

    /// Writes an entry outside of any hook.
    pub(super) fn insert(&mut self, key: String, content: Vec<u8>) {
        self.write(key, Some(content.into()));
    }

    /// Keeps what a hook wrote, and returns its effects as a test sees them. `caller` is the session that caused the hook.
    pub(super) fn commit(&mut self, output: HookOutput, caller: Option<&Session>) -> Vec<Effect> {
        for (key, value) in output.values {
            self.write(key, value);
        }
        for (name, timer) in output.timers {
            let timer = timer.map(|timer| PendingTimer {
                due_ms: timer.due_unix_ms,
                payload: timer.payload.as_ref().map(Payload::from),
                failures: 0,
            });
            self.put_timer(&name, timer);
        }
        let effects: Vec<_> = output.effects.into_iter().map(|effect| self.describe(effect, caller)).collect();
        for effect in &effects {
            match effect {
                Effect::Subscribed { session, topic } => self.enter(topic, session),
                Effect::Unsubscribed { session, topic } => self.leave(topic, &session.id),
                // Of one that has ended nothing comes.
                Effect::Authenticate { session, .. } if self.connected.contains_key(&session.id) => {
                    self.authenticating.insert(session.id.clone());
                }
                Effect::Published(_)
                | Effect::Removed { .. }
                | Effect::Sent { .. }
                | Effect::Disconnected { .. }
                | Effect::Authenticate { .. } => {}
            }
        }
        effects
    }

    /// How many bytes the state takes.
    pub(super) fn entry_bytes(&self) -> usize {
        self.entry_bytes
    }

    fn write(&mut self, key: String, value: Option<Arc<[u8]>>) {
        let size = |value: &Arc<[u8]>| state_entry_bytes(&key, value);
        let added = value.as_ref().map_or(0, size);
        self.entry_bytes -= self.entries.get(&key).map_or(0, size);
        self.entry_bytes += added;
        match value {
            Some(value) => drop(self.entries.insert(key, value)),
            None => drop(self.entries.remove(&key)),
        }
    }

    fn describe(&self, effect: host::Effect, caller: Option<&Session>) -> Effect {
        let session = |id: &str| {
            let caller = caller.filter(|caller| caller.id == id);
            let member = || self.members.values().find_map(|members| members.get(id));
            let known = caller.or_else(member).or_else(|| self.connected.get(id));
            known.cloned().unwrap_or_else(|| Session::new(id))
        };
        match effect {
            host::Effect::Publish { topic, payload, .. } => {
                let data = checked_to_json(&payload);
                Effect::Published(Published { topic: topic.to_string(), data, payload: Payload::from(&payload) })
            }
            host::Effect::Remove { topic, offset } => Effect::Removed { topic: topic.to_string(), offset },
            host::Effect::Send { session: id, what } => {
                let what = match what {
                    SessionMessage::Payload(payload) => {
                        Sent::Payload { data: checked_to_json(&payload), payload: Payload::from(&payload) }
                    }
                    SessionMessage::Text(text) => Sent::Raw(Raw::Text(text)),
                    SessionMessage::Binary(bytes) => Sent::Raw(Raw::Binary(bytes.into())),
                };
                Effect::Sent { session: session(&id), what }
            }
            host::Effect::Subscribe { session: id, topic, .. } => {
                Effect::Subscribed { session: session(&id), topic: topic.to_string() }
            }
            host::Effect::Unsubscribe { session: id, topic, .. } => {
                Effect::Unsubscribed { session: session(&id), topic: topic.to_string() }
            }
            host::Effect::Disconnect { session: id, reason } => Effect::Disconnected { session: session(&id), reason },
            host::Effect::Authenticate { session: id, credentials: Credentials { user, secret } } => {
                Effect::Authenticate { session: session(&id), user, secret }
            }
        }
    }
}

/// These capabilities, all of them granted.
fn of(needs: &[Capability]) -> Capabilities {
    Capabilities::of(needs, needs).unwrap_or_else(|need| panic!("`{need}` is granted"))
}

impl HostEnvironment for TestBroker {
    fn limits(&self) -> HookLimits {
        self.limits.into()
    }

    fn owns(&self, topic: &Topic) -> bool {
        self.owned.is_empty() || self.owned.iter().any(|pattern| pattern.matches(topic))
    }

    fn may(&self, permission: Permission<'_>) -> bool {
        self.capabilities.may(permission)
    }

    fn session(&self, id: &str) -> Option<KnownSession> {
        let is_raw = self.connected.contains_key(id);
        let is_known = is_raw || self.members.values().any(|members| members.contains_key(id));
        is_known.then(|| KnownSession { id: id.into(), is_raw })
    }

    fn is_authenticating(&self, session: &str) -> bool {
        self.authenticating.contains(session)
    }

    fn visit_members(
        &self,
        topic: &Topic,
        after: Option<&str>,
        limit: usize,
        visit: &mut dyn FnMut(Session) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let members = self.members.get(topic.as_str());
        let members = members.map(|members| members.range::<str, _>((from, Bound::Unbounded)));
        members.into_iter().flatten().take(limit).try_for_each(|(_, session)| visit(session.clone()))
    }

    fn member_count(&self, topic: &Topic) -> usize {
        self.members.get(topic.as_str()).map_or(0, BTreeMap::len)
    }

    fn value(&self, key: &str) -> Result<Option<Arc<[u8]>>, Refusal> {
        Ok(self.entries.get(key).cloned())
    }

    fn next_entry(&self, from: Bound<&str>) -> Result<Option<StateEntry>, Refusal> {
        let next = self.entries.range::<str, _>((from, Bound::Unbounded)).next();
        Ok(next.map(|(key, value)| (key.clone(), Arc::clone(value))))
    }

    fn state_bytes(&self) -> Result<usize, Refusal> {
        Ok(self.entry_bytes)
    }

    fn timer_due_ms(&self, name: &str, now: HookTime) -> Option<u64> {
        self.timers.get(name).map(|timer| timer.due_ms.saturating_sub(now.monotonic_ms))
    }

    fn timer_count(&self) -> usize {
        self.timers.len()
    }

    /// SplitMix64 from 0: the same numbers in every run.
    fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mut bits = state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn log(&self, level: Level, text: &str) {
        self.logs.borrow_mut().push((level, text.to_owned()));
    }
}
