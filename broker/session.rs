//! A session: what one client may ask and in what shape. It knows neither socket nor transport.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use rialto_protocol::{
    Call, Codec, Connect, Delivery, ErrorCode, Failure, Frame, History, Member, Operation, Publish, Reply, Request,
};
use rialto_protocol::{Subscribe, Subscribed, Welcome};

use crate::broker::{Asked, Broker, Question, Wish, keyed, parse_topic};
use crate::collections::small_map::SmallMap;
use crate::config::Limits;
use crate::hub::{Push, SessionKey, TooManyPatterns, Traffic, What};
use crate::identity;
use crate::message::websocket_frame;
use crate::request::caller::Client;
use crate::request::responder::{Answer, Outcome, Part, Standing};
use crate::store::Digest;
use crate::topic::{Pattern, Topic};
use crate::topics::Entry;

/// Name and version as `welcome` tells them.
const SERVER: &str = concat!("rialto/", env!("CARGO_PKG_VERSION"));

/// A frame that is no request.
#[derive(Debug)]
pub(crate) struct NoRequest;

/// One connected client.
pub(crate) struct Session {
    broker: Broker,
    client: Client,
    codec: Codec,
    /// The topics asked for, those included whose subscription was refused since.
    subscriptions: SmallMap<Topic, Arc<Standing>>,
    /// The patterns it is subscribed to.
    patterns: SmallMap<Pattern, ()>,
    traffic: Arc<Traffic>,
    /// The topic published to last, whose readers may need the publisher to wait.
    published: Option<Arc<Entry>>,
}

impl Session {
    pub(crate) fn new(broker: Broker, key: SessionKey, codec: Codec, user: Option<Arc<str>>) -> Self {
        let member = Member { session: identity::session_id(), user };
        let (subscriptions, patterns, traffic) = (SmallMap::default(), SmallMap::default(), Arc::default());
        Self { broker, client: Client::new(key, member), codec, subscriptions, patterns, traffic, published: None }
    }

    /// Who it is.
    pub(crate) fn member(&self) -> &Member {
        &self.client.member
    }

    /// The limits it is held to.
    pub(crate) fn limits(&self) -> &Limits {
        &self.broker.core.limits
    }

