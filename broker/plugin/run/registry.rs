//! The sessions and timers of a plugin, across its instances: the members of its topics, the sessions on its endpoints, and
//! the timers by the time at which they are due. It calls no hooks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_protocol::Payload;

use super::pending::MembershipChange;
use super::state::{Generation, PluginState};
use crate::auth::identity::Identity;
use crate::clock::Now;
use crate::plugin::PluginSession;
use crate::store::{Batch, Begun, KeptTimer, NamedTimer, Store, StoreError};
use crate::topic::Topic;

/// How often a timer is tried whose hook fails, and how long it waits after the first try.
const TRIES_MAX: u32 = 3;
const RETRY_MS: u64 = 1_000;

/// The sessions, timers and state of one plugin. Its thread writes them; other threads look things up.
#[derive(Debug)]
pub(crate) struct PluginRegistry {
    pages: Mutex<Pages>,
    state: PluginState,
}

#[derive(Debug, Default)]
pub(in crate::plugin) struct Pages {
    topics: BTreeMap<Topic, BTreeMap<Arc<str>, PluginSession>>,
    endpoints: HashMap<Arc<str>, Connected>,
    /// The number of topics and endpoints that each session is on.
    places: HashMap<Arc<str>, usize>,
    timers: BTreeMap<TimerName, Timer>,
    by_due: BTreeSet<(u64, TimerName)>,
}

/// A session on a raw endpoint.
#[derive(Debug)]
struct Connected {
    endpoint: Arc<str>,
    authentication: Authentication,
}

/// How far the authentication of a session has come that a hook asked for.
#[derive(Debug, Default)]
enum Authentication {
    /// No hook has asked.
    #[default]
    None,
    UnderWay,
    Verified(Verified),
}

/// Who a session is, or why that is not known.
pub(crate) type Verified = Result<Arc<Identity>, String>;

/// The namespace whose timer it is, and its name there.
pub(in crate::plugin) type TimerName = (Arc<str>, String);

/// A timer that waits.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Timer {
    due_ms: u64,
    pub(in crate::plugin) payload: Option<Payload>,
    failures: u32,
}

impl PluginRegistry {
    /// The registry of a plugin without sessions and timers, whose state is in this store.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { pages: Mutex::default(), state: PluginState::new(store) }
    }

    /// The plugin's state.
    pub(crate) fn state(&self) -> &PluginState {
        &self.state
    }

    pub(in crate::plugin) fn open(&self) -> MutexGuard<'_, Pages> {
        // Each change is finished before the next begins, so the pages are consistent even after a panic elsewhere.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a session is on a topic or an endpoint of the plugin.
    pub(crate) fn knows(&self, session: &str) -> bool {
        self.open().knows(session)
    }

    /// Whether a session is on a topic.
    pub(crate) fn is_on(&self, topic: &Topic, session: &str) -> bool {
        self.open().is_on(topic, session)
    }

    /// Records that a session was assigned to a topic.
    pub(crate) fn enter(&self, topic: &Topic, member: &PluginSession) {
        self.open().enter(topic, member);
    }

    /// Records that a session was removed from a topic. Returns whether it was there.
    pub(crate) fn leave(&self, topic: &Topic, session: &str) -> bool {
        self.open().leave(topic, session)
    }

    /// The members of a topic.
    pub(crate) fn members(&self, topic: &Topic) -> Vec<PluginSession> {
        self.open().members(topic, None).cloned().collect()
    }

    /// The sessions on a raw endpoint.
    pub(crate) fn connected(&self, endpoint: &str) -> Vec<Arc<str>> {
        let pages = self.open();
        let there = pages.endpoints.iter().filter(|(_, connected)| *connected.endpoint == *endpoint);
        there.map(|(session, _)| Arc::clone(session)).collect()
    }

    /// A session on a raw endpoint is being authenticated, until its hook is called. Returns whether it is still there.
    pub(crate) fn begin_authentication(&self, session: &str) -> bool {
        self.open().set_authentication(session, Authentication::UnderWay)
    }

    /// The secret of a session has been verified. Returns whether the session is still there.
    pub(crate) fn set_verified(&self, session: &str, verified: Verified) -> bool {
        self.open().set_authentication(session, Authentication::Verified(verified))
    }

    /// What came of verifying the secret of a session, once.
    pub(crate) fn take_verified(&self, session: &str) -> Option<Verified> {
        self.open().take_verified(session)
    }

    /// A session is not being authenticated after all.
    pub(crate) fn cancel_authentication(&self, session: &str) {
        self.open().end_authentication(session);
    }

    /// Members of these topics show who a session is from now on.
    pub(crate) fn update(&self, topics: &[Topic], member: &PluginSession) {
        let mut pages = self.open();
        for topic in topics {
            if pages.is_on(topic, &member.id) {
                pages.enter(topic, member);
            }
        }
    }

    /// How many timers wait.
    pub(crate) fn timers(&self) -> usize {
        self.open().timers.len()
    }

    /// Begins a commit of what a hook has written that could read this generation of the state. If it is under way, later
    /// hooks see it, with the changes to the members that `anticipate` makes; its completion calls
    /// [`PluginRegistry::complete`].
    pub(crate) fn begin(
        &self,
        batch: Batch,
        generation: Generation,
        anticipate: impl FnOnce() -> Vec<MembershipChange>,
    ) -> Begun {
        self.state.begin(batch, generation, anticipate)
    }

    /// The oldest commit under way is complete. If it is not kept, everything that later hooks saw of it and of those after
    /// it is undone.
    pub(crate) fn complete(&self, result: &Result<(), StoreError>) {
        self.state.complete(result, |changes| {
            let mut pages = self.open();
            changes.into_iter().for_each(|change| pages.undo(change));
        });
    }

    /// Commits what was written besides any hook's request, and waits for that.
    ///
    /// # Errors
    /// When it is not kept.
    pub(in crate::plugin) fn commit(&self, batch: Batch, generation: Generation) -> Result<(), StoreError> {
        match self.begin(batch, generation, Vec::new) {
            Begun::Complete(result) => result,
            Begun::Pending(ticket) => {
                let (result, turn) = ticket.wait();
                self.complete(&result);
                drop(turn);
                result
            }
        }
    }

    /// Records that a session has ended a subscription itself. Returns whether it was on the topic.
    pub(in crate::plugin) fn end(&self, topic: &Topic, session: &str) -> bool {
        self.state.forget_left(topic, session);
        self.leave(topic, session)
    }
}

