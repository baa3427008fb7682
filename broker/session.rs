//! A session: turns the requests of one client into operations of the broker, and checks their form. It knows no socket and no
//! transport.

mod authentication;
mod authorization;
#[cfg(test)]
mod late_read_tests;
mod lists;
mod rates;
mod waiting;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use rialto_protocol::{
    Call, Codec, Delivery, ErrorCode, Failure, Frame, History, Member, Operation, Publish, Reply, Request,
};
use rialto_protocol::{Subscribe, Welcome};

use self::authentication::{Extras, token_required};
use self::lists::{List, SLICE_WORK};
use self::rates::rate_limited;
use crate::auth::identity::Identity;
use crate::broker::{
    Broker, CallTarget, PluginCall, PublishRequest, SubscribeOptions, SubscribeRequest, check_key, parse_topic,
};
use crate::collections::small_map::SmallMap;
use crate::hub::{InFlight, Push, SessionKey, What, work};
use crate::identity;
use crate::limits::seats::SessionPermit;
use crate::request::caller::{Caller, CallerSession};
use crate::request::responder::{Refusals, Responder, SubscriptionState};
use crate::topic::{Pattern, Topic};
use crate::topics::TopicEntry;
use crate::wire::websocket::websocket_frame;

/// Name and version of the server in `welcome`.
const SERVER: &str = concat!("rialto/", env!("CARGO_PKG_VERSION"));

/// How many turns of a busy shard a list of topics waits before it goes on all the same.
const WAITS_MAX: usize = 16;

/// What a `connect` has beside its token, in bytes, with room to spare.
const CONNECT_BYTES: usize = 1_024;

/// What is wrong with a frame beyond its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadFrame {
    /// It is not a request.
    NoRequest,
    /// The session goes on although very many of its requests were refused by a rate limit.
    Abuse,
}

/// One connected client.
pub(crate) struct Session {
    broker: Broker,
    caller: CallerSession,
    codec: Codec,
    /// The topics that the client has asked to subscribe to, including those that `refusals` has.
    subscriptions: SmallMap<Topic, Arc<SubscriptionState>>,
    /// The topics that were refused since the last subscribe.
    refusals: Arc<Refusals>,
    /// The patterns it is subscribed to.
    patterns: SmallMap<Pattern, ()>,
    in_flight: Arc<InFlight>,
    /// The topic it published to last: its subscribers' shards may need the publisher to wait.
    published: Option<Arc<TopicEntry>>,
    /// What is left of a list of topics. In a box, because most requests are about one.
    list: Option<Box<List>>,
    /// What only some sessions have.
    extras: Option<Box<Extras>>,
}

impl Session {
    pub(crate) fn new(broker: Broker, key: SessionKey, codec: Codec, permit: &SessionPermit) -> Self {
        let member = Member::anonymous(permit.session.clone().unwrap_or_else(identity::session_id));
        let mut caller = CallerSession::new(key, member, permit.network());
        if let Some(identity) = &permit.identity {
            caller.set_identity(Arc::clone(identity));
        }
        let (subscriptions, patterns, in_flight) = (SmallMap::default(), SmallMap::default(), Arc::default());
        let mut session = Self {
            broker,
            caller,
            codec,
            subscriptions,
            refusals: Arc::default(),
            patterns,
            in_flight,
            published: None,
            list: None,
            extras: None,
        };
        if session.broker.core.authorizer.is_some() && permit.address.is_some() {
            session.extras.get_or_insert_default().address = permit.address;
        }
        session.watch_times();
        session
    }

    /// The session as others see it.
    pub(crate) fn member(&self) -> &Member {
        &self.caller.member
    }

    /// How many of its requests per second may be invalid.
    pub(crate) fn bad_requests_per_s(&self) -> u32 {
        self.broker.core.config.load().limits.bad_requests_per_s
    }

