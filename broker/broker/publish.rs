//! How messages come in and go out: hop 3, and the hand-over to the engine.

use std::sync::Arc;

use rialto_protocol::{ErrorCode, Failure, Member, Payload, Position, Published, Reply};

use super::idempotency::{key_reused, keyed, program};
use super::topic_logic::PublishRequest;
use super::{Broker, answer_published, parse_topic, wait};
use crate::engine::{KeyedRequest, NotPublished};
use crate::hub::SessionKey;
use crate::message::Draft;
use crate::request::caller::CallerSession;
use crate::request::responder::Responder;
use crate::store::Digest;
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

impl Broker {
    /// Publishes a message as the program that embeds the broker, and waits while the subscribers' shards have too
    /// much to do. If a plugin owns the topic, it decides first; it sees no session.
    ///
    /// The position is none when the plugin swallowed the message.
    ///
    /// # Errors
    /// `bad_request` for a name that is no topic, `not_found` where no rule is for it, and what the plugin says.
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
        let topic = parse_topic(topic)?;
        let keyed = keyed(options.key.as_deref(), Some(&program("")), || Digest::of(None, Some(&payload)))?;
        self.publish_keyed(&topic, payload, keyed).await
    }

    /// Publishes for no session, and waits for the readers.
    pub(crate) async fn publish_keyed(
        &self,
        topic: &Topic,
        payload: Payload,
        keyed: Option<KeyedRequest>,
    ) -> Result<Published, Failure> {
        let (responder, outcome) = Responder::caller();
        let entry = self.accept(None, None, topic, payload, keyed, responder);
        let reply = wait(outcome).await?;
        if let Some(entry) = entry {
            self.core.hub.room(&entry.reach).await;
        }
        match reply {
            Reply::Published(published) => Ok(published),
            _ => Err(Failure::new(ErrorCode::Internal, "not the answer to a publish")),
        }
    }

    /// Hop 3: a message on its way in. Where a plugin owns the topic its hook decides, else the message goes out. Gives
    /// the topic back, so that whoever publishes can wait for its readers. The session `except` is not sent the message.
    pub(crate) fn accept(
        &self,
        from: Option<&CallerSession>,
        except: Option<SessionKey>,
        topic: &Topic,
        payload: Payload,
        keyed: Option<KeyedRequest>,
        responder: Responder,
    ) -> Option<Arc<TopicEntry>> {
        let entry = match self.core.topics.entry(topic, &self.core.engine) {
            Ok(entry) => entry,
            Err(failure) => {
                responder.fail(failure);
                return None;
            }
        };
        match self.deciding_logic(&entry) {
            Ok(None) => {
                let from = from.map(|caller| &caller.member);
                answer_published(responder, self.emit(&entry, from, except, payload, keyed));
            }
            Ok(Some(logic)) => {
                let request = PublishRequest { from, except, hops: 0, payload, keyed };
                logic.publish(self, &entry, request, responder);
            }
            Err(failure) => responder.fail(failure),
        }
        Some(entry)
    }

    /// Hands a message to the engine, which gives it its place, and to the shards of its subscribers.
    pub(crate) fn emit(
        &self,
        entry: &Arc<TopicEntry>,
        from: Option<&Member>,
        except: Option<SessionKey>,
        payload: Payload,
        mut keyed: Option<KeyedRequest>,
    ) -> Result<Published, Failure> {
        let from = from.filter(|_| entry.options.reveal_publisher).cloned();
        let mut draft = Draft { payload, from, except };
        let mut entry = Arc::clone(entry);
        loop {
            let now = self.core.clock.now();
            let hand_over = |message: &_| self.core.hub.deliver(&entry.reach, message);
            match self.core.engine.publish(&entry.stream, draft, keyed, now, hand_over) {
                Ok(published) => {
                    let metrics = &self.core.metrics;
                    if published.duplicate { &metrics.duplicates } else { &metrics.messages_published }.add(1);
                    return Ok(published);
                }
                Err(NotPublished::Retired(back)) => {
                    (draft, keyed) = *back;
                    entry = self.core.topics.entry(entry.stream.topic(), &self.core.engine)?;
                }
                Err(NotPublished::KeyReused) => return Err(key_reused()),
                Err(NotPublished::NotKept(error)) => return Err(error.to_failure()),
            }
        }
    }
}