    /// The frame with which the broker speaks first.
    pub(crate) fn welcome(&self) -> Bytes {
        let core = &self.broker.core;
        let welcome = Welcome {
            member: &self.client.member,
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
                self.answer(error.id).fail(Failure::new(error.code, error.message));
                Err(NoRequest)
            }
        }
    }

    fn carry_out(&mut self, id: Option<u64>, operation: Operation<'_>) {
        match operation {
            Operation::Connect(connect) => self.connect(&connect, self.answer(id)),
            Operation::Subscribe(requests) => self.subscribe(requests, self.answer(id)),
            Operation::Unsubscribe(topics) => self.unsubscribe(&topics, self.answer(id)),
            Operation::Publish(publish) => self.publish(publish, self.answer(id)),
            Operation::Call(call) => self.call(call, self.answer(id)),
            Operation::History(history) => self.history(&history, self.large_answer(id)),
            Operation::Presence(topic) => self.presence(&topic, self.answer(id)),
            Operation::Ping(payload) => {
                let time_ms = self.broker.core.clock.unix_ms();
                let what = What::Pong { id, payload, time_ms };
                self.broker.core.hub.push(self.client.key, Push { what, under_way: Some(self.traffic.enter()) });
            }
        }
    }

    /// Whether [`Session::ready`] would return at once.
    pub(crate) fn is_ready(&self) -> bool {
        let core = &self.broker.core;
        let has_room = |entry: &Arc<Entry>| core.hub.has_room(&entry.reach);
        let readers_have_room = self.published.as_ref().is_none_or(has_room);
        readers_have_room && self.traffic.is_below(core.limits.requests_in_flight)
    }

    /// Waits until the session may go on: few enough of its requests are under way, and the readers of what it published
    /// have room. While it waits, its socket is not read.
    pub(crate) async fn ready(&mut self) {
        self.traffic.below(self.broker.core.limits.requests_in_flight).await;
        if let Some(entry) = self.published.take() {
            self.broker.core.hub.room(&entry.reach).await;
        }
    }

    /// The client is gone: the plugins of its topics are told.
    pub(crate) fn end(&mut self) {
        for (topic, standing) in self.subscriptions.drain() {
            if standing.is_in() {
                self.broker.leave(&self.client, &topic);
            }
        }
        for topic in self.client.brought.end() {
            self.broker.leave(&self.client, &topic);
        }
    }

    fn connect(&self, connect: &Connect<'_>, answer: Answer) {
        if connect.token.is_some() {
            let text = "this broker is not set up to verify tokens";
            return answer.fail(Failure::new(ErrorCode::Unauthorized, text));
        }
        tracing::debug!(session = &*self.client.member.session, client = ?connect.client, "connect");
        answer.ok(Reply::Connected(self.client.member.clone()));
    }

    fn subscribe(&mut self, mut requests: Vec<Subscribe<'_>>, answer: Answer) {
        if requests.len() == 1
            && let Some(request) = requests.pop()
        {
            return self.subscribe_one(request, answer);
        }
        let parts = answer.split(requests.iter().map(|request| Arc::from(&*request.topic)), subscribed_all);
        for (request, part) in requests.into_iter().zip(parts) {
            self.subscribe_one(request, part);
        }
    }

    fn subscribe_one(&mut self, request: Subscribe<'_>, answer: Answer) {
        if let Some(pattern) = pattern(&request.topic) {
            return self.select(&request, pattern, answer);
        }
        let topic = match parse_topic(&request.topic) {
            Ok(topic) => topic,
            Err(failure) => return answer.fail(failure),
        };
        let standing = match self.subscriptions.get(&topic).cloned() {
            Some(standing) => standing,
            None if self.has_place() => self.add(&topic),
            None => return answer.fail(self.has_no_place()),
        };
        let Subscribe { since, last, delivery, presence, .. } = request;
        let wish = Wish { since, last, delivery, field: None, presence };
        self.broker.subscribe(&self.client, &topic, wish, answer.telling(&standing));
    }

    /// Subscribes to a pattern. No plugin is asked: the rules say which topics patterns select.
    fn select(&mut self, request: &Subscribe<'_>, pattern: Pattern, answer: Answer) {
        if let Err(failure) = only_live(request) {
            return answer.fail(failure);
        }
        let is_new = self.patterns.get(&pattern).is_none();
        if is_new && !self.has_place() {
            return answer.fail(self.has_no_place());
        }
        let mut answer = Some(answer);
        let selected = self.broker.core.hub.select(self.client.key, &pattern, || {
            if let Some(answer) = answer.take() {
                let (topic, none) = (pattern.as_str().into(), None);
                let subscribed = Subscribed { topic, position: None, recovered: none, more: none, present: None };
                answer.ok(Reply::Subscribed(subscribed));
            }
        });
        match selected {
            Ok(()) if is_new => self.patterns.add(pattern, ()),
            Ok(()) => {}
            Err(TooManyPatterns) => {
                let text = format!("the broker holds {} patterns already", self.broker.core.limits.patterns);
                let failure = Failure::new(ErrorCode::TooMany, text);
                answer.into_iter().for_each(|answer| answer.fail(failure.clone()));
            }
        }
    }

    fn add(&mut self, topic: &Topic) -> Arc<Standing> {
        // Where the topic is in memory, all its subscribers share its text.
        let known = self.broker.core.directory.peek(topic);
        let topic = known.as_ref().map_or(topic, |entry| entry.stream.topic());
        let standing = Arc::default();
        self.subscriptions.add(topic.clone(), Arc::clone(&standing));
        standing
    }

    fn has_place(&mut self) -> bool {
        let bound = self.broker.core.limits.subscriptions;
        if self.subscriptions.len() + self.patterns.len() + self.client.brought.len() >= bound {
            self.subscriptions.retain(|_, standing| standing.is_in());
        }
        self.subscriptions.len() + self.patterns.len() + self.client.brought.len() < bound
    }

    fn has_no_place(&self) -> Failure {
        let text = format!("a session may have {} subscriptions", self.broker.core.limits.subscriptions);
        Failure::new(ErrorCode::TooMany, text)
    }

    fn unsubscribe(&mut self, names: &[Cow<'_, str>], answer: Answer) {
        let wanted = |name: &Cow<'_, str>| match pattern(name) {
            Some(pattern) => Ok(Wanted::Pattern(pattern)),
            None => parse_topic(name).map(Wanted::Topic),
        };
        let all: Vec<Wanted> = match names.iter().map(wanted).collect() {
            Ok(all) => all,
            Err(failure) => return answer.fail(failure),
        };
        let parts = answer.split(names.iter().map(|name| Arc::from(&**name)), unsubscribed_all);
        for (wanted, part) in all.into_iter().zip(parts) {
            match wanted {
                Wanted::Topic(topic) => match self.subscriptions.remove(&topic).filter(|standing| standing.is_in()) {
                    Some(_) => self.broker.unsubscribe(&self.client, &topic, part),
                    None if self.client.brought.remove(&topic) => self.broker.unsubscribe(&self.client, &topic, part),
                    None => part.ok(Reply::Unsubscribed),
                },
                Wanted::Pattern(pattern) => {
                    if self.patterns.remove(&pattern).is_some() {
                        self.broker.core.hub.deselect(self.client.key, &pattern);
                    }
                    part.ok(Reply::Unsubscribed);
                }
            }
        }
    }

    fn publish(&mut self, publish: Publish<'_>, answer: Answer) {
        let Publish { topic, payload, key, echo } = publish;
        let member = &self.client.member;
        let keyed = keyed(key.as_deref(), Some(member), || Digest::of(None, Some(&payload)));
        match parse_topic(&topic).and_then(|topic| Ok((topic, keyed?))) {
            Ok((topic, keyed)) => {
                let except = (!echo).then_some(self.client.key);
                self.published = self.broker.accept(Some(&self.client), except, &topic, payload, keyed, answer);
            }
            Err(failure) => answer.fail(failure),
        }
    }

    fn call(&mut self, call: Call<'_>, answer: Answer) {
        let Call { topic, plugin, method, payload, key } = call;
        let member = &self.client.member;
        let keyed = match keyed(key.as_deref(), Some(member), || Digest::of(Some(&method), payload.as_ref())) {
            Ok(keyed) => keyed,
            Err(failure) => return answer.fail(failure),
        };
        let asked = match (topic, plugin) {
            (Some(topic), _) => match parse_topic(&topic) {
                Ok(topic) => Asked::Topic(topic),
                Err(failure) => return answer.fail(failure),
            },
            (None, plugin) => Asked::Plugin(plugin.unwrap_or_default().into_owned()),
        };
        let question = Question { method: method.into_owned(), payload, keyed };
        self.broker.ask(Some(&self.client), asked, question, answer);
    }

    fn presence(&self, topic: &str, answer: Answer) {
        match self.check_insight(topic).and_then(|()| self.broker.presence(topic)) {
            Ok(present) => answer.ok(Reply::Present(present)),
            Err(failure) => answer.fail(failure),
        }
    }

    fn history(&self, history: &History<'_>, answer: Answer) {
        let History { topic, from, limit } = history;
        match self.check_insight(topic).and_then(|()| self.broker.history(topic, from.clone(), *limit)) {
            Ok(past) => answer.ok(Reply::Past(past)),
            Err(failure) => answer.fail(failure),
        }
    }

    /// Refuses to tell what is in a topic whose plugin has not let the session in: that would get around the plugin.
    fn check_insight(&self, name: &str) -> Result<(), Failure> {
        let topic = parse_topic(name)?;
        let Some(owner) = self.broker.core.directory.owner(&topic) else { return Ok(()) };
        let is_subscribed = self.subscriptions.get(&topic).is_some_and(|standing| standing.is_subscribed());
        let has_let_in = || {
            let owner = self.broker.core.owners.get(&owner);
            owner.is_some_and(|owner| owner.has_let_in(&topic, &self.client.member.session))
        };
        if (is_subscribed || self.client.brought.has(&topic)) && has_let_in() {
            return Ok(());
        }
        let text = "a plugin owns this topic; only who is subscribed to it may ask for that";
        Err(Failure::new(ErrorCode::Forbidden, text))
    }

    fn answer(&self, id: Option<u64>) -> Answer {
        Answer::session(self.broker.core.hub.clone(), self.client.key, id, self.traffic.enter())
    }

    /// An answer that may be so large that nothing more is read until it is in the outbox: many that were asked for at once would
    /// be in memory together, whether the client reads them or not.
    fn large_answer(&self, id: Option<u64>) -> Answer {
        let under_way = self.traffic.enter_as(self.broker.core.limits.requests_in_flight);
        Answer::session(self.broker.core.hub.clone(), self.client.key, id, under_way)
    }
}

/// What a session no longer wants.
enum Wanted {
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

fn subscribed_all(parts: Vec<Part>) -> Outcome {
    let outcome = |(topic, outcome)| match outcome {
        Ok(Reply::Subscribed(subscribed)) => Ok(subscribed),
        Ok(_) => Err((topic, Failure::new(ErrorCode::Internal, "not the answer to a subscription"))),
        Err(failure) => Err((topic, failure)),
    };
    Ok(Reply::SubscribedAll(parts.into_iter().map(outcome).collect()))
}

/// The first failure, if there is one.
fn unsubscribed_all(parts: Vec<Part>) -> Outcome {
    parts.into_iter().map(|(_, outcome)| outcome).find(Result::is_err).unwrap_or(Ok(Reply::Unsubscribed))
}
