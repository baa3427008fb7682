//! The handle of one topic plugin: turns requests to its topics and endpoints into events in its mailbox. It decides nothing.

use std::sync::{Arc, Mutex, PoisonError};

use rialto_plugin::Raw;
use rialto_protocol::{Answered, CloseCode, Closing, Published, Reply};

use super::RunningVersion;
use super::known_sessions::KnownSessions;
use super::request::{PluginRequest, busy, failure};
use super::transaction::{PrimaryEffect, Transaction};
use crate::broker::topic_logic::{RawMessage, TopicLogic, TopicPublish};
use crate::broker::{Broker, CallRequest, Departure, PluginStatus, SubscribeOptions, answer_published};
use crate::hub::InFlightGuard;
use crate::message::Draft;
use crate::plugin::{
    Decision, Done, Event, HookError, Mailbox, OnReplaced, PluginRegistry, Status, StatusReport, Version,
};
use crate::request::caller::{Caller, CallerSession};
use crate::request::responder::Responder;
use crate::store::Outcome;
use crate::topic::Topic;
use crate::topics::TopicEntry;
use crate::topics::idempotency::{KeyHome, ScopedKey};

/// One topic plugin: its mailbox, registry, known sessions and status.
pub(crate) struct PluginHandle {
    name: Arc<str>,
    pub(super) mailbox: Mailbox,
    pub(super) registry: Arc<PluginRegistry>,
    pub(super) known_sessions: KnownSessions,
    status: Arc<Status>,
    running: Mutex<RunningVersion>,
}

impl PluginHandle {
    pub(crate) fn new(
        name: Arc<str>,
        mailbox: Mailbox,
        registry: Arc<PluginRegistry>,
        status: Arc<Status>,
        running: RunningVersion,
    ) -> Self {
        Self { name, mailbox, registry, known_sessions: KnownSessions::default(), status, running: Mutex::new(running) }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn stop(&self) {
        self.mailbox.stop();
    }

    /// Replaces the version that runs, behind the events that wait already.
    pub(super) fn replace(&self, version: Version, on_replaced: OnReplaced) {
        self.mailbox.replace(version, on_replaced);
    }

    /// Sets the manifest and grants of the version that runs from now on.
    pub(super) fn set_running(&self, running: RunningVersion) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
    }

    pub(super) fn status(&self, broker: &Broker) -> PluginStatus {
        let RunningVersion { manifest, grants } = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let StatusReport { health, serves, last_failure } = self.status.report();
        PluginStatus {
            name: self.name.to_string(),
            package: manifest.name,
            version: manifest.version,
            hash: manifest.hash,
            bytes: manifest.bytes,
            needs: manifest.needs,
            grants,
            serves,
            health,
            instances: self.status.instances(),
            timers: self.registry.timers(),
            hooks: self.status.hooks(),
            failures: self.status.failures(),
            last_failure,
            waiting: self.mailbox.waiting(),
            state_bytes: broker.core.store.state_bytes(&self.name).unwrap_or_else(|error| {
                tracing::warn!(plugin = &*self.name, %error, "the size of the state cannot be read");
                0
            }),
        }
    }

    /// Reports to the plugin that a session has ended something; the plugin cannot refuse that.
    fn report_end(
        self: &Arc<Self>,
        broker: &Broker,
        event: Event,
        caller: &CallerSession,
        end: impl FnOnce(&Broker) + Send + 'static,
    ) {
        let (plugin, broker, caller) = (Arc::clone(self), broker.clone(), caller.clone());
        self.mailbox.submit_end(
            event,
            Box::new(move |outcome: Result<Done, HookError>| {
                let transaction = Transaction { broker: &broker, plugin: &plugin, by: Some(&caller) };
                // The session is out even where nothing of what the hook wanted can be done; a failure has been logged.
                let kept = match outcome {
                    Ok(done) => {
                        transaction.commit_effects(PrimaryEffect::End(Box::new(end)), Vec::new(), done.wanted).is_ok()
                    }
                    Err(_) => {
                        end(&broker);
                        false
                    }
                };
                plugin.known_sessions.tidy(&caller.member.session, &plugin.registry);
                kept
            }),
        );
    }
}

