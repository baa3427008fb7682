//! The double itself: feeds events to a plugin and keeps what its hooks do.

use super::effect::{Effect, Published, Sent, to_json};
use super::failure::Failure;
use super::limits::Limits;
use super::test_broker::{PendingTimer, TestBroker};
use crate::Error;
use crate::host::{Cause, HookContext, HookTime, Usage};
use crate::imports::Level;
use crate::native::until_over;
use crate::payload::{Encoding, Payload};
use crate::state::state_key;
use crate::{Call, Config, Context, Message, Plugin, Raw, Result, Session, Timer, Verdict};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::panic::resume_unwind;

/// How often a timer is run whose hook fails, and how long between two tries.
const TRIES_MAX: u32 = 3;
const RETRY_MS: u64 = 1_000;

/// Runs a plugin natively, with the transactions, checks and [`Limits`] of the broker.
///
/// A hook that returns an error leaves no trace but its log lines. A panic in a hook is a panic of the test. A hook that
/// exceeds a limit ends at that host call with a failure; the broker then replaces the instance, which a test does with
/// [`Host::restart`]. Time stands still unless the test moves it, and random numbers are the same in every run.
pub struct Host<P> {
    plugin: P,
    config: Config,
    context: HookContext<TestBroker>,
    effects: Vec<Effect>,
}

impl<P: Plugin> Host<P> {
    /// Starts `plugin` without settings. It owns all topics unless [`Host::owns`] says otherwise.
    ///
    /// # Panics
    /// When the plugin does not start; use [`Host::with_config`] to look at that.
    pub fn new(plugin: P) -> Self {
        Self::with_config(plugin, &serde_json::json!({})).expect("the plugin starts without settings")
    }

    /// Starts `plugin` with its settings, as the broker reads them from TOML.
    ///
    /// # Errors
    /// When the plugin does not start, or the settings cannot be written as JSON.
    pub fn with_config(plugin: P, config: &impl Serialize) -> Result<Self, Failure> {
        let json = serde_json::to_string(config).map_err(|error| Failure::Failed(error.to_string()))?;
        let mut host = Self {
            plugin,
            config: Config::from_json(json),
            context: HookContext::new(TestBroker::new()),
            effects: Vec::new(),
        };
        host.start()?;
        Ok(host)
    }

    /// Gives the topics that `pattern` selects to the plugin (`*` is one token, a final `>` one or more). With the first
    /// pattern all other topics stop being its own.
    ///
    /// # Panics
    /// When it is not a valid pattern.
    #[must_use]
    pub fn owns(mut self, pattern: impl Into<String>) -> Self {
        self.broker_mut().own(&pattern.into());
        self
    }

    /// Lets the plugin do only what needs these capabilities, as `export!` names them. Without this it may do anything
    /// to its own topics and sessions, and nothing to other topics.
    ///
    /// # Panics
    /// When one is no capability.
    #[must_use]
    pub fn needs(mut self, needs: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.broker_mut().need(needs.into_iter().map(Into::into));
        self
    }

