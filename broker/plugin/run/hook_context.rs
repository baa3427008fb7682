//! The host side of a hook, whatever runs the plugin: answers what the hook asks, and keeps what it wants done until the
//! hook has returned `ok`. It commits nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use rialto_plugin::{Entry, Imports, Level, Raw, Refusal, Session};
use rialto_protocol::Payload;

use super::convert::{payload_from_guest, session_to_guest};
use super::limits::{Budget, Exceeded};
use super::registry::PluginRegistry;
use crate::capability::Capabilities;
use crate::clock::Now;
use crate::identity;
use crate::plugin::{Effect, HookEffects, PluginLimits, Sent};
use crate::store::{KeptTimer, StateEntry, StoreError, Writes};
use crate::topic::Topic;

/// Says whether a topic belongs to the plugin.
pub(crate) type Owns = Arc<dyn Fn(&Topic) -> bool + Send + Sync>;

/// Log lines, keys, names of timers and reasons are kept this short.
const LOG_BYTES_MAX: usize = 8 * 1024;
const KEY_BYTES_MAX: usize = 1024;
const TIMER_BYTES_MAX: usize = 255;
const REASON_BYTES_MAX: usize = 123;

/// The longest delay of a timer: a year.
const DELAY_MS_MAX: u64 = 365 * 24 * 3_600_000;

/// What an entry of a list costs beyond its texts, so that many tiny entries are not free.
const ENTRY_BYTES: usize = 64;

/// How many plugins may hand a message on to each other, one behind the other.
pub(crate) const HOPS_MAX: u8 = 8;

/// What all hooks of one instance work on.
#[derive(Clone)]
pub(in crate::plugin) struct InstanceEnv {
    pub(in crate::plugin) plugin: Arc<str>,
    /// Whose state and timers these are: the plugin's, or those of one of its topics.
    pub(in crate::plugin) namespace: Arc<str>,
    pub(in crate::plugin) owns: Owns,
    pub(in crate::plugin) may: Arc<Capabilities>,
    pub(in crate::plugin) registry: Arc<PluginRegistry>,
    pub(in crate::plugin) limits: PluginLimits,
}

/// Answers what hooks ask, and keeps what they want done.
pub(crate) trait HookHost: Imports + Send {
    /// A new hook call begins; whatever an earlier one left is gone.
    fn begin(&self, cause: Cause, now: Now);

    /// What the hook wanted, now that it has returned `ok`.
    fn take(&self) -> HookEffects;

    /// The last line the guest logged as an error in this hook: where a panic says its file and line.
    #[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "only components trap"))]
    fn last_error_line(&self) -> Option<String>;

    /// The limit that ends this hook, if one does.
    fn exceeded(&self) -> Option<Exceeded>;

    /// What a returned payload costs.
    ///
    /// # Errors
    /// [`Exceeded`] when that is too much.
    fn returned(&self, bytes: usize) -> Result<(), Exceeded>;
}

/// What one hook may look at and has asked for.
pub(in crate::plugin) struct HookContext {
    ground: InstanceEnv,
    hook: RefCell<Hook>,
}

/// Why a hook runs, as far as that matters to what it may do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cause {
    /// The session that it is about.
    pub(in crate::plugin) session: Option<Arc<str>>,
    /// Whether that session is on a raw endpoint.
    pub(in crate::plugin) raw: bool,
    /// The timer that is due.
    pub(in crate::plugin) timer: Option<String>,
    /// Through how many plugins it came.
    pub(in crate::plugin) hops: u8,
    /// Whether the instance is only starting.
    pub(in crate::plugin) starting: bool,
}

/// One hook call in progress.
struct Hook {
    cause: Cause,
    now: Now,
    budget: Budget,
    effects: Vec<Effect>,
    values: BTreeMap<String, Option<Arc<[u8]>>>,
    timers: BTreeMap<String, Option<KeptTimer>>,
    /// By how much the writes change the size of the state, and the number of timers.
    growth: isize,
    timer_growth: isize,
    last_error_line: Option<String>,
    exceeded: Option<Exceeded>,
}