impl TopicLogic for PluginHandle {
    fn is_down(&self) -> bool {
        self.status.is_down()
    }

    fn has_admitted(&self, topic: &Topic, session: &str) -> bool {
        self.registry.is_on(topic, session)
    }

    fn connect(self: Arc<Self>, broker: &Broker, caller: &CallerSession, endpoint: &Arc<str>) -> Result<(), String> {
        let Ok(slot) = self.mailbox.reserve() else {
            broker.core.metrics.plugin_busy.add(1);
            return Err(busy(&self.name));
        };
        let event = Event::Connect { session: caller.member.clone(), endpoint: Arc::clone(endpoint) };
        let (plugin, broker, caller) = (Arc::clone(&self), broker.clone(), caller.clone());
        let finish = move |outcome: Result<Done, HookError>| {
            plugin.known_sessions.add(&caller);
            let transaction = Transaction { broker: &broker, plugin: &plugin, by: Some(&caller) };
            let committed = match outcome {
                Ok(done) => transaction.commit_effects(PrimaryEffect::None, Vec::new(), done.wanted).map(|_| ()),
                Err(error) => Err(failure(&plugin.name, error)),
            };
            let Err(failure) = committed else { return true };
            plugin.known_sessions.remove(&caller.member.session);
            let code = CloseCode::PolicyViolation.number();
            let closing = Closing { code, message: failure.message, retry_after_ms: None };
            let key = caller.key;
            broker.core.hub.run_on(key.shard(), move |shard| shard.end(key, &closing));
            false
        };
        slot.fill(event, None, Box::new(finish));
        Ok(())
    }

    fn message(
        self: Arc<Self>,
        broker: &Broker,
        caller: &CallerSession,
        endpoint: &Arc<str>,
        message: RawMessage,
        in_flight: InFlightGuard,
    ) -> Result<(), RawMessage> {
        let Ok(slot) = self.mailbox.reserve() else {
            broker.core.metrics.plugin_busy.add(1);
            return Err(message);
        };
        let message = match message {
            RawMessage::Text(text) => Raw::Text(text),
            RawMessage::Binary(bytes) => Raw::Binary(bytes),
        };
        let event = Event::Message { session: caller.member.clone(), endpoint: Arc::clone(endpoint), message };
        let (plugin, broker, caller) = (Arc::clone(&self), broker.clone(), caller.clone());
        let finish = move |outcome: Result<Done, HookError>| {
            let transaction = Transaction { broker: &broker, plugin: &plugin, by: Some(&caller) };
            // The session is told nothing: what it is to hear, the plugin sends. A failure has been logged.
            let kept = outcome
                .is_ok_and(|done| transaction.commit_effects(PrimaryEffect::None, Vec::new(), done.wanted).is_ok());
            drop(in_flight);
            kept
        };
        slot.fill(event, None, Box::new(finish));
        Ok(())
    }

    fn disconnect(self: Arc<Self>, broker: &Broker, caller: &CallerSession, endpoint: &Arc<str>) {
        let event = Event::Disconnect { session: caller.member.clone(), endpoint: Arc::clone(endpoint) };
        self.report_end(broker, event, caller, |_| {});
    }

