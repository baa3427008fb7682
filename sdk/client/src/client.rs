//! The handle to a client: requests, subscriptions, events.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rialto_protocol::{Operation, Payload};
use serde::Serialize;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::builder::Builder;
use crate::command::Command;
use crate::event::{Event, Item};
use crate::machine::{Reply, Retry, StreamId};
use crate::random::Keys;
use crate::request::{Call, History, Ping, Presence, Publish, Sent};
use crate::subscription::Subscription;
use crate::topic::Topic;
use crate::{Ending, Error};

/// A connection to a broker that comes back by itself. Cheap to clone; all clones are one session.
///
/// It lives until [`Client::close`], or until the last clone and the last [`Subscription`] are dropped.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

/// What all handles have in common.
pub(crate) struct Shared {
    commands: mpsc::UnboundedSender<Command>,
    events: broadcast::Sender<Event>,
    places: Arc<Semaphore>,
    keys: Mutex<Keys>,
    ending: Arc<OnceLock<Ending>>,
    within: Duration,
    queue: usize,
    next_stream: AtomicU64,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "it only holds them together")]
    pub(crate) fn new(
        commands: mpsc::UnboundedSender<Command>,
        events: broadcast::Sender<Event>,
        places: Arc<Semaphore>,
        keys: Keys,
        ending: Arc<OnceLock<Ending>>,
        within: Duration,
        queue: usize,
        task: JoinHandle<()>,
    ) -> Self {
        let (keys, task, next_stream) = (Mutex::new(keys), Mutex::new(Some(task)), AtomicU64::new(1));
        Self { commands, events, places, keys, ending, within, queue, next_stream, task }
    }

    /// The error of a client that has ended.
    pub(crate) fn closed(&self) -> Error {
        let ending = self.ending.get().cloned().unwrap_or(Ending::Asked);
        Error::Closed { ending, may_have_acted: false }
    }

    pub(crate) fn command(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).map_err(|_| self.closed())
    }
}

impl Client {
    /// Sets up a client for a broker at a `ws://` or `wss://` address; `/ws` is added where it has no path.
    pub fn builder(address: &str) -> Builder {
        Builder::new(address)
    }

    /// Connects with the default settings.
    ///
    /// # Errors
    /// See [`Builder::connect`].
    pub async fn connect(address: &str) -> Result<Self, Error> {
        Self::builder(address).connect().await
    }

    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Publishes anything that serde writes as JSON. Await it, or send it and await the answer later.
    ///
    /// ```no_run
    /// # async fn example(client: &rialto_client::Client) -> Result<(), rialto_client::Error> {
    /// let published = client.publish("chat.lobby", &"hello").await?;
    /// println!("{:?}", published.position);
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish(&self, topic: impl Into<String>, data: &(impl Serialize + ?Sized)) -> Publish {
        Publish::new(self, topic.into(), Payload::json(data))
    }

    /// Publishes opaque bytes.
    pub fn publish_bytes(&self, topic: impl Into<String>, bytes: impl Into<Bytes>) -> Publish {
        Publish::new(self, topic.into(), Ok(Payload::bytes(bytes)))
    }

    /// Publishes a payload as it is, such as one that was received, or JSON that is text already.
    pub fn publish_payload(&self, topic: impl Into<String>, payload: Payload) -> Publish {
        Publish::new(self, topic.into(), Ok(payload))
    }

    /// Asks the plugin behind a topic.
    pub fn call(&self, topic: impl Into<String>, method: impl Into<String>) -> Call {
        Call::new(self, Some(topic.into()), None, method.into())
    }

    /// Asks a plugin by its name.
    pub fn call_plugin(&self, plugin: impl Into<String>, method: impl Into<String>) -> Call {
        Call::new(self, None, Some(plugin.into()), method.into())
    }

    /// Reads a topic's past without subscribing.
    pub fn history(&self, topic: impl Into<String>) -> History {
        History::new(self, topic.into())
    }

    /// Asks who is present in a topic.
    pub fn presence(&self, topic: impl Into<String>) -> Presence {
        Presence::new(self, topic.into())
    }

    /// Asks the broker for its time, and measures how long that takes.
    pub fn ping(&self) -> Ping {
        Ping::new(self)
    }

