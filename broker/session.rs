//! A session: what one client may ask and in what shape. It knows neither socket nor transport.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire};

use bytes::Bytes;
use rialto_protocol::{Call, Codec, Connect, ErrorCode, Failure, Frame, Member, Operation, Publish, Reply, Request};
use rialto_protocol::{Subscribe, Welcome};

use crate::answer::{Answer, Traffic};
use crate::broker::{Asked, Broker, Client, parse_topic};
use crate::directory::Entry;
use crate::hub::{Push, SessionKey};
use crate::identity;
use crate::message::websocket_frame;
use crate::topic::{Pattern, Topic};

/// Name and version as `welcome` tells them.
const SERVER: &str = concat!("rialto/", env!("CARGO_PKG_VERSION"));

/// One connected client.
pub(crate) struct Session {
    broker: Broker,
    client: Client,
    codec: Codec,
    /// The topics asked for. The flag is set when a subscription was refused after all.
    subscriptions: HashMap<Topic, Arc<AtomicBool>>,
    traffic: Arc<Traffic>,
    /// The topic published to last, whose readers may need the publisher to wait.
    published: Option<Arc<Entry>>,
}

impl Session {
    pub(crate) fn new(broker: Broker, key: SessionKey, codec: Codec) -> Self {
        let member = Member { session: identity::session_id(), user: None };
        let (subscriptions, traffic) = (HashMap::new(), Arc::default());
        Self { broker, client: Client { key, member }, codec, subscriptions, traffic, published: None }
    }

    /// The frame with which the broker speaks first.
    pub(crate) fn welcome(&self) -> Bytes {
        let core = &self.broker.core;
        let welcome = Welcome {
            member: &self.client.member,
            server: SERVER,
            node: &core.node,
            ping_ms: core.limits.ping_ms,
            features: &["plugins"],
            limits: self.broker.told_limits(),
        };
        websocket_frame(self.codec, &Frame::Welcome(welcome))
    }

    /// Hop 2: one request. Its answer reaches the session by way of its shard, now or later.
    pub(crate) fn handle(&mut self, frame: &[u8]) {
        let Request { id, operation } = match Request::decode(self.codec, frame) {
            Ok(request) => request,
            Err(error) => return self.answer(error.id).fail(Failure::new(error.code, error.message)),
        };
        match operation {
            Operation::Connect(connect) => self.connect(&connect, self.answer(id)),
            Operation::Subscribe(requests) => self.subscribe(requests, id),
            Operation::Unsubscribe(topics) => self.unsubscribe(&topics, id),
            Operation::Publish(publish) => self.publish(publish, self.answer(id)),
            Operation::Call(call) => self.call(call, self.answer(id)),
            Operation::History => self.answer(id).fail(unavailable("this broker keeps no history")),
            Operation::Presence => self.answer(id).fail(unavailable("this broker keeps no presence")),
            Operation::Ping(payload) => {
                let time_ms = self.broker.core.clock.unix_ms();
                self.broker.core.hub.push(self.client.key, Push::Pong { id, payload, time_ms });
            }
        }
    }

    /// Waits until the session may go on: its readers have room, and its plugins have answered enough of what it
    /// asked. While it waits, its socket is not read.
    pub(crate) async fn ready(&mut self) {
        let in_flight = self.broker.core.limits.calls_in_flight;
        if !self.traffic.is_below(in_flight) {
            self.traffic.below(in_flight).await;
        }
        if let Some(entry) = self.published.take()
            && !self.broker.core.hub.has_room(&entry.audience)
        {
            self.broker.core.hub.room(&entry.audience).await;
        }
    }

