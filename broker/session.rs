//! A session: what one client may ask and in what shape. It knows neither socket nor transport.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use rialto_protocol::{
    Call, Codec, Connect, Delivery, ErrorCode, Failure, Frame, History, Member, Operation, Publish, Reply, Request,
};
use rialto_protocol::{Subscribe, Welcome};

use crate::broker::{Broker, CallTarget, PluginCall, PublishRequest, SubscribeOptions, check_key, parse_topic};
use crate::collections::small_map::SmallMap;
use crate::config::Limits;
use crate::hub::{InFlight, Push, SessionKey, What};
use crate::identity;
use crate::request::caller::{Caller, CallerSession};
use crate::request::responder::{Part, RequestResult, Responder, SubscriptionState};
use crate::topic::{Pattern, Topic};
use crate::topics::TopicEntry;
use crate::wire::websocket::websocket_frame;

/// Name and version as `welcome` tells them.
const SERVER: &str = concat!("rialto/", env!("CARGO_PKG_VERSION"));

/// A frame that is no request.
#[derive(Debug)]
pub(crate) struct NoRequest;

/// One connected client.
pub(crate) struct Session {
    broker: Broker,
    caller: CallerSession,
    codec: Codec,
    /// The topics asked for, those included whose subscription was refused since.
    subscriptions: SmallMap<Topic, Arc<SubscriptionState>>,
    /// The patterns it is subscribed to.
    patterns: SmallMap<Pattern, ()>,
    in_flight: Arc<InFlight>,
    /// The topic published to last, whose readers may need the publisher to wait.
    published: Option<Arc<TopicEntry>>,
}

impl Session {
    pub(crate) fn new(broker: Broker, key: SessionKey, codec: Codec, user: Option<Arc<str>>) -> Self {
        let member = Member { session: identity::session_id(), user };
        let (subscriptions, patterns, in_flight) = (SmallMap::default(), SmallMap::default(), Arc::default());
        Self {
            broker,
            caller: CallerSession::new(key, member),
            codec,
            subscriptions,
            patterns,
            in_flight,
            published: None,
        }
    }

    /// Who it is.
    pub(crate) fn member(&self) -> &Member {
        &self.caller.member
    }

    /// The limits it is held to.
    pub(crate) fn limits(&self) -> &Limits {
        &self.broker.core.limits
    }

    /// The frame with which the broker speaks first.
    pub(crate) fn welcome(&self) -> Bytes {
        let core = &self.broker.core;
        let welcome = Welcome {
            member: &self.caller.member,
            server: SERVER,
            node: &core.node,
            ping_ms: core.limits.ping_ms,
            features: &["plugins", "delivery", "recovery", "history", "keys", "patterns", "presence"],
            limits: self.broker.told_limits(),
        };
        websocket_frame(self.codec, &Frame::Welcome(welcome))
    }

    /// Hop 2: one request. Its answer reaches the session by way of its shard, now or later.
    ///
    /// # Errors
    /// [`NoRequest`] when the frame was none; the session has been told.
    pub(crate) fn handle(&mut self, frame: &[u8]) -> Result<(), NoRequest> {
        match Request::decode(self.codec, frame) {
            Ok(Request { id, operation }) => {
                self.carry_out(id, operation);
                Ok(())
            }
            Err(error) => {
                self.responder(error.id).fail(Failure::new(error.code, error.message));
                Err(NoRequest)
            }
        }
    }

    fn carry_out(&mut self, id: Option<u64>, operation: Operation<'_>) {
        match operation {
            Operation::Connect(connect) => self.connect(&connect, self.responder(id)),
            Operation::Subscribe(requests) => self.subscribe(requests, self.responder(id)),
            Operation::Unsubscribe(topics) => self.unsubscribe(&topics, self.responder(id)),
            Operation::Publish(publish) => self.publish(publish, self.responder(id)),
            Operation::Call(call) => self.call(call, self.responder(id)),
            Operation::History(history) => self.history(&history, self.large_responder(id)),
            Operation::Presence(topic) => self.presence(&topic, self.responder(id)),
            Operation::Ping(payload) => {
                let time_ms = self.broker.core.clock.unix_ms();
                let what = What::Pong { id, payload, time_ms };
                self.broker.core.hub.push(self.caller.key, Push { what, in_flight: Some(self.in_flight.enter()) });
            }
        }
    }

    /// Whether [`Session::ready`] would return at once.
    pub(crate) fn is_ready(&self) -> bool {
        let core = &self.broker.core;
        let has_room = |entry: &Arc<TopicEntry>| core.hub.has_room(&entry.reach);
        let readers_have_room = self.published.as_ref().is_none_or(has_room);
        readers_have_room && self.in_flight.is_below(core.limits.requests_in_flight)
    }

