//! Requests as a program makes them: each is set up, then sent or simply awaited.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rialto_protocol::value::ValueError;
use rialto_protocol::{Answered, HistoryFrom, Operation, Past, Payload, Position, Present, Published};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::Error;
use crate::client::{Client, Shared};
use crate::machine::{Reply, Retry};

/// What awaiting a request comes to.
type Awaiting<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// A request that has been handed over. Awaiting it returns the answer; dropping it leaves the request as it is, its outcome
/// unknown.
#[must_use = "the answer says whether it worked"]
pub struct Sent<T> {
    answer: oneshot::Receiver<Result<Reply, Error>>,
    shared: Arc<Shared>,
    read: fn(Reply) -> Option<T>,
}

impl<T> Sent<T> {
    pub(crate) fn new(
        answer: oneshot::Receiver<Result<Reply, Error>>,
        shared: Arc<Shared>,
        read: fn(Reply) -> Option<T>,
    ) -> Self {
        Self { answer, shared, read }
    }
}

impl<T> Future for Sent<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        let reply = answer.unwrap_or_else(|_| Err(self.shared.closed()));
        Poll::Ready(reply.map(|reply| (self.read)(reply).expect("an answer is read by what was asked")))
    }
}

impl<T> fmt::Debug for Sent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent").finish_non_exhaustive()
    }
}

/// How a request that changes something is kept from being done twice.
#[derive(Debug)]
enum Key {
    /// By a random key of the client's.
    Random,
    Given(String),
    /// By sending it once.
    Once,
}

impl Key {
    fn make(self, client: &Client) -> (Option<String>, Retry) {
        match self {
            Self::Random => (Some(client.new_key()), Retry::Allowed),
            Self::Given(key) => (Some(key), Retry::Allowed),
            Self::Once => (None, Retry::Forbidden),
        }
    }
}

/// A message to publish. Awaiting it publishes it and returns its position.
#[derive(Debug)]
#[must_use = "nothing is published before this is awaited or sent"]
pub struct Publish {
    client: Client,
    topic: String,
    payload: Result<Payload, ValueError>,
    key: Key,
    echo: bool,
    within: Duration,
}

impl Publish {
    pub(crate) fn new(client: &Client, topic: String, payload: Result<Payload, ValueError>) -> Self {
        let (client, within) = (client.clone(), client.within());
        Self { client, topic, payload, key: Key::Random, echo: true, within }
    }

    /// The idempotency key, 1 to 128 bytes, in place of a random one: two publishes with one key are one, even of two programs
    /// of one user.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Key::Given(key.into());
        self
    }

    /// Sends it once and without a key. When the connection is lost before the answer it fails with [`Error::Lost`].
    pub fn once(mut self) -> Self {
        self.key = Key::Once;
        self
    }

    /// Whether this client's own subscriptions get it, too; they do unless said otherwise.
    pub fn echo(mut self, echo: bool) -> Self {
        self.echo = echo;
        self
    }

    /// How long it may take.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Hands it over and returns the answer that is to come. Messages that are sent one after the other are published in this
    /// order.
    ///
    /// # Errors
    /// [`Error::Payload`], [`Error::TimedOut`] when too many requests are without an answer for too long, [`Error::Closed`].
    pub async fn send(self) -> Result<Sent<Published>, Error> {
        let Self { client, topic, payload, key, echo, within } = self;
        let payload = payload?;
        let (key, retry) = key.make(&client);
        let publish = rialto_protocol::Publish { topic: topic.into(), payload, key: key.map(Into::into), echo };
        let read = |reply| if let Reply::Published(published) = reply { Some(published) } else { None };
        client.ask(Operation::Publish(publish), within, retry, read).await
    }
}

/// A question to a plugin. Awaiting it asks.
#[derive(Debug)]
#[must_use = "nothing is asked before this is awaited or sent"]
pub struct Call {
    client: Client,
    topic: Option<String>,
    plugin: Option<String>,
    method: String,
    payload: Result<Option<Payload>, ValueError>,
    key: Key,
    within: Duration,
}

impl Call {
    pub(crate) fn new(client: &Client, topic: Option<String>, plugin: Option<String>, method: String) -> Self {
        let (client, within) = (client.clone(), client.within());
        Self { client, topic, plugin, method, payload: Ok(None), key: Key::Random, within }
    }

    /// What is asked with: anything that serde writes as JSON.
    pub fn data(mut self, data: &(impl Serialize + ?Sized)) -> Self {
        self.payload = Payload::json(data).map(Some);
        self
    }

