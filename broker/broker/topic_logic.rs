//! What the broker asks of a plugin that owns topics or a raw endpoint. The broker knows no plugin beyond this; plugins are
//! made above it.

use std::sync::Arc;

use rialto_protocol::Payload;

use super::{Broker, CallRequest, SubscribeOptions};
use crate::engine::KeyedRequest;
use crate::hub::{InFlightGuard, SessionKey};
use crate::plugin::Verified;
use crate::request::caller::{Caller, CallerSession};
use crate::request::responder::Responder;
use crate::topic::Topic;
use crate::topics::TopicEntry;

/// A message on its way into a topic.
pub(crate) struct TopicPublish<'r> {
    pub(crate) caller: Caller<'r>,
    /// The session that the message is not sent to.
    pub(crate) except: Option<SessionKey>,
    pub(crate) payload: Payload,
    pub(crate) keyed: Option<KeyedRequest>,
}

/// A message from a client on a raw endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RawMessage {
    Text(String),
    Binary(Vec<u8>),
}

/// The logic of topics and raw endpoints. Requests are queued; each is answered by its responder, exactly once.
pub(crate) trait TopicLogic: Send + Sync {
    /// Whether its hooks are not called at present.
    fn is_down(&self) -> bool;

    /// Whether it has admitted a session to one of its topics.
    fn has_admitted(&self, topic: &Topic, session: &str) -> bool;

    /// Decides on a message. What it accepts is published before its next hook runs: messages keep the order of requests.
    fn publish(
        self: Arc<Self>,
        broker: &Broker,
        entry: &Arc<TopicEntry>,
        request: TopicPublish<'_>,
        responder: Responder,
    );

    /// Decides whether a session may subscribe, and subscribes it.
    fn subscribe(
        self: Arc<Self>,
        broker: &Broker,
        entry: Arc<TopicEntry>,
        caller: &CallerSession,
        options: SubscribeOptions,
        responder: Responder,
    );

    /// Ends a subscription behind what the session asked before. Never refused: an ending must not get lost. Without a
    /// responder the session itself has ended.
    fn unsubscribe(
        self: Arc<Self>,
        broker: &Broker,
        topic: &Topic,
        caller: &CallerSession,
        responder: Option<Responder>,
    );

    /// Answers a call about a topic, or about the plugin as a whole.
    fn call(
        self: Arc<Self>,
        broker: &Broker,
        caller: Caller<'_>,
        entry: Option<Arc<TopicEntry>>,
        request: CallRequest,
        responder: Responder,
    );

    /// A session has connected to a raw endpoint. If the plugin refuses it, the session is closed with 1008.
    ///
    /// # Errors
    /// With the reason when the plugin is busy; then it does not learn of the session.
    fn connect(self: Arc<Self>, broker: &Broker, caller: &CallerSession, endpoint: &Arc<str>) -> Result<(), String>;

    /// A session on a raw endpoint has sent a message, which counts as in flight until the hook has returned.
    ///
    /// # Errors
    /// With the message when the plugin is busy.
    fn message(
        self: Arc<Self>,
        broker: &Broker,
        caller: &CallerSession,
        endpoint: &Arc<str>,
        message: RawMessage,
        in_flight: InFlightGuard,
    ) -> Result<(), RawMessage>;

    /// Who a session on a raw endpoint is, or why that is not known, where a hook asked to authenticate it: once.
    fn take_verified(&self, session: &str) -> Option<Verified>;

    /// A session on a raw endpoint has been authenticated and is this one now, or has not been. It counts as in flight until
    /// the hook has returned. Never refused.
    fn authenticated(
        self: Arc<Self>,
        broker: &Broker,
        caller: &CallerSession,
        outcome: Result<(), String>,
        in_flight: InFlightGuard,
    );

    /// It does not own a topic any more: the subscriptions of all members have ended.
    fn give_up_topic(self: Arc<Self>, broker: &Broker, topic: &Topic);

    /// It does not own a raw endpoint any more: its sessions there are closed, and asked to reconnect.
    fn give_up_endpoint(self: Arc<Self>, broker: &Broker, endpoint: &str);

    /// A session on a raw endpoint has ended. Never refused.
    fn disconnect(self: Arc<Self>, broker: &Broker, caller: &CallerSession, endpoint: &Arc<str>);
}