    /// Waits until the session may go on: few enough of its requests are under way, and the readers of what it published
    /// have room. While it waits, its socket is not read.
    pub(crate) async fn ready(&mut self) {
        self.in_flight.below(self.broker.core.limits.requests_in_flight).await;
        if let Some(entry) = self.published.take() {
            self.broker.core.hub.room(&entry.reach).await;
        }
    }

    /// The client is gone: the plugins of its topics are told.
    pub(crate) fn end(&mut self) {
        for (topic, state) in self.subscriptions.drain() {
            if state.is_in() {
                self.broker.leave(&self.caller, &topic);
            }
        }
        for topic in self.caller.assigned.end() {
            self.broker.leave(&self.caller, &topic);
        }
    }

    fn connect(&self, connect: &Connect<'_>, responder: Responder) {
        if connect.token.is_some() {
            let text = "this broker is not set up to verify tokens";
            return responder.fail(Failure::new(ErrorCode::Unauthorized, text));
        }
        tracing::debug!(session = &*self.caller.member.session, client = ?connect.client, "connect");
        responder.ok(Reply::Connected(self.caller.member.clone()));
    }

    fn subscribe(&mut self, mut requests: Vec<Subscribe<'_>>, responder: Responder) {
        if requests.len() == 1
            && let Some(request) = requests.pop()
        {
            return self.subscribe_one(request, responder);
        }
        let parts = responder.split(requests.iter().map(|request| Arc::from(&*request.topic)), subscribed_all);
        for (request, part) in requests.into_iter().zip(parts) {
            self.subscribe_one(request, part);
        }
    }

    fn subscribe_one(&mut self, request: Subscribe<'_>, responder: Responder) {
        if let Some(pattern) = pattern(&request.topic) {
            return self.select(&request, pattern, responder);
        }
        let topic = match parse_topic(&request.topic) {
            Ok(topic) => topic,
            Err(failure) => return responder.fail(failure),
        };
        let state = match self.subscriptions.get(&topic).cloned() {
            Some(state) => state,
            None if self.has_place() => self.add(&topic),
            None => return responder.fail(self.has_no_place()),
        };
        let Subscribe { since, last, delivery, presence, .. } = request;
        let options = SubscribeOptions { since, last, delivery, field: None, presence };
        self.broker.subscribe(&self.caller, &topic, options, responder.telling(&state));
    }

    /// Subscribes to a pattern.
    fn select(&mut self, request: &Subscribe<'_>, pattern: Pattern, responder: Responder) {
        if let Err(failure) = only_live(request) {
            return responder.fail(failure);
        }
        let is_new = self.patterns.get(&pattern).is_none();
        if is_new && !self.has_place() {
            return responder.fail(self.has_no_place());
        }
        if self.broker.subscribe_pattern(&self.caller, &pattern, responder) && is_new {
            self.patterns.add(pattern, ());
        }
    }

    fn add(&mut self, topic: &Topic) -> Arc<SubscriptionState> {
        // Where the topic is in memory, all its subscribers share its text.
        let known = self.broker.core.topics.peek(topic);
        let topic = known.as_ref().map_or(topic, |entry| entry.stream.topic());
        let state = Arc::default();
        self.subscriptions.add(topic.clone(), Arc::clone(&state));
        state
    }

    fn has_place(&mut self) -> bool {
        let bound = self.broker.core.limits.subscriptions;
        if self.subscriptions.len() + self.patterns.len() + self.caller.assigned.len() >= bound {
            self.subscriptions.retain(|_, state| state.is_in());
        }
        self.subscriptions.len() + self.patterns.len() + self.caller.assigned.len() < bound
    }

    fn has_no_place(&self) -> Failure {
        let text = format!("a session may have {} subscriptions", self.broker.core.limits.subscriptions);
        Failure::new(ErrorCode::TooMany, text)
    }

    fn unsubscribe(&mut self, names: &[Cow<'_, str>], responder: Responder) {
        let wanted = |name: &Cow<'_, str>| match pattern(name) {
            Some(pattern) => Ok(Target::Pattern(pattern)),
            None => parse_topic(name).map(Target::Topic),
        };
        let all: Vec<Target> = match names.iter().map(wanted).collect() {
            Ok(all) => all,
            Err(failure) => return responder.fail(failure),
        };
        let parts = responder.split(names.iter().map(|name| Arc::from(&**name)), unsubscribed_all);
        for (wanted, part) in all.into_iter().zip(parts) {
            match wanted {
                Target::Topic(topic) => match self.subscriptions.remove(&topic).filter(|state| state.is_in()) {
                    Some(_) => self.broker.unsubscribe(&self.caller, &topic, part),
                    None if self.caller.assigned.remove(&topic) => self.broker.unsubscribe(&self.caller, &topic, part),
                    None => part.ok(Reply::Unsubscribed),
                },
                Target::Pattern(pattern) => {
                    if self.patterns.remove(&pattern).is_some() {
                        self.broker.core.hub.deselect(self.caller.key, &pattern);
                    }
                    part.ok(Reply::Unsubscribed);
                }
            }
        }
    }

