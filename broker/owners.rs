//! Plugins as owners of topics: turns requests into hooks, and what a hook decided into messages and answers. The
//! sandbox itself is the business of `plugin`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use rialto_protocol::{Answered, ErrorCode, Failure, Member, Payload, Published, Reply};

use crate::answer::Answer;
use crate::broker::{Broker, Client, Departure, PluginStatus, Question, Wish, answer_published, key_reused};
use crate::directory::Entry;
use crate::engine::{Keyed, Known};
use crate::hub::SessionKey;
use crate::plugin::{Decision, Done, Effect, Event, HookError, Host, Mailbox, Manifest, Wanted};
use crate::reminder::{Place, Reminder};
use crate::store::Come;
use crate::topic::Topic;

/// All plugins of a broker, by name.
#[derive(Default)]
pub(crate) struct Owners {
    by_name: BTreeMap<Arc<str>, Owner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Keeps the engine's watchdog alive as long as hooks can run.
    _host: Option<Host>,
}

/// One plugin that owns topics.
pub(crate) struct Owner {
    name: Arc<str>,
    mailbox: Mailbox,
    manifest: Manifest,
}

impl Owners {
    pub(crate) fn new(host: Option<Host>) -> Self {
        Self { by_name: BTreeMap::new(), threads: Mutex::default(), _host: host }
    }

    pub(crate) fn add(&mut self, name: Arc<str>, manifest: Manifest, mailbox: Mailbox, thread: JoinHandle<()>) {
        self.by_name.insert(Arc::clone(&name), Owner { name, mailbox, manifest });
        self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Owner> {
        self.by_name.get(name)
    }

    pub(crate) fn status(&self) -> Vec<PluginStatus> {
        let status = |owner: &Owner| PluginStatus {
            name: owner.name.to_string(),
            package: owner.manifest.name.clone(),
            version: owner.manifest.version.clone(),
            hash: owner.manifest.hash.clone(),
            bytes: owner.manifest.bytes,
        };
        self.by_name.values().map(status).collect()
    }

    /// Tells the plugins' threads to end.
    pub(crate) fn signal_stop(&self) {
        for owner in self.by_name.values() {
            owner.mailbox.stop();
        }
    }

    /// Ends the plugins' threads after the hook that each is in; what still waits is dropped.
    pub(crate) fn stop(&self) {
        self.signal_stop();
        for thread in std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner)) {
            if thread.join().is_err() {
                tracing::error!("a plugin's thread panicked");
            }
        }
    }
}

impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_name.keys()).finish()
    }
}

impl Owner {
    /// Lets the plugin decide on a message, and publishes what it decided before its next hook runs: the order of the
    /// hooks is the order of the messages. What it puts in a message's place is not echoed either to who wanted no echo.
    pub(crate) fn publish(
        &self,
        broker: &Broker,
        entry: &Arc<Entry>,
        (from, except): (Option<Member>, Option<SessionKey>),
        payload: Payload,
        keyed: Option<Keyed>,
        answer: Answer,
    ) {
        let topic = entry.stream.topic().clone();
        let event = Event::Publish { session: from.clone(), topic, payload: payload.clone() };
        let entry = Arc::clone(entry);
        let reminder = keyed.clone().map(|keyed| Reminder { keyed, place: Place::Topic(Arc::clone(&entry)) });
        self.submit(broker, event, reminder, answer, move |broker, done, answer| {
            let published = match done.decision {
                Decision::Swallow => {
                    if let Some(keyed) = keyed {
                        entry.stream.remember(keyed, Come::Published(None), broker.core.clock.now());
                    }
                    Ok(Published { position: None, duplicate: false })
                }
                Decision::Publish(Some(replacement)) => {
                    emit(broker, &entry, (from.as_ref(), except), replacement, keyed)
                }
                _ => emit(broker, &entry, (from.as_ref(), except), payload, keyed),
            };
            apply(broker, done.effects);
            answer_published(answer, published);
        });
    }

    /// Asks the plugin whether a session may subscribe.
    pub(crate) fn subscribe(&self, broker: &Broker, entry: Arc<Entry>, client: &Client, wish: Wish, answer: Answer) {
        let event = Event::Subscribe { session: client.member.clone(), topic: entry.stream.topic().clone() };
        let client = client.clone();
        self.submit(broker, event, None, answer, move |broker, done, answer| {
            broker.join(entry, &client, wish, answer);
            apply(broker, done.effects);
        });
    }

    /// Ends a subscription, in order with what the session asked before, and tells the plugin. That must not get lost,
    /// so it is not turned away by a full mailbox.
    pub(crate) fn unsubscribe(&self, broker: &Broker, topic: &Topic, client: &Client, answer: Option<Answer>) {
        let event = Event::Unsubscribe { session: client.member.clone(), topic: topic.clone() };
        let (broker, topic, client) = (broker.clone(), topic.clone(), client.clone());
        let departure = if answer.is_some() { Departure::Final } else { Departure::MayReturn };
        self.mailbox.submit_end(
            event,
            Box::new(move |outcome| {
                broker.release(&client, &topic, departure);
                // The session is out whatever the plugin thinks of it; a failure has been logged.
                if let Ok(done) = outcome {
                    apply(&broker, done.effects);
                }
                if let Some(answer) = answer {
                    answer.ok(Reply::Unsubscribed);
                }
            }),
        );
    }