    /// Changes the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.broker_mut().limits = limits;
        self
    }

    /// Replaces the instance by a new one, as the broker does after a trap or for a reload: state stays, memory does not.
    ///
    /// # Errors
    /// When the new instance does not start.
    pub fn restart(&mut self) -> Result<(), Failure> {
        self.plugin = P::default();
        self.start()
    }

    /// A session subscribes to a topic.
    ///
    /// # Errors
    /// When the plugin refuses the subscription or fails.
    ///
    /// # Panics
    /// When the topic does not belong to the plugin, here and in the other events: the broker would not call it.
    pub fn subscribe(&mut self, session: impl Into<Session>, topic: &str) -> Result<(), Failure> {
        self.check_owned(topic);
        let session = session.into();
        self.run_for(Some(&session), false, |plugin, ctx| plugin.on_subscribe(ctx, &session, topic).map(|()| None))?;
        self.broker_mut().enter(topic, &session);
        Ok(())
    }

    /// A session leaves a topic.
    ///
    /// # Errors
    /// When the plugin fails.
    pub fn unsubscribe(&mut self, session: impl Into<Session>, topic: &str) -> Result<(), Failure> {
        self.check_owned(topic);
        let session = session.into();
        self.broker_mut().leave(topic, &session.id);
        self.run_for(Some(&session), false, |plugin, ctx| plugin.on_unsubscribe(ctx, &session, topic).map(|()| None))
            .map(drop)
    }

    /// A session ends: it leaves all topics that it is on.
    ///
    /// # Errors
    /// The first failure of the plugin; the session is gone in any case.
    pub fn end(&mut self, session: impl Into<Session>) -> Result<(), Failure> {
        let session = session.into();
        let mut first = Ok(());
        for topic in self.broker().topics_of(&session.id) {
            first = first.and(self.unsubscribe(&session, &topic));
        }
        first
    }

    /// A session connects to a raw endpoint.
    ///
    /// # Errors
    /// When the plugin refuses it or fails.
    pub fn connect(&mut self, session: impl Into<Session>, endpoint: &str) -> Result<(), Failure> {
        let session = session.into();
        self.broker_mut().connect(&session);
        let connected =
            self.run_for(Some(&session), true, |plugin, ctx| plugin.on_connect(ctx, &session, endpoint).map(|()| None));
        if connected.is_err() {
            self.broker_mut().disconnect(&session.id);
        }
        connected.map(drop)
    }

    /// A session on a raw endpoint ends.
    ///
    /// # Errors
    /// When the plugin fails.
    pub fn disconnect(&mut self, session: impl Into<Session>, endpoint: &str) -> Result<(), Failure> {
        let session = session.into();
        self.broker_mut().disconnect(&session.id);
        self.run_for(Some(&session), true, |plugin, ctx| plugin.on_disconnect(ctx, &session, endpoint).map(|()| None))
            .map(drop)
    }

    /// A session on a raw endpoint sends a message.
    ///
    /// # Errors
    /// When the plugin fails.
    pub fn message(&mut self, session: impl Into<Session>, endpoint: &str, message: Raw) -> Result<(), Failure> {
        let session = session.into();
        self.run_for(Some(&session), true, |plugin, ctx| {
            plugin.on_message(ctx, &session, endpoint, message).map(|()| None)
        })
        .map(drop)
    }

    /// What a session was to be authenticated by was right, or was not, for this reason: calls the hook for that. The
    /// session is as it is from then on, `Session::new("s").with_user("ann")`.
    ///
    /// # Errors
    /// When the plugin fails.
    ///
    /// # Panics
    /// When the plugin has not asked for that, or the session has ended: the broker would not call it.
    pub fn authenticated(
        &mut self,
        session: impl Into<Session>,
        outcome: std::result::Result<(), &str>,
    ) -> Result<(), Failure> {
        let session = session.into();
        let was_asked = self.broker_mut().end_authentication(&session, outcome.is_ok());
        assert!(was_asked, "session {:?} is not being authenticated", session.id);
        let outcome = outcome.map_err(str::to_owned);
        self.run_for(Some(&session), true, |plugin, ctx| plugin.on_authenticated(ctx, &session, outcome).map(|()| None))
            .map(drop)
    }

    /// A session publishes `data` as JSON. The answer is the data that goes out, if any does.
    ///
    /// # Errors
    /// When the plugin refuses the message or fails, or `data` cannot be encoded.
    pub fn publish(
        &mut self,
        session: impl Into<Session>,
        topic: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<Option<Value>, Failure> {
        let payload = Payload::json(data).map_err(|error| Failure::Failed(error.to_string()))?;
        let verdict = self.publish_message(Message::new(Some(session.into()), topic, payload))?;
        Ok(verdict.map(|published| published.data))
    }

    /// A message is published, in any codec, by a session or by the embedding program. The answer is what goes out.
    ///
    /// # Errors
    /// When the plugin refuses the message or fails.
    pub fn publish_message(&mut self, message: Message) -> Result<Option<Published>, Failure> {
        self.check_owned(&message.topic);
        let (topic, original) = (message.topic.clone(), message.payload.clone());
        let place = self.effects.len();
        let session = message.session.clone();
        let output = self.run_for(session.as_ref(), false, |plugin, ctx| match plugin.on_publish(ctx, message)? {
            Verdict::Accept => Ok(Some(original)),
            Verdict::Replace(payload) => Ok(Some(payload)),
            Verdict::Swallow => Ok(None),
        })?;
        let published = output.map(|(payload, data)| Published { topic, data, payload });
        if let Some(published) = published.clone() {
            // The decided message goes out before those that the hook published.
            self.effects.insert(place, Effect::Published(published));
        }
        Ok(published)
    }

    /// A session calls a method on a topic, with `data` as JSON. The answer is the plugin's data, if it has any.
    ///
    /// # Errors
    /// When the plugin refuses the call or fails, or `data` cannot be encoded.
    pub fn call(
        &mut self,
        session: impl Into<Session>,
        topic: &str,
        method: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<Option<Value>, Failure> {
        let payload = Payload::json(data).map_err(|error| Failure::Failed(error.to_string()))?;
        let call = Call::new(Some(session.into()), method).with_topic(topic).with_payload(payload);
        Ok(self.request(call)?.map(|(_, data)| data))
    }

    /// A call in any codec, with or without session, topic and data. The answer is the plugin's data, as it was encoded
    /// and as plain JSON.
    ///
    /// # Errors
    /// When the plugin refuses the call or fails.
    pub fn request(&mut self, call: Call) -> Result<Option<(Payload, Value)>, Failure> {
        if let Some(topic) = &call.topic {
            self.check_owned(topic);
        }
        let session = call.session.clone();
        self.run_for(session.as_ref(), false, |plugin, ctx| plugin.on_call(ctx, call).map(|reply| reply.payload))
    }

    /// Moves the clock forward. Timers that become due run on the way, each at its time, those of one time by name; one
    /// whose hook fails is run again after one and three seconds, and then given up.
    pub fn advance(&mut self, ms: u64) {
        let until_ms = self.now_ms() + ms;
        while let Some((name, timer)) = self.broker().first_timer().filter(|(_, timer)| timer.due_ms <= until_ms) {
            let now_ms = self.now_ms().max(timer.due_ms);
            self.broker_mut().now_ms = now_ms;
            if self.fire(&name).is_err() {
                let failures = timer.failures + 1;
                let due_ms = now_ms + RETRY_MS * u64::from(failures);
                let again = (failures < TRIES_MAX).then_some(PendingTimer { due_ms, failures, ..timer });
                self.broker_mut().put_timer(&name, again);
            }
        }
        self.broker_mut().now_ms = until_ms;
    }

    /// Runs a timer now, whenever it is due.
    ///
    /// # Errors
    /// When the plugin fails; the timer stays.
    ///
    /// # Panics
    /// When there is no timer of this name.
    pub fn fire(&mut self, name: &str) -> Result<(), Failure> {
        let timer = self.broker().timer(name).unwrap_or_else(|| panic!("there is no timer {name:?}"));
        let timer = Timer::new(name, timer.payload.clone());
        let cause = Cause { timer: Some(name.to_owned()), ..Cause::default() };
        self.run(cause, None, |plugin, ctx| plugin.on_timer(ctx, timer).map(|()| None)).map(drop)
    }

    /// The timers that wait, each with the time at which it is due.
    pub fn timers(&self) -> BTreeMap<String, u64> {
        self.broker().timers()
    }

    /// The clock: Unix time in milliseconds. It begins at 1 January 2026.
    pub fn now_ms(&self) -> u64 {
        self.broker().now_ms
    }

    /// All messages that went out since the start, or since [`Host::take_published`], in order.
    pub fn published(&self) -> Vec<Published> {
        self.effects.iter().filter_map(published).collect()
    }

    /// The messages that went out since the last time. What else happened is forgotten with them.
    pub fn take_published(&mut self) -> Vec<Published> {
        self.take_effects().iter().filter_map(published).collect()
    }

    /// All that hooks asked for and that happened, since the start or the last time that anything was taken, in order.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// The same, which begins anew with this.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What was sent to one session, as plain JSON; a text on a raw endpoint as text, a binary message as a list of bytes.
    pub fn sent(&self, session: impl Into<Session>) -> Vec<Value> {
        let to = session.into();
        let sent = self.effects.iter().filter_map(|effect| match effect {
            Effect::Sent { session, what } if session.id == to.id => Some(what),
            _ => None,
        });
        sent.map(|what| match what {
            Sent::Payload { data, .. } => data.clone(),
            Sent::Raw(Raw::Text(text)) => Value::from(text.as_str()),
            Sent::Raw(Raw::Binary(bytes)) => Value::from(bytes.as_slice()),
        })
        .collect()
    }

    /// All log lines since the start.
    pub fn logs(&self) -> Vec<(Level, String)> {
        self.broker().logs()
    }

    /// The entries of a table of the state.
    ///
    /// # Panics
    /// When an entry is not a `T`.
    pub fn state<T: DeserializeOwned>(&self, table: &str) -> BTreeMap<String, T> {
        let entries = self.broker().entries(&state_key(table, "")).into_iter();
        entries
            .map(|(key, content)| {
                let value = Payload { encoding: Encoding::Msgpack, content }.decode();
                let value = value.unwrap_or_else(|error| panic!("state {table:?}, key {key:?}: {error}"));
                (key, value)
            })
            .collect()
    }

    /// Writes an entry of the state, to begin a test from there.
    ///
    /// # Panics
    /// When the value cannot be encoded.
    pub fn put_state(&mut self, table: &str, key: &str, value: &impl Serialize) {
        let payload = Payload::msgpack(value).unwrap_or_else(|error| panic!("state {table:?}, key {key:?}: {error}"));
        self.broker_mut().insert(state_key(table, key), payload.content);
    }

    /// How many bytes the keys and values of the whole state take, as the limit `state_bytes` counts them.
    pub fn state_bytes(&self) -> usize {
        self.broker().entry_bytes()
    }

    /// What the last hook used of its limits.
    pub fn used(&self) -> Usage {
        self.context.used()
    }

    /// The instance, to look at its memory.
    pub fn plugin(&self) -> &P {
        &self.plugin
    }

    fn start(&mut self) -> Result<(), Failure> {
        let config = self.config.clone();
        let cause = Cause { starting: true, ..Cause::default() };
        self.run(cause, None, |plugin, ctx| plugin.start(ctx, config).map(|()| None)).map(drop)
    }

    /// Runs a hook for an event that concerns a session, if any; see [`Host::run`].
    fn run_for(
        &mut self,
        session: Option<&Session>,
        raw: bool,
        hook: impl FnOnce(&mut P, &mut Context) -> Result<Option<Payload>>,
    ) -> Result<Option<(Payload, Value)>, Failure> {
        let cause = Cause { session: session.map(|session| session.id.as_str().into()), raw, ..Cause::default() };
        self.run(cause, session, hook)
    }

    /// Runs one hook as a transaction, and returns the payload that it returned.
    fn run(
        &mut self,
        cause: Cause,
        session: Option<&Session>,
        hook: impl FnOnce(&mut P, &mut Context) -> Result<Option<Payload>>,
    ) -> Result<Option<(Payload, Value)>, Failure> {
        let now_ms = self.now_ms();
        self.context.begin(cause, HookTime { unix_ms: now_ms, monotonic_ms: now_ms });
        let plugin = &mut self.plugin;
        let output = match until_over(&self.context, |ctx| hook(plugin, ctx)) {
            Ok(Some(Ok(output))) => output,
            Ok(Some(Err(error))) => return Err(self.refused(error)),
            Ok(None) => return Err(self.exceeded()),
            Err(panic) => resume_unwind(panic),
        };
        let returned = output.map(|payload| self.returned(payload)).transpose()?;
        let written = self.context.take();
        let effects = self.broker_mut().commit(written, session);
        self.effects.extend(effects);
        Ok(returned)
    }

    fn refused(&self, error: Error) -> Failure {
        let bytes = match &error {
            Error::Rejected { detail: Some(detail), .. } => detail.content.len(),
            Error::Rejected { .. } | Error::Failed(_) => 0,
        };
        match self.context.charge_returned(bytes) {
            Ok(()) => Failure::from(error),
            Err(exceeded) => Failure::Failed(format!("limit: {exceeded}")),
        }
    }

    fn returned(&self, payload: Payload) -> Result<(Payload, Value), Failure> {
        let charged = self.context.charge_returned(payload.content.len());
        charged.map_err(|exceeded| Failure::Failed(format!("limit: {exceeded}")))?;
        let data = to_json(payload.clone())?;
        Ok((payload, data))
    }

    /// The failure of a hook that ended at a limit.
    fn exceeded(&self) -> Failure {
        let exceeded = self.context.exceeded().expect("only a limit ends a hook");
        Failure::Failed(format!("limit: {exceeded}"))
    }

    fn broker(&self) -> &TestBroker {
        self.context.environment()
    }

    fn broker_mut(&mut self) -> &mut TestBroker {
        self.context.environment_mut()
    }

    fn check_owned(&self, topic: &str) {
        assert!(
            self.broker().owns_name(topic),
            "topic {topic:?} does not belong to the plugin, so no event of it reaches it"
        );
    }
}

fn published(effect: &Effect) -> Option<Published> {
    match effect {
        Effect::Published(published) => Some(published.clone()),
        _ => None,
    }
}