impl Pages {
    /// Undoes a change to the members whose commit is not kept.
    fn undo(&mut self, change: MembershipChange) {
        match change {
            MembershipChange::Joined { topic, session } => {
                self.leave(&topic, &session);
            }
            MembershipChange::Left { topic, member } => self.enter(&topic, &member),
            MembershipChange::Connected { endpoint, session } => {
                self.disconnect(&endpoint, &session);
            }
        }
    }

    pub(in crate::plugin) fn knows(&self, session: &str) -> bool {
        self.places.contains_key(session)
    }

    /// Whether a session is on a raw endpoint.
    pub(in crate::plugin) fn is_raw(&self, session: &str) -> bool {
        self.endpoints.contains_key(session)
    }

    /// Whether a session is being authenticated.
    pub(in crate::plugin) fn is_authenticating(&self, session: &str) -> bool {
        let authentication = self.endpoints.get(session).map(|connected| &connected.authentication);
        authentication.is_some_and(|authentication| !matches!(authentication, Authentication::None))
    }

    /// A session is no longer being authenticated. Returns whether it is on a raw endpoint.
    pub(in crate::plugin) fn end_authentication(&mut self, session: &str) -> bool {
        self.set_authentication(session, Authentication::None)
    }

    fn set_authentication(&mut self, session: &str, authentication: Authentication) -> bool {
        let Some(connected) = self.endpoints.get_mut(session) else { return false };
        connected.authentication = authentication;
        true
    }

    fn take_verified(&mut self, session: &str) -> Option<Verified> {
        let authentication = &mut self.endpoints.get_mut(session)?.authentication;
        match std::mem::take(authentication) {
            Authentication::Verified(verified) => {
                *authentication = Authentication::UnderWay;
                Some(verified)
            }
            other => {
                *authentication = other;
                None
            }
        }
    }

    pub(in crate::plugin) fn is_on(&self, topic: &Topic, session: &str) -> bool {
        self.topics.get(topic).is_some_and(|members| members.contains_key(session))
    }

    /// Records that a session is on a topic.
    pub(in crate::plugin) fn enter(&mut self, topic: &Topic, member: &PluginSession) {
        let members = self.topics.entry(topic.clone()).or_default();
        if members.insert(Arc::clone(&member.id), member.clone()).is_none() {
            *self.places.entry(Arc::clone(&member.id)).or_default() += 1;
        }
    }

    /// Records that a session has left a topic. Returns whether it was there.
    pub(in crate::plugin) fn leave(&mut self, topic: &Topic, session: &str) -> bool {
        let Some(members) = self.topics.get_mut(topic) else { return false };
        let was_there = members.remove(session).is_some();
        if members.is_empty() {
            self.topics.remove(topic);
        }
        if was_there {
            self.release(session);
        }
        was_there
    }

    /// Records that a session is on a raw endpoint.
    pub(in crate::plugin) fn connect(&mut self, endpoint: &Arc<str>, session: &Arc<str>) {
        let connected = Connected { endpoint: Arc::clone(endpoint), authentication: Authentication::None };
        if self.endpoints.insert(Arc::clone(session), connected).is_none() {
            *self.places.entry(Arc::clone(session)).or_default() += 1;
        }
    }

