//! How plugins are asked.

use std::sync::Arc;

use rialto_protocol::{Answered, ErrorCode, Failure, Payload, Reply};

use super::idempotency::{keyed, program};
use super::topic_logic::TopicLogic;
use super::{Broker, parse_topic, wait};
use crate::engine::KeyedRequest;
use crate::request::caller::CallerSession;
use crate::request::responder::Responder;
use crate::store::Digest;
use crate::topic::Topic;
use crate::topics::TopicEntry;

/// What a plugin is asked.
#[derive(Debug)]
pub(crate) struct CallRequest {
    pub(crate) method: String,
    pub(crate) payload: Option<Payload>,
    pub(crate) keyed: Option<KeyedRequest>,
}

/// Whom a `call` is for.
#[derive(Clone, Debug)]
pub(crate) enum CallTarget {
    /// The plugin that owns this topic.
    Topic(Topic),
    /// The plugin of this name.
    Plugin(String),
}

/// The plugin that answers a call, and the topic that the call names.
type CallReceiver = (Arc<dyn TopicLogic>, Option<Arc<TopicEntry>>);

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
        self.ask_for(CallTarget::Topic(topic), CallRequest { method: method.to_owned(), payload, keyed }).await
    }

    /// Asks a plugin for no session.
    pub(crate) async fn ask_for(&self, asked: CallTarget, question: CallRequest) -> Result<Answered, Failure> {
        let (responder, outcome) = Responder::caller();
        self.ask(None, asked, question, responder);
        match wait(outcome).await? {
            Reply::Answered(answered) => Ok(answered),
            _ => Err(Failure::new(ErrorCode::Internal, "not the answer to a call")),
        }
    }

    /// Asks a plugin.
    pub(crate) fn ask(
        &self,
        from: Option<&CallerSession>,
        asked: CallTarget,
        question: CallRequest,
        responder: Responder,
    ) {
        match self.asked(asked) {
            Ok((logic, entry)) => logic.call(self, from, entry, question, responder),
            Err(failure) => responder.fail(failure),
        }
    }

    fn asked(&self, asked: CallTarget) -> Result<CallReceiver, Failure> {
        match asked {
            CallTarget::Topic(topic) => {
                let entry = self.core.topics.entry(&topic, &self.core.engine)?;
                match self.deciding_logic(&entry)? {
                    Some(logic) => Ok((logic, Some(entry))),
                    None => Err(Failure::new(ErrorCode::NotFound, format!("no plugin owns topic \"{topic}\""))),
                }
            }
            CallTarget::Plugin(name) => match self.core.plugins.logic(&name) {
                Some(logic) => Ok((logic, None)),
                None => Err(Failure::new(ErrorCode::NotFound, "no plugin has this name")),
            },
        }
    }
}