impl Hook {
    fn new(limits: &PluginLimits, cause: Cause, now: Now) -> Self {
        // A timer that is due is gone unless its hook sets it again.
        let timers: BTreeMap<_, _> = cause.timer.iter().map(|name| (name.clone(), None)).collect();
        let timer_growth = -isize::from(!timers.is_empty());
        Self {
            cause,
            now,
            budget: Budget::new(limits),
            effects: Vec::new(),
            values: BTreeMap::new(),
            timers,
            growth: 0,
            timer_growth,
            last_error_line: None,
            exceeded: None,
        }
    }

    /// One host call that carries so many bytes. What is beyond the limit ends the hook, whatever the guest makes of it.
    fn call(&mut self, bytes: usize) -> Result<(), Refusal> {
        let taken = self.budget.call(bytes);
        self.check(taken)
    }

    fn bytes(&mut self, bytes: usize) -> Result<(), Refusal> {
        let taken = self.budget.bytes(bytes);
        self.check(taken)
    }

    fn check(&mut self, taken: Result<(), Exceeded>) -> Result<(), Refusal> {
        taken.map_err(|exceeded| {
            let text = exceeded.0.clone();
            self.exceeded = Some(exceeded);
            Refusal::Limit(text)
        })
    }

    fn effect(&mut self, effect: Effect) -> Result<(), Refusal> {
        self.budget.effect().map_err(|exceeded| Refusal::Limit(exceeded.0))?;
        self.effects.push(effect);
        Ok(())
    }

    fn refuse_in_start(&self, what: &str) -> Result<(), Refusal> {
        match self.cause.starting {
            true => Err(Refusal::Forbidden(format!("`start` cannot {what}: there is nobody yet"))),
            false => Ok(()),
        }
    }
}

impl HookContext {
    pub(in crate::plugin) fn new(ground: InstanceEnv) -> Self {
        let hook = RefCell::new(Hook::new(&ground.limits, Cause::default(), Now::default()));
        Self { ground, hook }
    }

    fn value(&self, hook: &Hook, key: &str) -> Result<Option<Arc<[u8]>>, Refusal> {
        match hook.values.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.ground.registry.state().get(&self.ground.namespace, key).map_err(unreadable),
        }
    }

    fn write(&self, hook: &mut Hook, key: &str, value: Option<Arc<[u8]>>) -> Result<(), Refusal> {
        let size = |value: &Option<Arc<[u8]>>| value.as_ref().map_or(0, |value| key.len() + value.len());
        let growth = hook.growth + size(&value) as isize - size(&self.value(hook, key)?) as isize;
        let quota = self.ground.limits.state_bytes;
        let before = self.ground.registry.state().bytes(&self.ground.namespace).map_err(unreadable)?;
        let total = before.saturating_add_signed(growth);
        if value.is_some() && total > quota {
            return Err(Refusal::Limit(format!("state_bytes: the state would be larger than {quota} bytes")));
        }
        hook.growth = growth;
        hook.values.insert(key.to_owned(), value);
        Ok(())
    }

    /// The first entry from `from` on that this hook sees: what is stored, under what it has written.
    fn next(&self, hook: &Hook, from: Bound<&str>) -> Result<Option<StateEntry>, Refusal> {
        let mut from = from.map(str::to_owned);
        loop {
            let at = from.as_ref().map(String::as_str);
            let stored = self.ground.registry.state().next(&self.ground.namespace, at).map_err(unreadable)?;
            let written = hook.values.range::<str, _>((at, Bound::Unbounded)).next();
            let (key, value) = match (stored, written) {
                (None, None) => return Ok(None),
                (Some((key, _)), Some((over, value))) if *over <= key => (over.clone(), value.clone()),
                (Some((key, value)), _) => (key, Some(value)),
                (None, Some((key, value))) => (key.clone(), value.clone()),
            };
            match value {
                Some(value) => return Ok(Some((key, value))),
                None => from = Bound::Excluded(key),
            }
        }
    }

    /// A session that the plugin knows, and whether it is on a raw endpoint.
    fn known(&self, hook: &Hook, session: &str) -> Result<(Arc<str>, bool), Refusal> {
        if hook.cause.session.as_deref() == Some(session) {
            return Ok((session.into(), hook.cause.raw));
        }
        let pages = self.ground.registry.open();
        if pages.knows(session) {
            return Ok((session.into(), pages.is_raw(session)));
        }
        let shown: String = session.chars().filter(|character| !character.is_control()).take(64).collect();
        Err(Refusal::Forbidden(format!("no session \"{shown}\" is on a topic or an endpoint of this plugin")))
    }

    /// A session and a topic to which the plugin may bind it, and whether that is its own.
    fn subscription(&self, hook: &mut Hook, session: &str, topic: &str) -> Result<(Arc<str>, Topic, bool), Refusal> {
        hook.call(session.len() + topic.len())?;
        self.needs(self.ground.may.sessions, "sessions")?;
        let (session, _) = self.known(hook, session)?;
        let topic = parse(topic)?;
        let own = (self.ground.owns)(&topic);
        match own || self.ground.may.may_subscribe(&topic) {
            true => Ok((session, topic, own)),
            false => Err(foreign(&topic)),
        }
    }

    fn own(&self, topic: &str) -> Result<Topic, Refusal> {
        let topic = parse(topic)?;
        match (self.ground.owns)(&topic) {
            true => Ok(topic),
            false => Err(foreign(&topic)),
        }
    }

    fn needs(&self, has: bool, capability: &str) -> Result<(), Refusal> {
        match has {
            true => Ok(()),
            false => Err(Refusal::Forbidden(format!("the plugin has not the capability `{capability}`"))),
        }
    }
}