    /// The client is gone: the plugins of its topics are told.
    pub(crate) fn end(self) {
        for topic in self.subscriptions.keys() {
            self.broker.leave(&self.client, topic);
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

    fn subscribe(&mut self, mut requests: Vec<Subscribe<'_>>, id: Option<u64>) {
        let answer = self.answer(id);
        if requests.len() == 1
            && let Some(request) = requests.pop()
        {
            return self.subscribe_one(request, answer);
        }
        let parts = answer.split(requests.iter().map(|request| Arc::from(&*request.topic)));
        for (request, part) in requests.into_iter().zip(parts) {
            self.subscribe_one(request, part);
        }
    }

    fn subscribe_one(&mut self, request: Subscribe<'_>, answer: Answer) {
        let topic = match self.subscribable(&request) {
            Ok(topic) => topic,
            Err(failure) => return answer.fail(failure),
        };
        if !self.subscriptions.contains_key(&topic) && !self.has_place() {
            let text = format!("a session may have {} subscriptions", self.broker.core.limits.subscriptions);
            return answer.fail(Failure::new(ErrorCode::TooMany, text));
        }
        let refused = Arc::new(AtomicBool::new(false));
        let answer = answer.refusing(Arc::clone(&refused)).under_way(self.traffic.enter());
        self.broker.subscribe(&self.client, &topic, request.since, answer);
        // A subscription that stands is not lost because a later request for the same topic was refused.
        if self.subscriptions.get(&topic).is_none_or(|earlier| earlier.load(Acquire)) {
            self.subscriptions.insert(topic, refused);
        }
    }

    /// The topic of a subscription whose options this broker offers.
    fn subscribable(&self, request: &Subscribe<'_>) -> Result<Topic, Failure> {
        if Pattern::parse(&request.topic).is_ok_and(|pattern| !pattern.is_exact()) {
            return Err(unavailable("this broker offers no subscriptions by pattern"));
        }
        if let Some(policy) = &request.delivery
            && policy != "queue"
        {
            return Err(match &**policy {
                "drop_oldest" | "latest" | "latest_by" | "sample" => {
                    unavailable("this broker offers no delivery policy but \"queue\"")
                }
                _ => Failure::new(ErrorCode::BadRequest, "field \"delivery\" names no delivery policy"),
            });
        }
        if request.presence {
            return Err(unavailable("this broker keeps no presence"));
        }
        parse_topic(&request.topic)
    }

    fn has_place(&mut self) -> bool {
        let bound = self.broker.core.limits.subscriptions;
        if self.subscriptions.len() >= bound {
            self.subscriptions.retain(|_, refused| !refused.load(Acquire));
        }
        self.subscriptions.len() < bound
    }

    fn unsubscribe(&mut self, names: &[Cow<'_, str>], id: Option<u64>) {
        let topics: Result<Vec<Topic>, Failure> = names.iter().map(|name| parse_topic(name)).collect();
        let topics = match topics {
            Ok(topics) => topics,
            Err(failure) => return self.answer(id).fail(failure),
        };
        // The last topic carries the answer: what a session asks takes effect in order, so all are done by then.
        let last = topics.len().saturating_sub(1);
        for (place, topic) in topics.into_iter().enumerate() {
            let answer = self.answer(if place == last { id } else { None });
            match self.subscriptions.remove(&topic) {
                Some(_) => self.broker.unsubscribe(&self.client, &topic, answer.under_way(self.traffic.enter())),
                None => answer.ok(Reply::Done),
            }
        }
    }

    fn publish(&mut self, publish: Publish<'_>, answer: Answer) {
        let Publish { topic, payload, key, echo } = publish;
        if key.is_some() {
            return answer.fail(unavailable("this broker offers no idempotency keys"));
        }
        if !echo {
            return answer.fail(unavailable("this broker always echoes"));
        }
        match parse_topic(&topic) {
            Ok(topic) => {
                let answer = answer.under_way(self.traffic.enter());
                self.published = self.broker.accept(Some(&self.client.member), &topic, payload, answer);
            }
            Err(failure) => answer.fail(failure),
        }
    }

    fn call(&mut self, call: Call<'_>, answer: Answer) {
        let Call { topic, plugin, method, payload, key } = call;
        if key.is_some() {
            return answer.fail(unavailable("this broker offers no idempotency keys"));
        }
        let asked = match (topic, plugin) {
            (Some(topic), _) => match parse_topic(&topic) {
                Ok(topic) => Asked::Topic(topic),
                Err(failure) => return answer.fail(failure),
            },
            (None, plugin) => Asked::Plugin(plugin.unwrap_or_default().into_owned()),
        };
        let answer = answer.under_way(self.traffic.enter());
        self.broker.ask(Some(&self.client.member), asked, method.into_owned(), payload, answer);
    }

    fn answer(&self, id: Option<u64>) -> Answer {
        Answer::session(self.broker.core.hub.clone(), self.client.key, id)
    }
}

fn unavailable(message: &str) -> Failure {
    Failure::new(ErrorCode::Unavailable, message)
}