    /// Passes a call on.
    pub(crate) fn call(
        &self,
        broker: &Broker,
        from: Option<Member>,
        entry: Option<Arc<Entry>>,
        question: Question,
        answer: Answer,
    ) {
        let Question { method, payload, keyed } = question;
        let topic = entry.as_ref().map(|entry| entry.stream.topic().clone());
        let event = Event::Call { session: from, topic, method, payload };
        let place = match entry {
            Some(entry) => Place::Topic(entry),
            None => {
                let (store, keys_max) = (Arc::clone(&broker.core.store), broker.core.limits.keys);
                Place::Plugin { name: Arc::clone(&self.name), store, keys_max }
            }
        };
        let reminder = keyed.map(|keyed| Reminder { keyed, place });
        let remembering = reminder.clone();
        self.submit(broker, event, reminder, answer, |broker, done, answer| {
            let payload = match done.decision {
                Decision::Answer(payload) => payload,
                _ => None,
            };
            if let Some(reminder) = remembering {
                reminder.remember(Come::Answered(payload.clone()), broker.core.clock.now());
            }
            apply(broker, done.effects);
            answer.ok(Reply::Answered(Answered { payload, duplicate: false }));
        });
    }

    fn submit(
        &self,
        broker: &Broker,
        event: Event,
        reminder: Option<Reminder>,
        answer: Answer,
        finish: impl FnOnce(&Broker, Done, Answer) + Send + 'static,
    ) {
        let Ok(place) = self.mailbox.place() else {
            broker.core.metrics.plugin_busy.add(1);
            let text = format!("plugin \"{}\" has too much to do", self.name);
            return answer.fail(Failure::new(ErrorCode::Busy, text).retry_after_ms(100));
        };
        let (name, broker) = (Arc::clone(&self.name), broker.clone());
        let found = Arc::new(OnceLock::new());
        // Looked up when it is this event's turn: whoever came before it with the same key is done by then.
        let is_new = reminder.map(|reminder| {
            let (clock, found) = (broker.core.clock, Arc::clone(&found));
            Box::new(move || *found.get_or_init(|| reminder.recall(clock.now())) == Known::No) as Wanted
        });
        place.fill(
            event,
            is_new,
            Box::new(move |outcome| match (found.get(), outcome) {
                (None | Some(Known::No), Ok(done)) => finish(&broker, done, answer),
                (None | Some(Known::No), Err(error)) => answer.fail(failure(&name, error)),
                (Some(known), _) => answer_known(&broker, known, answer),
            }),
        );
    }
}

/// Answers a request whose key is known.
fn answer_known(broker: &Broker, known: &Known, answer: Answer) {
    let Known::Same(came_to) = known else { return answer.fail(key_reused()) };
    broker.core.metrics.duplicates.add(1);
    let duplicate = true;
    match came_to.clone() {
        Come::Published(position) => answer.ok(Reply::Published(Published { position, duplicate })),
        Come::Answered(payload) => answer.ok(Reply::Answered(Answered { payload, duplicate })),
    }
}

/// Does what a hook asked for, in its order.
fn apply(broker: &Broker, effects: Vec<Effect>) {
    for Effect::Publish { topic, payload } in effects {
        let entry = broker.core.directory.entry(&topic, &broker.core.engine);
        if let Err(failure) = entry.and_then(|entry| emit(broker, &entry, (None, None), payload, None)) {
            tracing::error!(%topic, %failure, "a plugin's message could not be published");
        }
    }
}

/// Publishes on the plugin's thread, which waits while the subscribers' shards have too much to do: a plugin that makes
/// many messages of few requests is held back like any publisher. Shards never wait for a plugin, so this ends.
fn emit(
    broker: &Broker,
    entry: &Arc<Entry>,
    (from, except): (Option<&Member>, Option<SessionKey>),
    payload: Payload,
    keyed: Option<Keyed>,
) -> Result<Published, Failure> {
    let published = broker.emit(entry, from, except, payload, keyed)?;
    if !broker.core.hub.has_room(&entry.reach) {
        futures_executor::block_on(broker.core.hub.room(&entry.reach));
    }
    Ok(published)
}

fn failure(plugin: &str, error: HookError) -> Failure {
    match error {
        HookError::Rejected { reason, detail } => {
            let mut failure = Failure::new(ErrorCode::Rejected, reason);
            failure.detail = detail;
            failure
        }
        HookError::NotWanted => Failure::new(ErrorCode::Internal, "a hook was not called"),
        HookError::Failed(failed) => {
            let text = format!("plugin \"{plugin}\" failed: {}", failed.for_client());
            Failure::new(ErrorCode::PluginFailed, text)
        }
    }
}