impl HookHost for HookContext {
    fn begin(&self, cause: Cause, now: Now) {
        *self.hook.borrow_mut() = Hook::new(&self.ground.limits, cause, now);
    }

    fn take(&self) -> HookEffects {
        let hook = &mut *self.hook.borrow_mut();
        let (values, timers) = (std::mem::take(&mut hook.values), std::mem::take(&mut hook.timers));
        let writes = Writes { namespace: Arc::clone(&self.ground.namespace), values, timers };
        HookEffects { effects: std::mem::take(&mut hook.effects), writes, hops: hook.cause.hops }
    }

    fn last_error_line(&self) -> Option<String> {
        self.hook.borrow_mut().last_error_line.take()
    }

    fn exceeded(&self) -> Option<Exceeded> {
        self.hook.borrow().exceeded.clone()
    }

    fn returned(&self, bytes: usize) -> Result<(), Exceeded> {
        self.hook.borrow_mut().budget.bytes(bytes)
    }
}

/// A read of the state that failed. The hook has no outcome then, whatever it makes of this.
fn unreadable(_: StoreError) -> Refusal {
    Refusal::Limit("storage is unavailable, try again later".to_owned())
}

fn parse(topic: &str) -> Result<Topic, Refusal> {
    Topic::parse(topic).map_err(|error| Refusal::Invalid(error.to_string()))
}

fn foreign(topic: &Topic) -> Refusal {
    Refusal::Forbidden(format!("topic \"{topic}\" does not belong to this plugin"))
}

fn check(payload: rialto_plugin::Payload) -> Result<Payload, Refusal> {
    payload_from_guest(payload).map_err(|error| Refusal::Invalid(error.to_string()))
}

/// Whether a payload may be a frame of the protocol: a map whose `type` is a plugin's.
fn is_frame(payload: &Payload) -> bool {
    let value = payload.parse::<serde_json::Value>();
    value.is_ok_and(|value| value.get("type").and_then(|kind| kind.as_str()).is_some_and(|kind| kind.starts_with("x-")))
}

