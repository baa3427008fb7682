//! One instance's side of its hook calls: the transaction of the running hook over the environment, under its limits.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use rialto_protocol::topic::Topic;

use super::budget::Budget;
use super::{
    Effect, Exceeded, HookLimits, HookOutput, HookTime, HostEnvironment, KnownSession, Permission, StateEntry,
    TimerWrite, Usage, state_entry_bytes,
};
use crate::native::Limited;
use crate::{Level, Refusal};

/// How many plugins may pass a message on to each other, one behind the other.
pub(super) const HOPS_MAX: u8 = 8;

/// Answers what the hooks of one instance ask, and keeps their effects back until the host takes them.
pub struct HookContext<E> {
    pub(super) environment: E,
    pub(super) hook: RefCell<Hook>,
}

/// Why a hook runs, as far as that decides what it may do.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    /// The session that the event is about.
    pub session: Option<Arc<str>>,
    /// Whether that session is on a raw endpoint.
    pub raw: bool,
    /// The timer that is due.
    pub timer: Option<String>,
    /// How many plugins the event passed through.
    pub hops: u8,
    /// Whether the instance is only starting.
    pub starting: bool,
}

/// The hook call in progress.
pub(super) struct Hook {
    pub(super) cause: Cause,
    pub(super) now: HookTime,
    budget: Budget,
    effects: Vec<Effect>,
    values: BTreeMap<String, Option<Arc<[u8]>>>,
    pub(super) timers: BTreeMap<String, Option<TimerWrite>>,
    /// By how much the writes change the size of the state, and the number of timers.
    growth: isize,
    pub(super) timer_growth: isize,
    pub(super) last_error_line: Option<String>,
    exceeded: Option<Exceeded>,
}

impl Hook {
    fn new(limits: &HookLimits, cause: Cause, now: HookTime) -> Self {
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

    /// Charges one host call that carries so many bytes. Beyond the limit the hook ends, whatever it does with the refusal.
    pub(super) fn call(&mut self, bytes: usize) -> Result<(), Refusal> {
        let charged = self.budget.call(bytes);
        self.check(charged)
    }

    /// Charges what a host call returns.
    pub(super) fn bytes(&mut self, bytes: usize) -> Result<(), Refusal> {
        let charged = self.budget.bytes(bytes);
        self.check(charged)
    }

    fn check(&mut self, charged: Result<(), Exceeded>) -> Result<(), Refusal> {
        charged.map_err(|exceeded| {
            let text = exceeded.to_string();
            self.exceeded = Some(exceeded);
            Refusal::Limit(text)
        })
    }

    pub(super) fn effect(&mut self, effect: Effect) -> Result<(), Refusal> {
        self.budget.effect().map_err(|exceeded| Refusal::Limit(exceeded.to_string()))?;
        self.effects.push(effect);
        Ok(())
    }

    /// Whether this hook has asked to authenticate a session.
    pub(super) fn authenticates(&self, id: &str) -> bool {
        let is_it = |effect: &Effect| matches!(effect, Effect::Authenticate { session, .. } if **session == *id);
        self.effects.iter().any(is_it)
    }

    pub(super) fn refuse_in_start(&self, what: &str) -> Result<(), Refusal> {
        match self.cause.starting {
            true => Err(Refusal::Forbidden(format!("`start` cannot {what}: there is nobody yet"))),
            false => Ok(()),
        }
    }
}

impl<E: HostEnvironment> HookContext<E> {
    /// A context over an environment; no hook runs yet.
    pub fn new(environment: E) -> Self {
        let hook = RefCell::new(Hook::new(&environment.limits(), Cause::default(), HookTime::default()));
        Self { environment, hook }
    }

    /// What it looks things up in.
    pub fn environment(&self) -> &E {
        &self.environment
    }

    /// The same, to change it between hooks.
    pub fn environment_mut(&mut self) -> &mut E {
        &mut self.environment
    }

    /// A new hook call begins; what an earlier one left is dropped.
    pub fn begin(&self, cause: Cause, now: HookTime) {
        *self.hook.borrow_mut() = Hook::new(&self.environment.limits(), cause, now);
    }

    /// What the hook asked for, once it has returned `ok`.
    pub fn take(&self) -> HookOutput {
        let hook = &mut *self.hook.borrow_mut();
        HookOutput {
            effects: std::mem::take(&mut hook.effects),
            values: std::mem::take(&mut hook.values),
            timers: std::mem::take(&mut hook.timers),
            hops: hook.cause.hops,
        }
    }

    /// The last line that this hook logged as an error: where a panic in a component says its file and line.
    pub fn last_error_line(&self) -> Option<String> {
        self.hook.borrow_mut().last_error_line.take()
    }

    /// The limit that ends this hook, if one does.
    pub fn exceeded(&self) -> Option<Exceeded> {
        self.hook.borrow().exceeded.clone()
    }

    /// What this hook has used so far, or the last one, until the next begins.
    pub fn used(&self) -> Usage {
        self.hook.borrow().budget.used()
    }