    fn publish(&mut self, publish: Publish<'_>, responder: Responder) {
        let Publish { topic, payload, key, echo } = publish;
        match parse_topic(&topic) {
            Ok(topic) => {
                let request = PublishRequest { topic: &topic, payload, key: key.as_deref(), echo };
                self.published = self.broker.accept(Caller::Session(&self.caller), request, responder);
            }
            Err(failure) => responder.fail(failure),
        }
    }

    fn call(&mut self, call: Call<'_>, responder: Responder) {
        let Call { topic, plugin, method, payload, key } = call;
        let key = key.as_deref();
        let target = check_key(key).and_then(|()| match (topic, plugin) {
            (Some(topic), _) => parse_topic(&topic).map(CallTarget::Topic),
            (None, plugin) => Ok(CallTarget::Plugin(plugin.unwrap_or_default().into_owned())),
        });
        match target {
            Ok(target) => {
                let call = PluginCall { target, method: method.into_owned(), payload, key };
                self.broker.accept_call(Caller::Session(&self.caller), call, responder);
            }
            Err(failure) => responder.fail(failure),
        }
    }

    fn presence(&self, topic: &str, responder: Responder) {
        let caller = Caller::Session(&self.caller);
        let read = |topic| self.broker.presence_as(caller, self.is_admitted(&topic), &topic);
        match parse_topic(topic).and_then(read) {
            Ok(present) => responder.ok(Reply::Present(present)),
            Err(failure) => responder.fail(failure),
        }
    }

    fn history(&self, history: &History<'_>, responder: Responder) {
        let History { topic, from, limit } = history;
        let caller = Caller::Session(&self.caller);
        let read = |topic| self.broker.history_as(caller, self.is_admitted(&topic), &topic, from.clone(), *limit);
        match parse_topic(topic).and_then(read) {
            Ok(past) => responder.ok(Reply::Past(past)),
            Err(failure) => responder.fail(failure),
        }
    }

    /// Whether it is subscribed to a topic, and the plugin that owns the topic has admitted it.
    fn is_admitted(&self, topic: &Topic) -> bool {
        let is_subscribed = self.subscriptions.get(topic).is_some_and(|state| state.is_subscribed());
        let has_admitted = || {
            let logic = self.broker.logic_of(topic);
            logic.is_some_and(|logic| logic.has_admitted(topic, &self.caller.member.session))
        };
        (is_subscribed || self.caller.assigned.has(topic)) && has_admitted()
    }

    fn responder(&self, id: Option<u64>) -> Responder {
        Responder::session(self.broker.core.hub.clone(), self.caller.key, id, self.in_flight.enter())
    }

    /// An answer that may be so large that nothing more is read until it is in the outbox: many that were asked for at once would
    /// be in memory together, whether the client reads them or not.
    fn large_responder(&self, id: Option<u64>) -> Responder {
        let in_flight = self.in_flight.enter_as(self.broker.core.limits.requests_in_flight);
        Responder::session(self.broker.core.hub.clone(), self.caller.key, id, in_flight)
    }
}

/// What a session no longer wants.
enum Target {
    Topic(Topic),
    Pattern(Pattern),
}

/// The pattern that a client named, unless it is a topic or neither.
fn pattern(name: &str) -> Option<Pattern> {
    Pattern::parse(name).ok().filter(|pattern| !pattern.is_exact())
}

/// Refuses what a subscription to a pattern cannot have: it selects topics that differ in what they keep.
fn only_live(request: &Subscribe<'_>) -> Result<(), Failure> {
    let text = match request {
        Subscribe { since: Some(_), .. } => "a pattern has no position to go on \"since\"",
        Subscribe { last: Some(_), .. } => "a pattern has no \"last\" messages",
        Subscribe { presence: true, .. } => "a pattern has no presence",
        Subscribe { delivery: Some(delivery), .. } if *delivery != Delivery::Queue => {
            "the delivery policy of a pattern is \"queue\""
        }
        _ => return Ok(()),
    };
    Err(Failure::new(ErrorCode::BadRequest, text))
}

fn subscribed_all(parts: Vec<Part>) -> RequestResult {
    let outcome = |(topic, outcome)| match outcome {
        Ok(Reply::Subscribed(subscribed)) => Ok(subscribed),
        Ok(_) => Err((topic, Failure::new(ErrorCode::Internal, "not the answer to a subscription"))),
        Err(failure) => Err((topic, failure)),
    };
    Ok(Reply::SubscribedAll(parts.into_iter().map(outcome).collect()))
}

/// The first failure, if there is one.
fn unsubscribed_all(parts: Vec<Part>) -> RequestResult {
    parts.into_iter().map(|(_, outcome)| outcome).find(Result::is_err).unwrap_or(Ok(Reply::Unsubscribed))
}