    /// The first frame that the broker sends.
    pub(crate) fn welcome(&self) -> Bytes {
        let core = &self.broker.core;
        let welcome = Welcome {
            member: &self.caller.member,
            expires_at: self.caller.identity().and_then(Identity::expires_at_ms),
            server: SERVER,
            node: &core.node,
            ping_ms: core.config.load().limits.ping_ms,
            features: core.features,
            limits: self.broker.welcome_limits(&self.caller.holder()),
        };
        websocket_frame(self.codec, &Frame::Welcome(welcome))
    }

    /// Hop 2: carries out one request. The answer reaches the session through its shard, now or later.
    ///
    /// # Errors
    /// [`BadFrame`]; an error frame has been sent.
    pub(crate) fn handle(&mut self, frame: &[u8]) -> Result<(), BadFrame> {
        // Requests take effect in their order, also if the caller did not wait until the session was ready.
        while self.go_on() {}
        work::add(1);
        match Request::decode(self.codec, frame) {
            Ok(Request { id, operation }) => {
                if let Err(refusal) = self.take_rate(&operation) {
                    self.responder(id).fail(rate_limited(&refusal));
                    return if refusal.is_abuse { Err(BadFrame::Abuse) } else { Ok(()) };
                }
                if self.asks(&operation, frame) {
                    return Ok(());
                }
                self.carry_out(id, operation);
                // Topics of a list may have been refused one by one.
                if self.is_abusing() { Err(BadFrame::Abuse) } else { Ok(()) }
            }
            Err(error) => {
                self.responder(error.id).fail(Failure::new(error.code, error.message));
                Err(BadFrame::NoRequest)
            }
        }
    }

    fn carry_out(&mut self, id: Option<u64>, operation: Operation<'_>) {
        if self.is_unauthenticated() && !matches!(operation, Operation::Connect(_) | Operation::Ping(_)) {
            return self.responder(id).fail(token_required());
        }
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
        let requests_max = core.config.load().limits.requests_in_flight;
        self.list.is_none() && !self.is_waiting() && readers_have_room && self.in_flight.is_below(requests_max)
    }

    /// Carries out what is left of a list, in turn with other sessions, and waits until fewer requests than `requests_in_flight`
    /// are under way and the subscribers' shards of what it published have room. Meanwhile its socket is not read.
    pub(crate) async fn ready(&mut self) {
        self.waited().await;
        let mut waited = 0;
        while self.list.is_some() {
            // Each time the shard has a turn.
            if waited == WAITS_MAX || !self.broker.core.hub.is_busy(self.caller.key) {
                waited = 0;
                self.go_on();
            }
            waited += 1;
            tokio::task::yield_now().await;
        }
        self.in_flight.below(self.broker.core.config.load().limits.requests_in_flight).await;
        if let Some(entry) = self.published.take() {
            self.broker.core.hub.room(&entry.reach).await;
        }
    }

    fn subscribe(&mut self, mut requests: Vec<Subscribe<'_>>, responder: Responder) {
        if requests.len() == 1
            && let Some(request) = requests.pop()
        {
            return self.subscribe_one(request, responder);
        }
        // A long one has been work enough to decode.
        let is_short = requests.len() <= SLICE_WORK;
        self.list = Some(Box::new(List::subscribe(requests, responder)));
        if is_short {
            self.go_on();
        }
    }

    fn subscribe_one(&mut self, request: Subscribe<'_>, responder: Responder) {
        let request = self.subscribe_request(request, responder);
        if let Some(pending) = request.and_then(|request| self.broker.begin_subscribe(&self.caller, request)) {
            pending.then(Vec::new());
        }
    }