    /// What is asked with: opaque bytes.
    pub fn bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        self.payload = Ok(Some(Payload::bytes(bytes)));
        self
    }

    /// What is asked with, as it is.
    pub fn payload(mut self, payload: Payload) -> Self {
        self.payload = Ok(Some(payload));
        self
    }

    /// As [`Publish::key`].
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Key::Given(key.into());
        self
    }

    /// As [`Publish::once`].
    pub fn once(mut self) -> Self {
        self.key = Key::Once;
        self
    }

    /// How long it may take.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// As [`Publish::send`].
    ///
    /// # Errors
    /// See [`Publish::send`].
    pub async fn send(self) -> Result<Sent<Answered>, Error> {
        let Self { client, topic, plugin, method, payload, key, within } = self;
        let payload = payload?;
        let (key, retry) = key.make(&client);
        let call = rialto_protocol::Call {
            topic: topic.map(Into::into),
            plugin: plugin.map(Into::into),
            method: method.into(),
            payload,
            key: key.map(Into::into),
        };
        let read = |reply| if let Reply::Answered(answered) = reply { Some(answered) } else { None };
        client.ask(Operation::Call(call), within, retry, read).await
    }
}

/// Past messages to read. Awaiting it reads them.
#[derive(Debug)]
#[must_use = "nothing is asked before this is awaited or sent"]
pub struct History {
    client: Client,
    topic: String,
    from: Option<HistoryFrom>,
    limit: Option<u64>,
    within: Duration,
}

impl History {
    pub(crate) fn new(client: &Client, topic: String) -> Self {
        Self { client: client.clone(), topic, from: None, limit: None, within: client.within() }
    }

    /// Those after a position, the oldest first, in place of the newest.
    pub fn since(mut self, position: Position) -> Self {
        self.from = Some(HistoryFrom::Since(position));
        self
    }

    /// The newest before a position.
    pub fn before(mut self, position: Position) -> Self {
        self.from = Some(HistoryFrom::Before(position));
        self
    }

    /// How many at most; 100 unless said otherwise, and never more than 300.
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// How long it may take.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// As [`Publish::send`].
    ///
    /// # Errors
    /// See [`Publish::send`].
    pub async fn send(self) -> Result<Sent<Past>, Error> {
        let Self { client, topic, from, limit, within } = self;
        let history = rialto_protocol::History { topic: topic.into(), from, limit };
        let read = |reply| if let Reply::Past(past) = reply { Some(past) } else { None };
        client.ask(Operation::History(history), within, Retry::Allowed, read).await
    }
}

/// A question who is present. Awaiting it asks.
#[derive(Debug)]
#[must_use = "nothing is asked before this is awaited or sent"]
pub struct Presence {
    client: Client,
    topic: String,
    within: Duration,
}

impl Presence {
    pub(crate) fn new(client: &Client, topic: String) -> Self {
        Self { client: client.clone(), topic, within: client.within() }
    }

    /// How long it may take.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// As [`Publish::send`].
    ///
    /// # Errors
    /// See [`Publish::send`].
    pub async fn send(self) -> Result<Sent<Present>, Error> {
        let Self { client, topic, within } = self;
        let read = |reply| if let Reply::Present(present) = reply { Some(present) } else { None };
        client.ask(Operation::Presence(topic.into()), within, Retry::Allowed, read).await
    }
}

/// A question for the broker's time. Awaiting it asks.
#[derive(Debug)]
#[must_use = "nothing is asked before this is awaited"]
pub struct Ping {
    client: Client,
    within: Duration,
}

/// The answer to a [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// The broker's time, Unix milliseconds.
    pub time: u64,
    /// How long it took there and back.
    pub round_trip: Duration,
}

impl Ping {
    pub(crate) fn new(client: &Client) -> Self {
        Self { client: client.clone(), within: client.within() }
    }

    /// How long it may take.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    async fn ask(self) -> Result<Pong, Error> {
        let started = Instant::now();
        let read = |reply| if let Reply::Pong(time) = reply { Some(time) } else { None };
        let time = self.client.ask(Operation::Ping(None), self.within, Retry::Allowed, read).await?.await?;
        Ok(Pong { time, round_trip: started.elapsed() })
    }
}

impl IntoFuture for Publish {
    type Output = Result<Published, Error>;
    type IntoFuture = Awaiting<Published>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.send().await?.await })
    }
}

impl IntoFuture for Call {
    type Output = Result<Answered, Error>;
    type IntoFuture = Awaiting<Answered>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.send().await?.await })
    }
}

impl IntoFuture for History {
    type Output = Result<Past, Error>;
    type IntoFuture = Awaiting<Past>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.send().await?.await })
    }
}

impl IntoFuture for Presence {
    type Output = Result<Present, Error>;
    type IntoFuture = Awaiting<Present>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.send().await?.await })
    }
}

impl IntoFuture for Ping {
    type Output = Result<Pong, Error>;
    type IntoFuture = Awaiting<Pong>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}
