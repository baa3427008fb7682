//! The logic of a plugin's topics and endpoints: turns requests to them into events in the plugin's mailbox. It decides
//! nothing.

use std::sync::Arc;

use rialto_plugin::Raw;
use rialto_protocol::{CloseCode, Closing};

use super::handle::PluginHandle;
use super::request::{PluginRequest, RequestKind, busy};
use super::transaction::End;
use crate::broker::topic_logic::{RawMessage, TopicLogic, TopicPublish};
use crate::broker::{Broker, CallRequest, Departure, SubscribeOptions};
use crate::hub::InFlightGuard;
use crate::plugin::{Event, Lane, Verified};
use crate::request::caller::{Caller, CallerSession};
use crate::request::responder::Responder;
use crate::topic::Topic;
use crate::topics::TopicEntry;
use crate::topics::idempotency::{KeyHome, ScopedKey};

/// When a session may reconnect whose raw endpoint has another plugin.
const ENDPOINT_RETRY_MS: u64 = 100;

impl PluginHandle {
    /// Reports to the plugin that a session has ended something; the plugin cannot refuse that.
    fn report_end(self: &Arc<Self>, broker: &Broker, event: Event, caller: &CallerSession, end: End) {
        let request = PluginRequest::new(broker, self, Some(caller.clone()), None, RequestKind::End(end));
        self.mailbox.submit_end(Lane::of(event.session()), event, request);
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
        let session = caller.for_plugins();
        let Ok(slot) = self.mailbox.reserve(Lane::of(Some(&session))) else {
            broker.core.metrics.plugin_busy.add(1);
            return Err(busy(self.name()));
        };
        let event = Event::Connect { session, endpoint: Arc::clone(endpoint) };
        let kind = RequestKind::Connect { endpoint: Arc::clone(endpoint) };
        slot.fill(event, PluginRequest::new(broker, &self, Some(caller.clone()), None, kind));
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
        let session = caller.for_plugins();
        let Ok(slot) = self.mailbox.reserve(Lane::of(Some(&session))) else {
            broker.core.metrics.plugin_busy.add(1);
            return Err(message);
        };
        let message = match message {
            RawMessage::Text(text) => Raw::Text(text),
            RawMessage::Binary(bytes) => Raw::Binary(bytes),
        };
        let event = Event::Message { session, endpoint: Arc::clone(endpoint), message };
        let kind = RequestKind::Message { in_flight };
        slot.fill(event, PluginRequest::new(broker, &self, Some(caller.clone()), None, kind));
        Ok(())
    }

    fn disconnect(self: Arc<Self>, broker: &Broker, caller: &CallerSession, endpoint: &Arc<str>) {
        let event = Event::Disconnect { session: caller.for_plugins(), endpoint: Arc::clone(endpoint) };
        self.report_end(broker, event, caller, End::Connection);
    }

    fn take_verified(&self, session: &str) -> Option<Verified> {
        self.registry.take_verified(session)
    }

    fn authenticated(
        self: Arc<Self>,
        broker: &Broker,
        caller: &CallerSession,
        outcome: Result<(), String>,
        in_flight: InFlightGuard,
    ) {
        if outcome.is_ok() {
            self.know_again(caller);
        }
        let session = caller.for_plugins();
        let (lane, event) = (Lane::of(Some(&session)), Event::Authenticated { session, outcome });
        let request = PluginRequest::new(broker, &self, Some(caller.clone()), None, RequestKind::Message { in_flight });
        // There is at most one for each session.
        self.mailbox.submit_end(lane, event, request);
    }

    fn give_up_topic(self: Arc<Self>, broker: &Broker, topic: &Topic) {
        for session in self.registry.members(topic) {
            let Some(caller) = self.known_sessions.get(&session.id) else { continue };
            caller.assigned.remove(topic);
            let event = Event::Unsubscribe { session, topic: topic.clone() };
            self.report_end(broker, event, &caller, End::Ownership);
        }
    }

    fn give_up_endpoint(self: Arc<Self>, broker: &Broker, endpoint: &str) {
        let closing = Closing {
            code: CloseCode::TryAgainLater.number(),
            message: "the endpoint has another plugin".to_owned(),
            retry_after_ms: Some(ENDPOINT_RETRY_MS),
        };
        let sessions = self.registry.connected(endpoint);
        for key in sessions.iter().filter_map(|session| self.known_sessions.get(session)).map(|caller| caller.key) {
            let closing = closing.clone();
            broker.core.hub.run_on(key.shard(), move |shard| shard.end(key, &closing));
        }
    }

    fn publish(
        self: Arc<Self>,
        broker: &Broker,
        entry: &Arc<TopicEntry>,
        request: TopicPublish<'_>,
        responder: Responder,
    ) {
        let TopicPublish { caller, except, payload, keyed } = request;
        let (topic, from) = (entry.stream.topic().clone(), caller.member().cloned());
        let session = caller.session().map(CallerSession::for_plugins);
        let event = Event::Publish { session, topic, payload: payload.clone(), hops: caller.hops() };
        let key = keyed.map(|keyed| ScopedKey { keyed, place: KeyHome::Topic(Arc::clone(entry)) });
        let kind = RequestKind::Publish { entry: Arc::clone(entry), payload, from, except, responder };
        PluginRequest::new(broker, &self, caller.session().cloned(), key, kind).submit(event);
    }

    fn subscribe(
        self: Arc<Self>,
        broker: &Broker,
        entry: Arc<TopicEntry>,
        caller: &CallerSession,
        options: SubscribeOptions,
        responder: Responder,
    ) {
        let event = Event::Subscribe { session: caller.for_plugins(), topic: entry.stream.topic().clone() };
        let kind = RequestKind::Subscribe { entry, options, responder };
        PluginRequest::new(broker, &self, Some(caller.clone()), None, kind).submit(event);
    }

    fn unsubscribe(
        self: Arc<Self>,
        broker: &Broker,
        topic: &Topic,
        caller: &CallerSession,
        responder: Option<Responder>,
    ) {
        let event = Event::Unsubscribe { session: caller.for_plugins(), topic: topic.clone() };
        let departure = if responder.is_some() { Departure::Final } else { Departure::MayReturn };
        self.report_end(broker, event, caller, End::Subscription { topic: topic.clone(), departure, responder });
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
        let event = Event::Call { session: caller.session().map(CallerSession::for_plugins), topic, method, payload };
        let place = match entry {
            Some(entry) => KeyHome::Topic(entry),
            None => {
                let store = Arc::clone(&broker.core.store);
                KeyHome::Plugin { name: Arc::clone(self.name()), store }
            }
        };
        let key = keyed.map(|keyed| ScopedKey { keyed, place });
        let kind = RequestKind::Call { responder };
        PluginRequest::new(broker, &self, caller.session().cloned(), key, kind).submit(event);
    }
}
