//! Calls: requests that a plugin answers.

use std::sync::Arc;

use rialto_protocol::{Answered, ErrorCode, Failure, Payload, Reply};

use super::topic_logic::TopicLogic;
use super::{Broker, parse_topic, wait};
use crate::access::{self, Action, Target};
use crate::config::Access;
use crate::engine::KeyedRequest;
use crate::request::caller::Caller;
use crate::request::responder::Responder;
use crate::store::Digest;
use crate::topic::Topic;
use crate::topics::TopicEntry;

/// A call as the plugin's handle takes it.
#[derive(Debug)]
pub(crate) struct CallRequest {
    pub(crate) method: String,
    pub(crate) payload: Option<Payload>,
    pub(crate) keyed: Option<KeyedRequest>,
}

/// The plugin that a call is for.
#[derive(Clone, Debug)]
pub(crate) enum CallTarget {
    /// The plugin that owns this topic.
    Topic(Topic),
    /// The plugin of this name.
    Plugin(String),
}

/// The plugin that answers a call, and the topic that the call names.
type CallReceiver = (Arc<dyn TopicLogic>, Option<Arc<TopicEntry>>);

/// A call that a caller makes.
#[derive(Debug)]
pub(crate) struct PluginCall<'r> {
    pub(crate) target: CallTarget,
    pub(crate) method: String,
    pub(crate) payload: Option<Payload>,
    /// The idempotency key.
    pub(crate) key: Option<&'r str>,
}

impl Broker {
    /// Calls the plugin that owns a topic, as the program that embeds the broker.
    ///
    /// # Errors
    /// `bad_request` for a name that is no topic, `not_found` where no plugin owns it, and the plugin's refusal.
    pub async fn call(&self, topic: &str, method: &str, payload: Option<Payload>) -> Result<Option<Payload>, Failure> {
        Ok(self.call_with(topic, method, payload, None).await?.payload)
    }

    /// The same with an idempotency key: a call that was answered before with this key, method and payload gets the same answer
    /// again, as a duplicate, and the plugin is not called.
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
        self.check_running()?;
        let target = CallTarget::Topic(parse_topic(topic)?);
        let call = PluginCall { target, method: method.to_owned(), payload, key };
        self.call_as(Caller::Embedder, call).await
    }

    /// Calls a plugin for a caller that waits for the answer.
    pub(crate) async fn call_as(&self, caller: Caller<'_>, call: PluginCall<'_>) -> Result<Answered, Failure> {
        let (responder, outcome) = Responder::caller();
        self.accept_call(caller, call, responder);
        match wait(outcome).await? {
            Reply::Answered(answered) => Ok(answered),
            _ => Err(Failure::new(ErrorCode::Internal, "not the answer to a call")),
        }
    }

    /// Every call begins here: the plugin's hook answers it.
    pub(crate) fn accept_call(&self, caller: Caller<'_>, call: PluginCall<'_>, responder: Responder) {
        let PluginCall { target, method, payload, key } = call;
        let found = self
            .check_call(caller, &target)
            .and_then(|()| self.keyed(key, caller, || Digest::of(Some(&method), payload.as_ref())))
            .and_then(|keyed| Ok((keyed, self.called(caller, target)?)));
        match found {
            Ok((keyed, (logic, entry))) => {
                logic.call(self, caller, entry, CallRequest { method, payload, keyed }, responder);
            }
            Err(failure) => responder.fail(failure),
        }
    }

    fn check_call(&self, caller: Caller<'_>, target: &CallTarget) -> Result<(), Failure> {
        match target {
            CallTarget::Topic(topic) => self.check(caller, Action::Call, topic),
            CallTarget::Plugin(_) => {
                let access = Access::default_of(self.core.config.load().auth.as_ref());
                access::check(caller, Action::Call, Target::Plugin(&access))
            }
        }
    }

    /// The plugin that is called, and the topic if the call names one.
    fn called(&self, caller: Caller<'_>, target: CallTarget) -> Result<CallReceiver, Failure> {
        match target {
            CallTarget::Topic(topic) => {
                let entry = self.core.topics.entry(&topic, &self.core.engine, || caller.holder())?;
                let logic = self.deciding_logic(&entry.stream.rule())?;
                match logic {
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