impl Imports for HookContext {
    fn publish(&self, topic: &str, payload: rialto_plugin::Payload, exclude: Option<&str>) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(topic.len() + payload.content.len() + exclude.map_or(0, str::len))?;
        hook.refuse_in_start("publish")?;
        let topic = parse(topic)?;
        let own = (self.ground.owns)(&topic);
        if !own && !self.ground.may.may_publish(&topic) {
            return Err(foreign(&topic));
        }
        if !own && hook.cause.hops >= HOPS_MAX {
            let text = format!("hops: this message came through {HOPS_MAX} plugins already");
            return Err(Refusal::Limit(text));
        }
        let exclude = exclude.map(|session| self.known(hook, session)).transpose()?.map(|(session, _)| session);
        hook.effect(Effect::Publish { topic, payload: check(payload)?, exclude, own })
    }

    fn send(&self, session: &str, payload: rialto_plugin::Payload) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(session.len() + payload.content.len())?;
        let (session, raw) = self.known(hook, session)?;
        let payload = check(payload)?;
        if !raw && !is_frame(&payload) {
            let text = "a frame is one map whose `type` is a text that begins with \"x-\"";
            return Err(Refusal::Invalid(text.to_owned()));
        }
        hook.effect(Effect::Send { session, what: Sent::Payload(payload) })
    }

    fn send_raw(&self, session: &str, message: Raw) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        let bytes = match &message {
            Raw::Text(text) => text.len(),
            Raw::Binary(bytes) => bytes.len(),
        };
        hook.call(session.len() + bytes)?;
        let (session, raw) = self.known(hook, session)?;
        if !raw {
            return Err(Refusal::Forbidden("the session is not on a raw endpoint".to_owned()));
        }
        let what = match message {
            Raw::Text(text) => Sent::Text(text),
            Raw::Binary(bytes) => Sent::Binary(bytes.into()),
        };
        hook.effect(Effect::Send { session, what })
    }

    fn sessions(&self, topic: &str, after: Option<&str>, limit: u32) -> Result<Vec<Session>, Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(topic.len() + after.map_or(0, str::len))?;
        self.needs(self.ground.may.sessions, "sessions")?;
        let topic = self.own(topic)?;
        let pages = self.ground.registry.open();
        let mut found = Vec::new();
        for member in pages.members(&topic, after).take(limit as usize) {
            hook.bytes(ENTRY_BYTES + member.session.len() + member.user.as_ref().map_or(0, |user| user.len()))?;
            found.push(session_to_guest(member));
        }
        Ok(found)
    }

    fn session_count(&self, topic: &str) -> Result<u64, Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(topic.len())?;
        self.needs(self.ground.may.sessions, "sessions")?;
        let topic = self.own(topic)?;
        Ok(self.ground.registry.open().count(&topic) as u64)
    }

    fn subscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        let (session, topic, own) = self.subscription(hook, session, topic)?;
        hook.effect(Effect::Subscribe { session, topic, own })
    }

    fn unsubscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        let (session, topic, own) = self.subscription(hook, session, topic)?;
        hook.effect(Effect::Unsubscribe { session, topic, own })
    }

    fn disconnect(&self, session: &str, reason: &str) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(session.len() + reason.len())?;
        self.needs(self.ground.may.sessions, "sessions")?;
        let (session, _) = self.known(hook, session)?;
        let reason = reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned();
        hook.effect(Effect::Disconnect { session, reason })
    }

    fn set_timer(&self, name: &str, delay_ms: u64, payload: Option<rialto_plugin::Payload>) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(name.len() + payload.as_ref().map_or(0, |payload| payload.content.len()))?;
        self.needs(self.ground.may.timers, "timers")?;
        if !(1..=TIMER_BYTES_MAX).contains(&name.len()) {
            let text = format!("the name of a timer has 1 to {TIMER_BYTES_MAX} bytes, this one has {}", name.len());
            return Err(Refusal::Invalid(text));
        }
        if delay_ms > DELAY_MS_MAX {
            return Err(Refusal::Invalid(format!(
                "a delay is at most {DELAY_MS_MAX} ms, a year, this one is {delay_ms}"
            )));
        }
        let payload = payload.map(check).transpose()?;
        let is_new = self.due(hook, name).is_none();
        let most = self.ground.limits.timers;
        let waiting = self.ground.registry.open().timer_count().saturating_add_signed(hook.timer_growth);
        if is_new && waiting >= most {
            return Err(Refusal::Limit(format!("timers: the plugin has {most} timers already")));
        }
        hook.timer_growth += isize::from(is_new);
        let due_unix_ms = hook.now.unix_ms + delay_ms.max(1);
        hook.timers.insert(name.to_owned(), Some(KeptTimer { due_unix_ms, payload }));
        Ok(())
    }

    fn cancel_timer(&self, name: &str) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(name.len())?;
        self.needs(self.ground.may.timers, "timers")?;
        if self.due(hook, name).is_some() {
            hook.timer_growth -= 1;
            hook.timers.insert(name.to_owned(), None);
        }
        Ok(())
    }

    fn timer_due_ms(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(name.len())?;
        self.needs(self.ground.may.timers, "timers")?;
        Ok(self.due(hook, name))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        self.needs(self.ground.may.state, "state")?;
        let value = self.value(hook, key)?;
        hook.call(key.len() + value.as_ref().map_or(0, |value| value.len()))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(key.len() + value.len())?;
        self.needs(self.ground.may.state, "state")?;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            let text = format!("a key has 1 to {KEY_BYTES_MAX} bytes, this one has {}", key.len());
            return Err(Refusal::Invalid(text));
        }
        self.write(hook, key, Some(value.into()))
    }

    fn delete(&self, key: &str) -> Result<(), Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(key.len())?;
        self.needs(self.ground.may.state, "state")?;
        // A key that no write can have made needs no entry among the writes.
        if key.len() <= KEY_BYTES_MAX && self.value(hook, key)?.is_some() {
            self.write(hook, key, None)?;
        }
        Ok(())
    }

    fn scan(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<Entry>, Refusal> {
        let hook = &mut *self.hook.borrow_mut();
        hook.call(prefix.len() + after.map_or(0, str::len))?;
        self.needs(self.ground.may.state, "state")?;
        let mut found: Vec<Entry> = Vec::new();
        while found.len() < limit as usize {
            let from = match (found.last(), after) {
                (Some((key, _)), _) => Bound::Excluded(key.as_str()),
                (None, Some(after)) if after >= prefix => Bound::Excluded(after),
                (None, _) => Bound::Included(prefix),
            };
            let Some((key, value)) = self.next(hook, from)?.filter(|(key, _)| key.starts_with(prefix)) else { break };
            hook.bytes(ENTRY_BYTES + key.len() + value.len())?;
            found.push((key, value.to_vec()));
        }
        Ok(found)
    }

    fn log(&self, level: Level, text: &str) {
        let hook = &mut *self.hook.borrow_mut();
        if hook.call(text.len()).is_err() {
            return;
        }
        let text = &text[..text.floor_char_boundary(LOG_BYTES_MAX)];
        let plugin = &*self.ground.plugin;
        match level {
            Level::Debug => tracing::debug!(plugin, "{text:?}"),
            Level::Info => tracing::info!(plugin, "{text:?}"),
            Level::Warn => tracing::warn!(plugin, "{text:?}"),
            Level::Error => tracing::error!(plugin, "{text:?}"),
        }
        if level == Level::Error {
            hook.last_error_line = Some(text.to_owned());
        }
    }

    fn now_ms(&self) -> u64 {
        let hook = &mut *self.hook.borrow_mut();
        // Beyond the limit the hook ends whatever it is told.
        let _ = hook.call(0);
        hook.now.unix_ms
    }

    fn random(&self) -> u64 {
        let _ = self.hook.borrow_mut().call(0);
        identity::random()
    }
}

impl HookContext {
    /// In how many milliseconds a timer is due, as this hook sees it.
    fn due(&self, hook: &Hook, name: &str) -> Option<u64> {
        match hook.timers.get(name) {
            Some(written) => written.as_ref().map(|timer| timer.due_unix_ms.saturating_sub(hook.now.unix_ms)),
            None => {
                let name = (Arc::clone(&self.ground.namespace), name.to_owned());
                let due_ms = self.ground.registry.open().due_ms(&name)?;
                Some(due_ms.saturating_sub(hook.now.monotonic_ms))
            }
        }
    }
}
