//! How plugins are asked.

use std::sync::Arc;

use rialto_protocol::{Answered, ErrorCode, Failure, Payload, Reply};

use super::idempotency::{keyed, program};
use super::{Broker, parse_topic, wait};
use crate::engine::Keyed;
use crate::request::caller::Client;
use crate::request::responder::Answer;
use crate::store::Digest;
use crate::topic::Topic;
use crate::topic_plugins::Owner;
use crate::topics::Entry;

/// What a plugin is asked.
#[derive(Debug)]
#[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "nobody is there to be asked"))]
pub(crate) struct Question {
    pub(crate) method: String,
    pub(crate) payload: Option<Payload>,
    pub(crate) keyed: Option<Keyed>,
}

/// Whom a `call` is for.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// The plugin that owns this topic.
    Topic(Topic),
    /// The plugin of this name.
    Plugin(String),
}

impl Broker {
    /// Asks the plugin that owns a topic, as the program that embeds the broker.
    ///
    /// # Errors
    /// `bad_request` for a name that is no topic, `not_found` where no plugin owns it, and what the plugin says.
    pub async fn call(&self, topic: &str, method: &str, payload: Option<Payload>) -> Result<Option<Payload>, Failure> {
        Ok(self.call_with(topic, method, payload, None).await?.payload)
    }

    /// The same with an idempotency key: a call that was answered before with this key, method and payload gets the same answer
    /// again, as a duplicate, and the plugin is not asked.
    ///
    /// # Errors
    /// Those of [`Broker::call`] and, about the key, those of [`Broker::publish_with`].
    pub async fn call_with(
        &self,
        topic: &str,
        method: &str,
        payload: Option<Payload>,
        key: Option<&str>,
    ) -> Result<Answered, Failure> {
        let topic = parse_topic(topic)?;
        let keyed = keyed(key, Some(&program("")), || Digest::of(Some(method), payload.as_ref()))?;
        self.ask_for(Asked::Topic(topic), Question { method: method.to_owned(), payload, keyed }).await
    }

    /// Asks a plugin for no session.
    pub(crate) async fn ask_for(&self, asked: Asked, question: Question) -> Result<Answered, Failure> {
        let (answer, outcome) = Answer::caller();
        self.ask(None, asked, question, answer);
        match wait(outcome).await? {
            Reply::Answered(answered) => Ok(answered),
            _ => Err(Failure::new(ErrorCode::Internal, "not the answer to a call")),
        }
    }

    /// Asks a plugin.
    pub(crate) fn ask(&self, from: Option<&Client>, asked: Asked, question: Question, answer: Answer) {
        match self.asked(asked) {
            Ok((owner, entry)) => owner.call(self, from, entry, question, answer),
            Err(failure) => answer.fail(failure),
        }
    }

    fn asked(&self, asked: Asked) -> Result<(Arc<Owner>, Option<Arc<Entry>>), Failure> {
        match asked {
            Asked::Topic(topic) => {
                let entry = self.core.directory.entry(&topic, &self.core.engine)?;
                match self.owner(&entry)? {
                    Some(owner) => Ok((owner, Some(entry))),
                    None => Err(Failure::new(ErrorCode::NotFound, format!("no plugin owns topic \"{topic}\""))),
                }
            }
            Asked::Plugin(name) => match self.core.owners.get(&name) {
                Some(owner) => Ok((owner, None)),
                None => Err(Failure::new(ErrorCode::NotFound, "no plugin has this name")),
            },
        }
    }
}
