//! One plugin that owns topics: what happens there becomes events in its mailbox. It decides nothing.

use std::sync::{Arc, Mutex, PoisonError};

use rialto_plugin::Raw;
use rialto_protocol::{Answered, CloseCode, Closing, Member, Payload, Published, Reply};

use super::known_sessions::People;
use super::request::{Asking, failure};
use super::transaction::{First, Settling};
use super::{Bare, Running};
use crate::broker::{Broker, Departure, PluginStatus, Question, Wish, answer_published};
use crate::engine::Keyed;
use crate::hub::{SessionKey, UnderWay};
use crate::message::Draft;
use crate::plugin::{Books, Change, Decision, Done, Event, HookError, Mailbox, Report, Standing};
use crate::request::caller::Client;
use crate::request::responder::Answer;
use crate::store::Come;
use crate::topic::Topic;
use crate::topics::Entry;
use crate::topics::idempotency::{Place, Reminder};

/// One plugin that owns topics.
pub(crate) struct Owner {
    name: Arc<str>,
    pub(super) mailbox: Mailbox,
    pub(super) books: Arc<Books>,
    pub(super) people: People,
    standing: Arc<Standing>,
    running: Mutex<Running>,
}

impl Owner {
    pub(crate) fn new(
        name: Arc<str>,
        mailbox: Mailbox,
        books: Arc<Books>,
        standing: Arc<Standing>,
        running: Running,
    ) -> Self {
        Self { name, mailbox, books, people: People::default(), standing, running: Mutex::new(running) }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn stop(&self) {
        self.mailbox.stop();
    }

    /// Does something to the plugin itself, behind the events that wait already.
    pub(super) fn change(&self, change: Change) {
        self.mailbox.change(change);
    }

    /// Another version runs from now on.
    pub(super) fn set_running(&self, running: Running) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
    }

    /// Whether its hooks are not called now.
    pub(crate) fn is_down(&self) -> bool {
        self.standing.is_down()
    }

    /// Whether it has let a session into a topic of its own.
    pub(crate) fn has_let_in(&self, topic: &Topic, session: &str) -> bool {
        self.books.is_on(topic, session)
    }