    /// Subscribes to a topic or pattern.
    ///
    /// # Errors
    /// [`Error::Refused`] when the broker refuses it, [`Error::Subscribed`] when this client has it already,
    /// [`Error::TimedOut`] without an answer in time, [`Error::Closed`].
    pub async fn subscribe(&self, topic: impl Into<Topic>) -> Result<Subscription, Error> {
        let mut subscription = self.subscribe_all([topic.into()]).await?;
        match subscription.refused.pop() {
            Some((_, failure)) => Err(Error::Refused(failure)),
            None => Ok(subscription),
        }
    }

    /// Subscribes to many topics and patterns at once, with one queue for all of them. Those that the broker refuses are in
    /// [`Subscription::refused`].
    ///
    /// # Errors
    /// As [`Client::subscribe`], but for refusals.
    pub async fn subscribe_all<T: Into<Topic>>(
        &self,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<Subscription, Error> {
        let wanted: Vec<Topic> = topics.into_iter().map(Into::into).collect();
        let stream = StreamId(self.shared.next_stream.fetch_add(1, Ordering::Relaxed));
        let (queue, items) = mpsc::channel::<Item>(self.shared.queue);
        let (reply, answer) = oneshot::channel();
        let within = self.shared.within;
        // From here on a caller that gives up waiting unsubscribes.
        let mut subscription = Subscription::new(self.clone(), stream, items);
        self.shared.command(Command::Subscribe { stream, wanted, within, queue, reply })?;
        match answer.await.map_err(|_| self.shared.closed())?? {
            Reply::Subscribed(outcomes) => subscription.begin(outcomes),
            other => unreachable!("a subscription was asked for, and {other:?} answered"),
        }
        Ok(subscription)
    }

    /// What happens to the connection, from now on. A reader that is too slow misses the oldest.
    #[must_use]
    pub fn events(&self) -> Events {
        Events { receiver: self.shared.events.subscribe(), ending: Arc::clone(&self.shared.ending), is_over: false }
    }

    /// Why the client has ended, if it has.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.shared.ending.get().cloned()
    }

    /// Waits until the client has ended, and returns why.
    pub async fn closed(&self) -> Ending {
        self.shared.commands.closed().await;
        self.ending().unwrap_or(Ending::Asked)
    }

    /// Ends the session and the client. Requests without an answer fail, subscriptions end.
    pub async fn close(&self) {
        // It may have ended already.
        let _ = self.shared.command(Command::Close);
        let task = self.shared.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        match task {
            // It fails only by a bug of this client, which was reported on standard error.
            Some(task) => drop(task.await),
            None => self.shared.commands.closed().await,
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn within(&self) -> Duration {
        self.shared.within
    }

    pub(crate) fn new_key(&self) -> String {
        self.shared.keys.lock().unwrap_or_else(PoisonError::into_inner).make()
    }

    /// Hands a request to the driver, once it has a place among those without an answer.
    pub(crate) async fn ask<T>(
        &self,
        operation: Operation<'static>,
        within: Duration,
        retry: Retry,
        read: fn(Reply) -> Option<T>,
    ) -> Result<Sent<T>, Error> {
        let deadline = Instant::now() + within;
        let place = timeout_at(deadline, Arc::clone(&self.shared.places).acquire_owned()).await;
        let place = place.map_err(|_| Error::TimedOut { within, may_have_acted: false })?;
        let place = place.map_err(|_| self.shared.closed())?;
        let within = deadline.saturating_duration_since(Instant::now());
        let (reply, answer) = oneshot::channel();
        self.shared.command(Command::Request { operation, within, retry, reply, place })?;
        Ok(Sent::new(answer, Arc::clone(&self.shared), read))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("ending", &self.ending()).finish_non_exhaustive()
    }
}

/// What happens to a connection; from [`Client::events`].
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
    ending: Arc<OnceLock<Ending>>,
    is_over: bool,
}

impl Events {
    /// The next event; none after [`Event::Closed`].
    pub async fn next(&mut self) -> Option<Event> {
        while !self.is_over {
            if self.receiver.is_empty()
                && let Some(ending) = self.ending.get()
            {
                // It may have ended before anyone listened.
                self.is_over = true;
                return Some(Event::Closed(ending.clone()));
            }
            match self.receiver.recv().await {
                Ok(event) => {
                    self.is_over = matches!(event, Event::Closed(_));
                    return Some(event);
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => self.is_over = true,
            }
        }
        None
    }
}