    /// What the broker is asked for; none for a request that is answered already.
    fn subscribe_request(&mut self, request: Subscribe<'_>, responder: Responder) -> Option<SubscribeRequest> {
        if let Some(pattern) = pattern(&request.topic) {
            self.subscribe_pattern(&request, pattern, responder);
            return None;
        }
        let topic = match parse_topic(&request.topic) {
            Ok(topic) => topic,
            Err(failure) => {
                responder.fail(failure);
                return None;
            }
        };
        let taken = self.take_subscribe_rate(&topic);
        if let Some(failure) = taken.err().or_else(|| self.denial(topic.as_str())) {
            responder.fail(failure);
            return None;
        }
        self.forget_refused();
        let state = match self.subscriptions.get(&topic).cloned() {
            Some(state) => state,
            None if self.has_room() => self.add(&topic),
            None => {
                responder.fail(self.too_many_subscriptions());
                return None;
            }
        };
        let Subscribe { since, last, delivery, presence, .. } = request;
        let past_withheld = self.is_past_withheld(&topic);
        let options =
            SubscribeOptions { since, last, past_withheld, delivery, presence, ..SubscribeOptions::default() };
        let responder = responder.telling(&state, &topic, &self.refusals);
        Some(SubscribeRequest { topic, options, responder })
    }

    /// Subscribes to a pattern.
    fn subscribe_pattern(&mut self, request: &Subscribe<'_>, pattern: Pattern, responder: Responder) {
        if let Err(failure) = only_live(request) {
            return responder.fail(failure);
        }
        let taken = self.take_pattern_rate(&pattern);
        if let Some(failure) = taken.err().or_else(|| self.denial(pattern.as_str())) {
            return responder.fail(failure);
        }
        self.forget_refused();
        let is_new = self.patterns.get(&pattern).is_none();
        if is_new && !self.has_room() {
            return responder.fail(self.too_many_subscriptions());
        }
        let scoped = if is_new { self.scopes(&pattern) } else { self.scoped(&pattern) };
        if self.broker.subscribe_pattern(&self.caller, &pattern, &scoped, responder) && is_new {
            self.set_scoped(&pattern, scoped);
            self.patterns.add(pattern, ());
        }
    }

    fn add(&mut self, topic: &Topic) -> Arc<SubscriptionState> {
        // Subscribers of a topic in memory share the text of its name.
        let in_memory = self.broker.core.topics.peek(topic);
        let topic = in_memory.as_ref().map_or(topic, |entry| entry.stream.topic());
        let state = Arc::default();
        self.subscriptions.add(topic.clone(), Arc::clone(&state));
        state
    }

    fn has_room(&self) -> bool {
        let held = self.subscriptions.len() + self.patterns.len() + self.caller.assigned.len();
        held < self.broker.core.config.load().limits.subscriptions
    }

    /// Forgets topics to which it is not subscribed after all.
    fn forget_refused(&mut self) {
        for topic in self.refusals.take() {
            if self.subscriptions.get(&topic).is_some_and(|state| !state.is_in()) {
                self.subscriptions.remove(&topic);
            }
        }
    }

    fn too_many_subscriptions(&self) -> Failure {
        let text = format!("a session may have {} subscriptions", self.broker.core.config.load().limits.subscriptions);
        Failure::new(ErrorCode::TooMany, text)
    }

    fn unsubscribe(&mut self, names: &[Cow<'_, str>], responder: Responder) {
        match List::unsubscribe(names, responder) {
            Ok(list) => {
                self.list = Some(Box::new(list));
                self.go_on();
            }
            Err(refused) => refused.0.fail(refused.1),
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
        match parse_topic(topic) {
            Ok(topic) => {
                let admitted = self.is_admitted(&topic);
                self.broker.accept_history(caller, admitted, &topic, from.clone(), *limit, responder);
            }
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

    /// For an answer that may be large: it counts as all requests that the session may have in flight, so that nothing more is read
    /// until it is in the outbox. Many such answers would otherwise be in memory together, whether the client reads them or not.
    fn large_responder(&self, id: Option<u64>) -> Responder {
        let in_flight = self.in_flight.enter_as(self.broker.core.config.load().limits.requests_in_flight);
        Responder::session(self.broker.core.hub.clone(), self.caller.key, id, in_flight)
    }
}

/// The pattern of this name; none for a topic, and for a name that is neither.
fn pattern(name: &str) -> Option<Pattern> {
    Pattern::parse(name).ok().filter(|pattern| !pattern.is_exact())
}

/// Refuses the options that a subscription by pattern cannot have, because the topics it selects differ in what they keep.
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