    fn publish(
        self: Arc<Self>,
        broker: &Broker,
        entry: &Arc<TopicEntry>,
        request: TopicPublish<'_>,
        responder: Responder,
    ) {
        let TopicPublish { caller, except, payload, keyed } = request;
        let topic = entry.stream.topic().clone();
        let member = caller.member().cloned();
        let event = Event::Publish { session: member.clone(), topic, payload: payload.clone(), hops: caller.hops() };
        let entry = Arc::clone(entry);
        let scoped_key = keyed.clone().map(|keyed| ScopedKey { keyed, place: KeyHome::Topic(Arc::clone(&entry)) });
        let asking = PluginRequest { from: caller.session().cloned(), scoped_key, responder };
        asking.submit(&self, broker, event, move |transaction, done, responder| {
            let Done { decision, wanted } = done;
            let (payload, keys) = match decision {
                Decision::Swallow => {
                    let kept = |keyed| entry.stream.kept_key(keyed, Outcome::Published(None));
                    (None, keyed.clone().map(kept).into_iter().collect())
                }
                Decision::Publish(Some(replacement)) => (Some(replacement), Vec::new()),
                _ => (Some(payload), Vec::new()),
            };
            let first = match payload {
                Some(payload) => {
                    let from = member.filter(|_| entry.options.reveal_publisher);
                    PrimaryEffect::Publish { entry, draft: Draft { payload, from, except }, keyed }
                }
                None => PrimaryEffect::None,
            };
            let committed = transaction.commit_effects(first, keys, wanted);
            let is_done = committed.is_ok();
            answer_published(responder, committed.map(|position| Published { position, duplicate: false }));
            is_done
        });
    }

    fn subscribe(
        self: Arc<Self>,
        broker: &Broker,
        entry: Arc<TopicEntry>,
        caller: &CallerSession,
        options: SubscribeOptions,
        responder: Responder,
    ) {
        let event = Event::Subscribe { session: caller.member.clone(), topic: entry.stream.topic().clone() };
        let caller = caller.clone();
        let asking = PluginRequest { from: Some(caller.clone()), scoped_key: None, responder };
        asking.submit(&self, broker, event, move |transaction, done, responder| {
            transaction.plugin.known_sessions.add(&caller);
            let first = PrimaryEffect::Admit { entry, options, responder: Some(responder) };
            match transaction.commit_admission(first, done.wanted) {
                Ok(()) => true,
                Err(rejected) => {
                    transaction.plugin.known_sessions.tidy(&caller.member.session, &transaction.plugin.registry);
                    rejected.responder.into_iter().for_each(|responder| responder.fail(rejected.failure.clone()));
                    false
                }
            }
        });
    }

    fn unsubscribe(
        self: Arc<Self>,
        broker: &Broker,
        topic: &Topic,
        caller: &CallerSession,
        responder: Option<Responder>,
    ) {
        let event = Event::Unsubscribe { session: caller.member.clone(), topic: topic.clone() };
        let departure = if responder.is_some() { Departure::Final } else { Departure::MayReturn };
        let (left, topic) = (caller.clone(), topic.clone());
        self.report_end(broker, event, caller, move |broker| {
            broker.release(&left, &topic, departure);
            responder.into_iter().for_each(|responder| responder.ok(Reply::Unsubscribed));
        });
    }

    fn call(
        self: Arc<Self>,
        broker: &Broker,
        caller: Caller<'_>,
        entry: Option<Arc<TopicEntry>>,
        question: CallRequest,
        responder: Responder,
    ) {
        let CallRequest { method, payload, keyed } = question;
        let topic = entry.as_ref().map(|entry| entry.stream.topic().clone());
        let event = Event::Call { session: caller.member().cloned(), topic, method, payload };
        let place = match entry {
            Some(entry) => KeyHome::Topic(entry),
            None => {
                let (store, keys_max) = (Arc::clone(&broker.core.store), broker.core.limits.keys);
                KeyHome::Plugin { name: Arc::clone(&self.name), store, keys_max }
            }
        };
        let scoped_key = keyed.map(|keyed| ScopedKey { keyed, place });
        let remembering = scoped_key.clone();
        let asking = PluginRequest { from: caller.session().cloned(), scoped_key, responder };
        asking.submit(&self, broker, event, |transaction, done, responder| {
            let Done { decision, wanted } = done;
            let payload = match decision {
                Decision::Answer(payload) => payload,
                _ => None,
            };
            let keys = remembering.map(|scoped_key| scoped_key.kept(Outcome::Answered(payload.clone())));
            match transaction.commit_effects(PrimaryEffect::None, keys.into_iter().collect(), wanted) {
                Ok(_) => {
                    responder.ok(Reply::Answered(Answered { payload, duplicate: false }));
                    true
                }
                Err(failure) => {
                    responder.fail(failure);
                    false
                }
            }
        });
    }
}