    /// Charges a payload that the hook returned.
    ///
    /// # Errors
    /// [`Exceeded`] when it is beyond the limit.
    pub fn charge_returned(&self, bytes: usize) -> Result<(), Exceeded> {
        self.hook.borrow_mut().budget.bytes(bytes)
    }

    pub(super) fn value(&self, hook: &Hook, key: &str) -> Result<Option<Arc<[u8]>>, Refusal> {
        match hook.values.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.environment.value(key),
        }
    }

    pub(super) fn write(&self, hook: &mut Hook, key: &str, value: Option<Arc<[u8]>>) -> Result<(), Refusal> {
        let size = |value: &Option<Arc<[u8]>>| value.as_ref().map_or(0, |value| state_entry_bytes(key, value));
        let added = size(&value) as isize - size(&self.value(hook, key)?) as isize;
        let growth = hook.growth + added;
        let quota = self.environment.limits().state_bytes;
        let total = self.environment.state_bytes()?.saturating_add_signed(growth);
        // What makes the state no larger is always written: it may be how room is made in a state that is over its quota.
        if added > 0 && total > quota {
            return Err(Refusal::Limit(format!("state_bytes: the state would be larger than {quota} bytes")));
        }
        hook.growth = growth;
        hook.values.insert(key.to_owned(), value);
        Ok(())
    }

    /// The first entry from `from` on as this hook sees it: its own writes over what is stored.
    pub(super) fn next_entry(&self, hook: &Hook, from: Bound<&str>) -> Result<Option<StateEntry>, Refusal> {
        let mut from = from.map(str::to_owned);
        loop {
            let at = from.as_ref().map(String::as_str);
            let stored = self.environment.next_entry(at)?;
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

    /// In how many milliseconds a timer is due, as this hook sees it.
    pub(super) fn due_ms(&self, hook: &Hook, name: &str) -> Option<u64> {
        match hook.timers.get(name) {
            Some(written) => written.as_ref().map(|timer| timer.due_unix_ms.saturating_sub(hook.now.unix_ms)),
            None => self.environment.timer_due_ms(name, hook.now),
        }
    }

    /// A session that the plugin knows.
    pub(super) fn known(&self, hook: &Hook, session: &str) -> Result<KnownSession, Refusal> {
        if hook.cause.session.as_deref() == Some(session) {
            return Ok(KnownSession { id: session.into(), is_raw: hook.cause.raw });
        }
        self.environment.session(session).ok_or_else(|| {
            let shown: String = session.chars().filter(|character| !character.is_control()).take(64).collect();
            Refusal::Forbidden(format!("no session \"{shown}\" is on a topic or an endpoint of this plugin"))
        })
    }

    /// A session and a topic to which the plugin may bind it, and whether the topic is its own.
    pub(super) fn subscription(
        &self,
        hook: &mut Hook,
        session: &str,
        topic: &str,
    ) -> Result<(Arc<str>, Topic, bool), Refusal> {
        hook.call(session.len() + topic.len())?;
        self.require(Permission::Sessions)?;
        let session = self.known(hook, session)?.id;
        let topic = parse(topic)?;
        let own = self.environment.owns(&topic);
        match own || self.environment.may(Permission::Subscribe(&topic)) {
            true => Ok((session, topic, own)),
            false => Err(foreign(&topic)),
        }
    }

    pub(super) fn own(&self, topic: &str) -> Result<Topic, Refusal> {
        let topic = parse(topic)?;
        match self.environment.owns(&topic) {
            true => Ok(topic),
            false => Err(foreign(&topic)),
        }
    }

    /// Refuses what needs a capability that the plugin does not have.
    pub(super) fn require(&self, permission: Permission<'_>) -> Result<(), Refusal> {
        let name = match permission {
            Permission::State => "state",
            Permission::Timers => "timers",
            Permission::Sessions => "sessions",
            Permission::Publish(topic) | Permission::Subscribe(topic) => {
                return if self.environment.may(permission) { Ok(()) } else { Err(foreign(topic)) };
            }
        };
        match self.environment.may(permission) {
            true => Ok(()),
            false => Err(Refusal::Forbidden(format!("the plugin has not the capability `{name}`"))),
        }
    }

    pub(super) fn log_line(&self, hook: &mut Hook, level: Level, text: &str) {
        self.environment.log(level, text);
        if level == Level::Error {
            hook.last_error_line = Some(text.to_owned());
        }
    }
}

impl<E: HostEnvironment> Limited for HookContext<E> {
    fn is_over(&self) -> bool {
        self.exceeded().is_some()
    }
}

pub(super) fn parse(topic: &str) -> Result<Topic, Refusal> {
    Topic::parse(topic).map_err(|error| Refusal::Invalid(error.to_string()))
}

fn foreign(topic: &Topic) -> Refusal {
    Refusal::Forbidden(format!("topic \"{topic}\" does not belong to this plugin"))
}