    pub(super) fn status(&self, broker: &Broker) -> PluginStatus {
        let Running { manifest, grants } = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Report { health, serves, last_failure } = self.standing.report();
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
            instances: self.standing.instances(),
            timers: self.books.timers(),
            hooks: self.standing.hooks(),
            failures: self.standing.failures(),
            last_failure,
            waiting: self.mailbox.waiting(),
            state_bytes: broker.core.store.state_bytes(&self.name),
        }
    }

    /// Tells the plugin that a session has connected to a raw endpoint. If it refuses, the session is closed with 1008.
    ///
    /// # Errors
    /// When it has too much to do; nothing was told.
    pub(crate) fn connect(
        self: &Arc<Self>,
        broker: &Broker,
        client: &Client,
        endpoint: &Arc<str>,
    ) -> Result<(), String> {
        let Ok(place) = self.mailbox.place() else {
            broker.core.metrics.plugin_busy.add(1);
            return Err(format!("plugin \"{}\" has too much to do", self.name));
        };
        let event = Event::Connect { session: client.member.clone(), endpoint: Arc::clone(endpoint) };
        let (owner, broker, client) = (Arc::clone(self), broker.clone(), client.clone());
        let finish = move |outcome: Result<Done, HookError>| {
            owner.people.add(&client);
            let settling = Settling { broker: &broker, owner: &owner, by: Some(&client) };
            let settled = match outcome {
                Ok(done) => settling.settle(First::Nothing, Vec::new(), done.wanted).map(|_| ()),
                Err(error) => Err(failure(&owner.name, error)),
            };
            let Err(failure) = settled else { return true };
            owner.people.remove(&client.member.session);
            let code = CloseCode::PolicyViolation.number();
            let closing = Closing { code, message: failure.message, retry_after_ms: None };
            let key = client.key;
            broker.core.hub.run_on(key.shard(), move |shard| shard.end(key, &closing));
            false
        };
        place.fill(event, None, Box::new(finish));
        Ok(())
    }

    /// Gives the plugin a message of a session on a raw endpoint; it counts as under way until the hook is done.
    ///
    /// # Errors
    /// With the message when the plugin has too much to do.
    pub(crate) fn message(
        self: &Arc<Self>,
        broker: &Broker,
        client: &Client,
        endpoint: &Arc<str>,
        message: Bare,
        under_way: UnderWay,
    ) -> Result<(), Bare> {
        let Ok(place) = self.mailbox.place() else {
            broker.core.metrics.plugin_busy.add(1);
            return Err(message);
        };
        let message = match message {
            Bare::Text(text) => Raw::Text(text),
            Bare::Binary(bytes) => Raw::Binary(bytes),
        };
        let event = Event::Message { session: client.member.clone(), endpoint: Arc::clone(endpoint), message };
        let (owner, broker, client) = (Arc::clone(self), broker.clone(), client.clone());
        let finish = move |outcome: Result<Done, HookError>| {
            let settling = Settling { broker: &broker, owner: &owner, by: Some(&client) };
            // The session is told nothing: what it is to hear, the plugin sends. A failure has been logged.
            let kept = outcome.is_ok_and(|done| settling.settle(First::Nothing, Vec::new(), done.wanted).is_ok());
            drop(under_way);
            kept
        };
        place.fill(event, None, Box::new(finish));
        Ok(())
    }

    /// Tells the plugin that a session on a raw endpoint has ended.
    pub(crate) fn disconnect(self: &Arc<Self>, broker: &Broker, client: &Client, endpoint: &Arc<str>) {
        let event = Event::Disconnect { session: client.member.clone(), endpoint: Arc::clone(endpoint) };
        self.tell_end(broker, event, client, |_| {});
    }

    /// Lets the plugin decide on a message, and publishes what it decided before its next hook runs: the order of the
    /// hooks is the order of the messages. What it puts in a message's place is not echoed either to who wanted no echo.
    pub(crate) fn publish(
        self: &Arc<Self>,
        broker: &Broker,
        entry: &Arc<Entry>,
        (from, except, hops): (Option<&Client>, Option<SessionKey>, u8),
        payload: Payload,
        keyed: Option<Keyed>,
        answer: Answer,
    ) {
        let topic = entry.stream.topic().clone();
        let member = from.map(|client| client.member.clone());
        let event = Event::Publish { session: member.clone(), topic, payload: payload.clone(), hops };
        let entry = Arc::clone(entry);
        let reminder = keyed.clone().map(|keyed| Reminder { keyed, place: Place::Topic(Arc::clone(&entry)) });
        let asking = Asking { from: from.cloned(), reminder, answer };
        asking.submit(self, broker, event, move |settling, done, answer| {
            let Done { decision, wanted } = done;
            let (payload, keys) = match decision {
                Decision::Swallow => {
                    let kept = |keyed| entry.stream.kept_key(keyed, Come::Published(None));
                    (None, keyed.clone().map(kept).into_iter().collect())
                }
                Decision::Publish(Some(replacement)) => (Some(replacement), Vec::new()),
                _ => (Some(payload), Vec::new()),
            };
            let first = match payload {
                Some(payload) => {
                    let from = member.filter(|_| entry.options.reveal_publisher);
                    First::Message { entry, draft: Draft { payload, from, except }, keyed }
                }
                None => First::Nothing,
            };
            let settled = settling.settle(first, keys, wanted);
            let is_done = settled.is_ok();
            answer_published(answer, settled.map(|position| Published { position, duplicate: false }));
            is_done
        });
    }

    /// Asks the plugin whether a session may subscribe.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        broker: &Broker,
        entry: Arc<Entry>,
        client: &Client,
        wish: Wish,
        answer: Answer,
    ) {
        let event = Event::Subscribe { session: client.member.clone(), topic: entry.stream.topic().clone() };
        let client = client.clone();
        let asking = Asking { from: Some(client.clone()), reminder: None, answer };
        asking.submit(self, broker, event, move |settling, done, answer| {
            settling.owner.people.add(&client);
            let first = First::Join { entry, wish, answer: Some(answer) };
            match settling.settle_joining(first, done.wanted) {
                Ok(()) => true,
                Err(undone) => {
                    settling.owner.people.tidy(&client.member.session, &settling.owner.books);
                    undone.answer.into_iter().for_each(|answer| answer.fail(undone.failure.clone()));
                    false
                }
            }
        });
    }

    /// Ends a subscription, in order with what the session asked before, and tells the plugin. That must not get lost,
    /// so it is not turned away by a full mailbox.
    pub(crate) fn unsubscribe(
        self: &Arc<Self>,
        broker: &Broker,
        topic: &Topic,
        client: &Client,
        answer: Option<Answer>,
    ) {
        let event = Event::Unsubscribe { session: client.member.clone(), topic: topic.clone() };
        let departure = if answer.is_some() { Departure::Final } else { Departure::MayReturn };
        let (left, topic) = (client.clone(), topic.clone());
        self.tell_end(broker, event, client, move |broker| {
            broker.release(&left, &topic, departure);
            answer.into_iter().for_each(|answer| answer.ok(Reply::Unsubscribed));
        });
    }

    /// Tells the plugin that a session has ended something, whatever it thinks of that.
    fn tell_end(
        self: &Arc<Self>,
        broker: &Broker,
        event: Event,
        client: &Client,
        end: impl FnOnce(&Broker) + Send + 'static,
    ) {
        let (owner, broker, client) = (Arc::clone(self), broker.clone(), client.clone());
        self.mailbox.submit_end(
            event,
            Box::new(move |outcome: Result<Done, HookError>| {
                let settling = Settling { broker: &broker, owner: &owner, by: Some(&client) };
                // The session is out even where nothing of what the hook wanted can be done; a failure has been logged.
                let kept = match outcome {
                    Ok(done) => settling.settle(First::End(Box::new(end)), Vec::new(), done.wanted).is_ok(),
                    Err(_) => {
                        end(&broker);
                        false
                    }
                };
                owner.people.tidy(&client.member.session, &owner.books);
                kept
            }),
        );
    }

    /// Passes a call on.
    pub(crate) fn call(
        self: &Arc<Self>,
        broker: &Broker,
        from: Option<&Client>,
        entry: Option<Arc<Entry>>,
        question: Question,
        answer: Answer,
    ) {
        let Question { method, payload, keyed } = question;
        let topic = entry.as_ref().map(|entry| entry.stream.topic().clone());
        let event = Event::Call { session: member(from), topic, method, payload };
        let place = match entry {
            Some(entry) => Place::Topic(entry),
            None => {
                let (store, keys_max) = (Arc::clone(&broker.core.store), broker.core.limits.keys);
                Place::Plugin { name: Arc::clone(&self.name), store, keys_max }
            }
        };
        let reminder = keyed.map(|keyed| Reminder { keyed, place });
        let remembering = reminder.clone();
        let asking = Asking { from: from.cloned(), reminder, answer };
        asking.submit(self, broker, event, |settling, done, answer| {
            let Done { decision, wanted } = done;
            let payload = match decision {
                Decision::Answer(payload) => payload,
                _ => None,
            };
            let keys = remembering.map(|reminder| reminder.kept(Come::Answered(payload.clone())));
            match settling.settle(First::Nothing, keys.into_iter().collect(), wanted) {
                Ok(_) => {
                    answer.ok(Reply::Answered(Answered { payload, duplicate: false }));
                    true
                }
                Err(failure) => {
                    answer.fail(failure);
                    false
                }
            }
        });
    }
}

fn member(client: Option<&Client>) -> Option<Member> {
    client.map(|client| client.member.clone())
}
