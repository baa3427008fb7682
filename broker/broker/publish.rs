//! Publishing: hop 3 of a message, and its hand-over to the engine.

use std::sync::Arc;

use rialto_protocol::{ErrorCode, Failure, Payload, Position, Published, Reply};

use super::idempotency::{key_reused, too_many_keys};
use super::topic_logic::TopicPublish;
use super::{Broker, answer_published, parse_topic, wait};
use crate::access::Action;
use crate::config::TopicOptions;
use crate::engine::{KeyedDraft, NotPublished, PendingPublish, Placed, Stream};
use crate::message::{Draft, SharedMessage};
use crate::request::caller::Caller;
use crate::request::responder::Responder;
use crate::store::{Digest, StoreError};
use crate::topic::Topic;
use crate::topics::TopicEntry;

/// How a message is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishOptions {
    /// The idempotency key: 1 to 128 bytes.
    pub key: Option<String>,
}

impl PublishOptions {
    /// With this idempotency key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// A message that a caller publishes.
#[derive(Debug)]
pub(crate) struct PublishRequest<'r> {
    pub(crate) topic: &'r Topic,
    pub(crate) payload: Payload,
    /// The idempotency key.
    pub(crate) key: Option<&'r str>,
    /// Whether the session that publishes is sent the message too, where it is subscribed.
    pub(crate) echo: bool,
}

impl Broker {
    /// Publishes a message as the program that embeds the broker, and waits while the subscribers' shards have too
    /// much to do. If a plugin owns the topic, it decides first; it sees no session.
    ///
    /// The position is none when the plugin swallowed the message.
    ///
    /// # Errors
    /// `bad_request` for a name that is no topic, `not_found` where no rule is for it, and the plugin's refusal.
    pub async fn publish(&self, topic: &str, payload: Payload) -> Result<Option<Position>, Failure> {
        Ok(self.publish_with(topic, payload, PublishOptions::default()).await?.position)
    }

    /// The same with options. With a key, a message that was published before with this key and payload is not published
    /// again: its first position comes back as a duplicate.
    ///
    /// # Errors
    /// Those of [`Broker::publish`]; `bad_request` for a key that is empty or longer than 128 bytes, `key_reused` where it
    /// stands for another payload.
    pub async fn publish_with(
        &self,
        topic: &str,
        payload: Payload,
        options: PublishOptions,
    ) -> Result<Published, Failure> {
        self.check_running()?;
        let topic = parse_topic(topic)?;
        let request = PublishRequest { topic: &topic, payload, key: options.key.as_deref(), echo: true };
        self.publish_as(Caller::Embedder, request).await
    }

    /// Publishes a message for a caller that waits: for the outcome, and until the subscribers' shards have room.
    pub(crate) async fn publish_as(
        &self,
        caller: Caller<'_>,
        request: PublishRequest<'_>,
    ) -> Result<Published, Failure> {
        let (responder, outcome) = Responder::caller();
        let entry = self.accept(caller, request, responder);
        let reply = wait(outcome).await?;
        if let Some(entry) = entry {
            self.core.hub.room(&entry.reach).await;
        }
        match reply {
            Reply::Published(published) => Ok(published),
            _ => Err(Failure::new(ErrorCode::Internal, "not the answer to a publish")),
        }
    }

    /// Hop 3: every publish begins here. Where a plugin owns the topic its hook decides, else the message goes out. Returns the
    /// topic, so that the publisher can wait until its subscribers' shards have room.
    pub(crate) fn accept(
        &self,
        caller: Caller<'_>,
        request: PublishRequest<'_>,
        responder: Responder,
    ) -> Option<Arc<TopicEntry>> {
        let PublishRequest { topic, payload, key, echo } = request;
        let found = self
            .admit(caller, Action::Publish, topic)
            .and_then(|entry| Ok((self.keyed(key, caller, || Digest::of(None, Some(&payload)))?, entry)));
        let (keyed, mut entry) = match found {
            Ok(found) => found,
            Err(failure) => {
                responder.fail(failure);
                return None;
            }
        };
        let except = caller.session().filter(|_| !echo).map(|session| session.key);
        let mut message = KeyedDraft { draft: Draft { payload, from: None, except }, keyed };
        let mut responder = Some(responder);
        let published = loop {
            let rule = entry.stream.rule();
            match self.deciding_logic(&rule) {
                Ok(None) => {}
                Ok(Some(logic)) => {
                    let KeyedDraft { draft, keyed } = message;
                    let publish = TopicPublish { caller, except, payload: draft.payload, keyed };
                    if let Some(responder) = responder {
                        logic.publish(self, &entry, publish, responder);
                    }
                    return Some(entry);
                }
                Err(failure) => break Err(failure),
            }
            message.draft.from = caller.member().filter(|_| rule.reveal_publisher).cloned();
            message = match self.emit(&entry, &rule, message, &mut responder) {
                Ok(published) => break published,
                // The topic was forgotten, or has another rule: the plugin of that rule decides.
                Err(back) => *back,
            };
            match self.core.topics.entry_again(&entry, &self.core.engine) {
                Ok(again) => entry = again,
                Err(failure) => break Err(failure),
            }
        };
        if let Some(responder) = responder {
            self.answer_emitted(responder, published);
        }
        Some(entry)
    }

    /// Hands a message that was decided on by this rule to the engine, which assigns its offset, and to the shards of its
    /// subscribers. The request is answered when the message is stored as the rule says; where that takes time, by what takes
    /// the responder.
    ///
    /// # Errors
    /// With the message where the topic has to be looked up again.
    fn emit(
        &self,
        entry: &Arc<TopicEntry>,
        rule: &Arc<TopicOptions>,
        message: KeyedDraft,
        responder: &mut Option<Responder>,
    ) -> Result<Result<Published, Failure>, Box<KeyedDraft>> {
        let now = self.core.clock.now();
        let hand_over = |message: &_| self.core.hub.deliver(&entry.reach, message);
        let pending = || PendingEmit { broker: self.clone(), entry: Arc::clone(entry), responder: responder.take() };
        match self.core.engine.publish(&entry.stream, rule, message, now, hand_over, pending) {
            Ok(Placed::Visible(published)) => Ok(Ok(published)),
            // Nobody is answered now: the responder was taken.
            Ok(Placed::Pending) => Ok(Ok(Published { position: None, duplicate: false })),
            Err(NotPublished::Retired(back)) => Err(back),
            Err(NotPublished::KeyReused) => Ok(Err(key_reused())),
            Err(NotPublished::TooManyKeys) => Ok(Err(too_many_keys())),
            Err(NotPublished::NotKept(error)) => Ok(Err(error.to_failure())),
        }
    }

    fn answer_emitted(&self, responder: Responder, published: Result<Published, Failure>) {
        if let Ok(published) = &published {
            let metrics = &self.core.metrics;
            if published.duplicate { &metrics.duplicates } else { &metrics.messages_published }.add(1);
        }
        answer_published(responder, published);
    }
}

/// A message that waits for the log.
struct PendingEmit {
    broker: Broker,
    entry: Arc<TopicEntry>,
    responder: Option<Responder>,
}

impl PendingPublish for PendingEmit {
    fn stream(&self) -> &Stream {
        &self.entry.stream
    }

    fn hand_over(&self, message: &SharedMessage) {
        self.broker.core.hub.deliver(&self.entry.reach, message);
    }

    fn complete(self, outcome: Result<Published, StoreError>) {
        let Self { broker, responder, .. } = self;
        if let Some(responder) = responder {
            broker.answer_emitted(responder, outcome.map_err(|error| error.to_failure()));
        }
    }
}