    /// Records that a session has left its raw endpoint. Returns whether it was there.
    pub(in crate::plugin) fn disconnect(&mut self, endpoint: &str, session: &str) -> bool {
        if self.endpoints.get(session).is_none_or(|connected| *connected.endpoint != *endpoint) {
            return false;
        }
        self.endpoints.remove(session);
        self.release(session);
        true
    }

    fn release(&mut self, session: &str) {
        if let Some(places) = self.places.get_mut(session) {
            *places -= 1;
            if *places == 0 {
                self.places.remove(session);
            }
        }
    }

    /// The members of a topic in the order of their session ids, strictly after one.
    pub(in crate::plugin) fn members(
        &self,
        topic: &Topic,
        after: Option<&str>,
    ) -> impl Iterator<Item = &PluginSession> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let members = self.topics.get(topic).map(|members| members.range::<str, _>((from, Bound::Unbounded)));
        members.into_iter().flatten().map(|(_, member)| member)
    }

    pub(in crate::plugin) fn count(&self, topic: &Topic) -> usize {
        self.topics.get(topic).map_or(0, BTreeMap::len)
    }

    /// When a timer is due, in monotonic milliseconds.
    pub(in crate::plugin) fn due_ms(&self, name: &TimerName) -> Option<u64> {
        self.timers.get(name).map(|timer| timer.due_ms)
    }

    pub(in crate::plugin) fn timer_count(&self) -> usize {
        self.timers.len()
    }

    /// Restores the timers that the store kept: Unix times become times of this process's clock.
    pub(in crate::plugin) fn restore(&mut self, kept: Vec<NamedTimer>, now: Now) {
        for (namespace, name, timer) in kept {
            let due_ms = now.monotonic_ms + timer.due_unix_ms.saturating_sub(now.unix_ms);
            self.set((namespace, name), due_ms, timer.payload);
        }
    }

    /// Goes back to the timers that the store kept, after changes to them were not. Those that are overdue wait for so long.
    pub(in crate::plugin) fn reset_timers(&mut self, kept: Vec<NamedTimer>, now: Now, delay_ms: u64) {
        let before = std::mem::take(&mut self.timers);
        self.by_due.clear();
        self.restore(kept, now);
        let overdue: Vec<TimerName> = self
            .by_due
            .iter()
            .take_while(|(due_ms, _)| *due_ms <= now.monotonic_ms)
            .map(|(_, name)| name.clone())
            .collect();
        overdue.iter().for_each(|name| self.postpone(name, now.monotonic_ms + delay_ms));
        for (name, timer) in &mut self.timers {
            timer.failures = before.get(name).map_or(0, |before| before.failures);
        }
    }

    /// Applies a hook's changes to the timers of a namespace, once they are committed.
    pub(in crate::plugin) fn apply(
        &mut self,
        namespace: &Arc<str>,
        timers: BTreeMap<String, Option<KeptTimer>>,
        now: Now,
    ) {
        for (name, timer) in timers {
            let name = (Arc::clone(namespace), name);
            match timer {
                Some(timer) => {
                    // Two more, because the time of the hook and both clocks are cut to whole milliseconds: never early.
                    let due_ms = now.monotonic_ms + timer.due_unix_ms.saturating_sub(now.unix_ms) + 2;
                    self.set(name, due_ms, timer.payload);
                }
                None => self.cancel(&name),
            }
        }
    }

    fn set(&mut self, name: TimerName, due_ms: u64, payload: Option<Payload>) {
        self.cancel(&name);
        self.by_due.insert((due_ms, name.clone()));
        self.timers.insert(name, Timer { due_ms, payload, failures: 0 });
    }

    fn cancel(&mut self, name: &TimerName) {
        if let Some(timer) = self.timers.remove(name) {
            self.by_due.remove(&(timer.due_ms, name.clone()));
        }
    }

    /// When the first timer is due.
    pub(in crate::plugin) fn first_due_ms(&self) -> Option<u64> {
        self.by_due.first().map(|(due_ms, _)| *due_ms)
    }

    /// The timer that has been due for the longest time.
    pub(in crate::plugin) fn due(&self, now_ms: u64) -> Option<(TimerName, Timer)> {
        let (due_ms, name) = self.by_due.first()?;
        let timer = self.timers.get(name).filter(|_| *due_ms <= now_ms)?;
        Some((name.clone(), timer.clone()))
    }

    /// A timer's hook has failed: schedules a retry. Returns true when that was the last try; the timer is removed then.
    pub(in crate::plugin) fn failed(&mut self, name: &TimerName, now_ms: u64) -> bool {
        let Some(timer) = self.timers.get(name).cloned() else { return false };
        let failures = timer.failures + 1;
        self.cancel(name);
        if failures >= TRIES_MAX {
            return true;
        }
        let due_ms = now_ms + RETRY_MS * u64::from(failures);
        self.by_due.insert((due_ms, name.clone()));
        self.timers.insert(name.clone(), Timer { due_ms, payload: timer.payload, failures });
        false
    }

    /// Delays a timer whose hook could not be called, without counting a failure.
    pub(in crate::plugin) fn postpone(&mut self, name: &TimerName, until_ms: u64) {
        if let Some(timer) = self.timers.get(name).cloned() {
            self.cancel(name);
            self.by_due.insert((until_ms, name.clone()));
            self.timers.insert(name.clone(), Timer { due_ms: until_ms, ..timer });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn registry() -> PluginRegistry {
        PluginRegistry::new(Arc::new(MemoryStore::new(1 << 20, Arc::default())))
    }

    fn member(session: &str) -> PluginSession {
        PluginSession::anonymous(session)
    }

    #[test]
    fn a_session_is_known_as_long_as_it_has_a_place() {
        let registry = registry();
        let (a, b) = (Topic::parse("a").expect("a topic"), Topic::parse("b").expect("a topic"));
        let mut pages = registry.open();
        for topic in [&a, &b, &a] {
            pages.enter(topic, &member("s1"));
        }
        pages.enter(&a, &member("s0"));
        pages.connect(&"/raw".into(), &"s1".into());
        let names: Vec<_> = pages.members(&a, None).map(|member| member.id.to_string()).collect();
        assert_eq!((names, pages.count(&a), pages.count(&b)), (vec!["s0".to_owned(), "s1".to_owned()], 2, 1));
        assert_eq!(pages.members(&a, Some("s0")).count(), 1);
        assert!(pages.leave(&a, "s1") && !pages.leave(&a, "s1") && pages.knows("s1"));
        assert!(pages.leave(&b, "s1") && pages.knows("s1") && pages.is_raw("s1"));
        assert!(!pages.disconnect("/other", "s1") && pages.disconnect("/raw", "s1") && !pages.knows("s1"));
        assert!(pages.leave(&a, "s0"));
        assert!(pages.topics.is_empty() && pages.places.is_empty() && pages.endpoints.is_empty());
    }

    #[test]
    fn a_session_is_being_authenticated_until_its_hook_or_its_end() {
        let registry = registry();
        assert!(!registry.begin_authentication("s1"), "it is on no endpoint");
        registry.open().connect(&"/raw".into(), &"s1".into());
        assert!(!registry.open().is_authenticating("s1") && registry.take_verified("s1").is_none());
        assert!(registry.begin_authentication("s1") && registry.open().is_authenticating("s1"));
        assert!(registry.take_verified("s1").is_none(), "it is under way");
        assert!(registry.set_verified("s1", Err("wrong".to_owned())));
        assert_eq!(registry.take_verified("s1"), Some(Err("wrong".to_owned())));
        assert!(registry.take_verified("s1").is_none() && registry.open().is_authenticating("s1"), "once");
        assert!(registry.open().end_authentication("s1") && !registry.open().is_authenticating("s1"));
        assert!(registry.begin_authentication("s1") && registry.open().disconnect("/raw", "s1"));
        assert!(!registry.set_verified("s1", Err("late".to_owned())) && !registry.open().is_authenticating("s1"));
    }

    #[test]
    fn timers_come_in_the_order_in_which_they_are_due_and_are_given_up_after_three_failures() {
        let registry = registry();
        let mut pages = registry.open();
        let now = Now { unix_ms: 1_000_000, monotonic_ms: 10 };
        let timer = |in_ms| Some(KeptTimer { due_unix_ms: now.unix_ms + in_ms, payload: None });
        let namespace: Arc<str> = "p".into();
        let timers = [("b", timer(20)), ("a", timer(20)), ("c", timer(5)), ("d", timer(1))];
        pages.apply(&namespace, timers.map(|(name, timer)| (name.to_owned(), timer)).into(), now);
        pages.apply(&namespace, [("d".to_owned(), None)].into(), now);
        assert_eq!((pages.first_due_ms(), pages.timer_count()), (Some(17), 3));
        assert!(pages.due(16).is_none());
        let mut order = Vec::new();
        while let Some((name, _)) = pages.due(32) {
            order.push(name.1.clone());
            pages.cancel(&name);
        }
        assert_eq!(order, ["c", "a", "b"]);
        pages.apply(&namespace, [("e".to_owned(), timer(0))].into(), now);
        let name = (namespace, "e".to_owned());
        assert!(!pages.failed(&name, 10) && !pages.failed(&name, 1_010));
        assert_eq!(pages.due_ms(&name), Some(3_010));
        assert!(pages.failed(&name, 3_010) && pages.timer_count() == 0 && pages.by_due.is_empty());
    }
}
