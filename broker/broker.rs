//! The broker: joins topics, engine, hub and plugins. It knows sessions only by their keys, and no transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rialto_protocol::{Answered, CloseCode, Closing, Delivery, ErrorCode, Failure, Limits as Told, Member, Payload};
use rialto_protocol::{Policy, Position, Published, Reply, Subscribed};

use crate::answer::{Answer, Outcome};
use crate::clock::Clock;
use crate::config::{Limits, TopicOptions};
use crate::directory::{Directory, Entry};
use crate::engine::{Engine, Keyed, NotPublished, Retired, View};
use crate::guest::Seats;
use crate::hub::{FieldPlace, Hub, SessionKey, Subscription, TooManyFields};
use crate::message::Draft;
use crate::metrics::{Metrics, Snapshot};
use crate::owners::{Owner, Owners};
use crate::recovery::plan;
use crate::replay::{PAGE, Reading};
use crate::store::{Digest, Key, Span, Store};
use crate::topic::Topic;

/// What the broker's threads are given to end, even where sessions are given none.
const STOP_WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 128;

/// A running broker. Cheap to clone; all clones are the same broker.
///
/// Made by [`Broker::builder`](crate::Builder). It runs on threads of its own, so any runtime may call it.
#[derive(Clone, Debug)]
pub struct Broker {
    pub(crate) core: Arc<Core>,
}

/// A plugin that was loaded, as an operator wants to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PluginStatus {
    /// The plugin's name in the configuration.
    pub name: String,
    /// What the component calls itself.
    pub package: String,
    /// The component's version.
    pub version: String,
    /// SHA-256 of the component's file, in hexadecimal.
    pub hash: String,
    /// The size of the component's file.
    pub bytes: usize,
}

/// A topic in memory, as an operator wants to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStatus {
    /// Its last message.
    pub position: Position,
    /// Subscriptions of all sessions.
    pub subscribers: u64,
    /// Messages that subscribers did not get because of their delivery policy, by [`Policy::index`]: one message counts
    /// once for each of them.
    pub skipped: [u64; Policy::ALL.len()],
}

/// How a message is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishOptions {
    /// The idempotency key: 1 to 128 bytes.
    pub key: Option<String>,
}

impl PublishOptions {
    /// With this idempotency key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// What all handles share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) limits: Limits,
    pub(crate) hub: Hub,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    pub(crate) node: Arc<str>,
    pub(crate) engine: Engine,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) directory: Directory,
    pub(crate) owners: Owners,
    pub(crate) seats: Seats,
    pub(crate) next_shard: AtomicUsize,
}

impl Drop for Core {
    fn drop(&mut self) {
        // The last handle may be dropped on one of the broker's own threads, so nobody is waited for here.
        self.owners.signal_stop();
        self.hub.signal_stop();
    }
}

/// Who subscribes, publishes or calls.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) key: SessionKey,
    pub(crate) member: Member,
}

impl Broker {
    /// Publishes a message as the program that embeds the broker, and waits while the subscribers' shards have too
    /// much to do. If a plugin owns the topic, it decides first; it sees no session.
    ///
    /// The position is none when the plugin swallowed the message.
    ///
    /// # Errors
    /// `bad_request` for a name that is no topic, `not_found` where no rule is for it, and what the plugin says.
    pub async fn publish(&self, topic: &str, payload: Payload) -> Result<Option<Position>, Failure> {
        Ok(self.publish_with(topic, payload, PublishOptions::default()).await?.position)
    }

    /// The same with options. With a key, a message that was published before with this key and payload is not published
    /// again: its first position comes back as a duplicate.
    ///
    /// # Errors
    /// Those of [`Broker::publish`]; `bad_request` for a key that is empty or longer than 128 bytes, `key_reused` where it
    /// stands for another payload.
    pub async fn publish_with(
        &self,
        topic: &str,
        payload: Payload,
        options: PublishOptions,
    ) -> Result<Published, Failure> {
        let topic = parse_topic(topic)?;
        let keyed = keyed(options.key.as_deref(), None, || Digest::of(None, Some(&payload)))?;
        let (answer, outcome) = Answer::caller();
        let entry = self.accept(None, None, &topic, payload, keyed, answer);
        let reply = wait(outcome).await?;
        if let Some(entry) = entry {
            self.core.hub.room(&entry.reach).await;
        }
        match reply {
            Reply::Published(published) => Ok(published),
            _ => Err(Failure::new(ErrorCode::Internal, "not the answer to a publish")),
        }
    }

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
        let keyed = keyed(key, None, || Digest::of(Some(method), payload.as_ref()))?;
        let (answer, outcome) = Answer::caller();
        let question = Question { method: method.to_owned(), payload, keyed };
        self.ask(None, Asked::Topic(topic), question, answer);
        match wait(outcome).await? {
            Reply::Answered(answered) => Ok(answered),
            _ => Err(Failure::new(ErrorCode::Internal, "not the answer to a call")),
        }
    }

    /// The broker's numbers at this moment.
    pub fn metrics(&self) -> Snapshot {
        self.core.metrics.snapshot()
    }

    /// What is known of a topic; none if it is not in memory or no topic.
    pub fn topic(&self, topic: &str) -> Option<TopicStatus> {
        let entry = self.core.directory.peek(&Topic::parse(topic).ok()?)?;
        let mut position = None;
        // A stream that was retired meanwhile is as good as not there.
        entry.stream.join(|view| position = Some(view.position())).ok()?;
        let (subscribers, skipped) = (entry.reach.audience().subscribers(), entry.reach.audience().skipped());
        Some(TopicStatus { position: position?, subscribers, skipped })
    }

    /// The plugins that were loaded, by name.
    pub fn plugins(&self) -> Vec<PluginStatus> {
        self.core.owners.status()
    }

    /// How many threads own sessions.
    pub fn shards(&self) -> usize {
        self.core.hub.shards()
    }

    /// Ends all sessions with close code 1001 and a hint to reconnect, waits until they are gone or `deadline` has
    /// passed, and stops all threads. Must be called within a tokio runtime. Returns whether every session ended in time.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        self.core.hub.close_all(&Closing {
            code: CloseCode::GoingAway.number(),
            message: "the broker is stopping".to_owned(),
            retry_after_ms: Some(1_000),
        });
        let ended = tokio::time::timeout(deadline, async {
            while self.core.metrics.sessions.get() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let ended = ended.await.is_ok();
        // Threads are waited for aside, and not for ever: a hook may be in the middle of its time.
        let core = Arc::clone(&self.core);
        let stopped = tokio::task::spawn_blocking(move || {
            core.owners.stop();
            core.hub.stop();
        });
        if tokio::time::timeout(deadline.max(STOP_WAIT_MIN), stopped).await.is_err() {
            tracing::warn!("a plugin's hook is still running; its thread is left behind");
        }
        ended
    }

    /// Hop 3: a message on its way in. Where a plugin owns the topic its hook decides, else the message goes out. Gives
    /// the topic back, so that whoever publishes can wait for its readers. The session `except` is not sent the message.
    pub(crate) fn accept(
        &self,
        from: Option<&Member>,
        except: Option<SessionKey>,
        topic: &Topic,
        payload: Payload,
        keyed: Option<Keyed>,
        answer: Answer,
    ) -> Option<Arc<Entry>> {
        let entry = match self.core.directory.entry(topic, &self.core.engine) {
            Ok(entry) => entry,
            Err(failure) => {
                answer.fail(failure);
                return None;
            }
        };
        match self.owner(&entry) {
            Ok(None) => answer_published(answer, self.emit(&entry, from, except, payload, keyed)),
            Ok(Some(owner)) => owner.publish(self, &entry, (from.cloned(), except), payload, keyed, answer),
            Err(failure) => answer.fail(failure),
        }
        Some(entry)
    }

    /// Hands a message to the engine, which gives it its place, and to the shards of its subscribers.
    pub(crate) fn emit(
        &self,
        entry: &Arc<Entry>,
        from: Option<&Member>,
        except: Option<SessionKey>,
        payload: Payload,
        mut keyed: Option<Keyed>,
    ) -> Result<Published, Failure> {
        let from = from.filter(|_| entry.options.reveal_publisher).cloned();
        let mut draft = Draft { payload, from, except };
        let mut entry = Arc::clone(entry);
        loop {
            let now = self.core.clock.now();
            let hand_over = |message: &_| self.core.hub.deliver(&entry.reach, message);
            match self.core.engine.publish(&entry.stream, draft, keyed, now, hand_over) {
                Ok(published) => {
                    let metrics = &self.core.metrics;
                    if published.duplicate { &metrics.duplicates } else { &metrics.messages_published }.add(1);
                    return Ok(published);
                }
                Err(NotPublished::Retired(back)) => {
                    (draft, keyed) = *back;
                    entry = self.core.directory.entry(entry.stream.topic(), &self.core.engine)?;
                }
                Err(NotPublished::KeyReused) => return Err(key_reused()),
            }
        }
    }

    /// Subscribes a session, after asking the topic's plugin if there is one.
    pub(crate) fn subscribe(&self, client: &Client, topic: &Topic, mut wish: Wish, answer: Answer) {
        let entry = match self.core.directory.entry(topic, &self.core.engine) {
            Ok(entry) => entry,
            Err(failure) => return answer.fail(failure),
        };
        if let Err(failure) = self.choose(&entry, &mut wish) {
            return answer.fail(failure);
        }
        match self.owner(&entry) {
            Ok(None) => self.join(entry, client.key, wish, answer),
            Ok(Some(owner)) => owner.subscribe(self, entry, client, wish, answer),
            Err(failure) => answer.fail(failure),
        }
    }

    /// Settles the delivery policy of a subscription and reserves what it needs, before anybody else is asked.
    fn choose(&self, entry: &Entry, wish: &mut Wish) -> Result<(), Failure> {
        let TopicOptions { delivery: own, delivery_max, .. } = &*entry.options;
        let delivery = wish.delivery.get_or_insert_with(|| own.clone());
        let is_more = match (&*delivery, own) {
            (Delivery::Sample { every_ms }, Delivery::Sample { every_ms: least })
                if *delivery_max == Policy::Sample =>
            {
                every_ms < least
            }
            _ => delivery.policy() < *delivery_max,
        };
        if is_more {
            let most = if *delivery_max == Policy::Sample { own.to_string() } else { delivery_max.to_string() };
            let text = format!("of this topic a session may get \"{most}\" at most, not \"{delivery}\"");
            return Err(Failure::new(ErrorCode::Forbidden, text));
        }
        let fields_max = self.core.limits.conflation_fields;
        wish.field = entry.reach.audience().reserve(delivery, fields_max).map_err(|TooManyFields| {
            let text = format!("subscribers of one topic may ask for {fields_max} different fields");
            Failure::new(ErrorCode::TooMany, text)
        })?;
        Ok(())
    }

    /// Lets a session into a topic: its answer, what of the past it wants, then every message after that.
    pub(crate) fn join(&self, mut entry: Arc<Entry>, session: SessionKey, mut wish: Wish, answer: Answer) {
        let mut answer = Some(answer);
        while let Err(Retired) = entry.stream.join(|view| {
            if let Some(answer) = answer.take() {
                self.enter(&entry, view, session, &mut wish, answer);
            }
        }) {
            match self.core.directory.entry(entry.stream.topic(), &self.core.engine) {
                Ok(fresh) => {
                    entry = fresh;
                    let delivery = wish.delivery.get_or_insert_with(|| entry.options.delivery.clone());
                    // A topic that has just come back has no other subscribers whose fields could be too many.
                    wish.field = entry.reach.audience().reserve(delivery, usize::MAX).ok().flatten();
                }
                Err(failure) => return answer.into_iter().for_each(|answer| answer.fail(failure.clone())),
            }
        }
    }

    /// The same while nothing changes in the topic.
    fn enter(&self, entry: &Arc<Entry>, view: &View<'_>, session: SessionKey, wish: &mut Wish, answer: Answer) {
        let Wish { since, last, delivery, field } = std::mem::take(wish);
        let delivery = delivery.unwrap_or_else(|| entry.options.delivery.clone());
        let (topic, position): (Arc<str>, _) = (entry.stream.topic().as_str().into(), view.position());
        let mut subscribed = Subscribed { topic, position: None, recovered: None, more: None, present: None };
        let hub = &self.core.hub;
        entry.reach.enter(session.shard());
        let mut replay = None;
        if since.is_some() || last.is_some() {
            let now = self.core.clock.now();
            let kept = view.read(Span::After(position.offset), PAGE, now).first.unwrap_or(position.offset + 1);
            let plan = plan(since.as_ref(), last, &position, kept);
            subscribed.recovered = plan.recovered;
            subscribed.more = Some(plan.after.is_some_and(|after| view.read(Span::After(after), PAGE, now).more));
            self.count_recovery(plan.recovered);
            if plan.gap.is_some() || plan.after.is_some() {
                let after = plan.after.unwrap_or(position.offset);
                let reading = Reading::new(hub, self.core.clock, entry, session, after, plan.gap, delivery.clone());
                replay = Some(reading);
            }
        }
        subscribed.position = Some(position);
        match replay {
            None => {
                let (topic, audience) = (entry.stream.topic().clone(), Arc::clone(entry.reach.audience()));
                let stream = entry.stream.id();
                hub.subscribe(session, Subscription { stream, topic, delivery, field, audience, replay: None });
                answer.ok(Reply::Subscribed(subscribed));
            }
            Some(reading) => {
                let replay = reading.reserving(field).into_replay();
                let (hub, id) = (hub.clone(), replay.id);
                hub.replay(session, replay);
                answer.ok_then(Reply::Subscribed(subscribed), move || hub.release(session, id));
            }
        }
    }

    fn count_recovery(&self, recovered: Option<bool>) {
        match recovered {
            Some(true) => self.core.metrics.recoveries.add(1),
            Some(false) => self.core.metrics.recoveries_lost.add(1),
            None => {}
        }
    }

    /// Ends a subscription and tells the topic's plugin.
    pub(crate) fn unsubscribe(&self, client: &Client, topic: &Topic, answer: Answer) {
        match self.owner_of(topic) {
            Some(owner) => owner.unsubscribe(self, topic, client, Some(answer)),
            None => {
                self.release(client.key, topic);
                answer.ok(Reply::Unsubscribed);
            }
        }
    }

    /// Takes a session out of a topic. A topic that is not in memory has nobody in it.
    pub(crate) fn release(&self, session: SessionKey, topic: &Topic) {
        if let Some(entry) = self.core.directory.peek(topic) {
            self.core.hub.unsubscribe(session, entry.stream.id());
        }
    }

    /// A session has ended: the plugins of its topics are told. Its shard has ended the subscriptions already.
    pub(crate) fn leave(&self, client: &Client, topic: &Topic) {
        if let Some(owner) = self.owner_of(topic) {
            owner.unsubscribe(self, topic, client, None);
        }
    }

    /// The plugin that owns a topic. It is found without bringing the topic into memory, because endings must get through
    /// however full that is.
    fn owner_of(&self, topic: &Topic) -> Option<&Owner> {
        self.core.owners.get(&self.core.directory.owner(topic)?)
    }

    /// Asks a plugin.
    pub(crate) fn ask(&self, from: Option<&Member>, asked: Asked, question: Question, answer: Answer) {
        match self.asked(asked) {
            Ok((owner, entry)) => owner.call(self, from.cloned(), entry, question, answer),
            Err(failure) => answer.fail(failure),
        }
    }

    fn asked(&self, asked: Asked) -> Result<(&Owner, Option<Arc<Entry>>), Failure> {
        match asked {
            Asked::Topic(topic) => {
                let entry = self.core.directory.entry(&topic, &self.core.engine)?;
                match self.owner(&entry)? {
                    Some(owner) => Ok((owner, Some(entry))),
                    None => Err(Failure::new(ErrorCode::NotFound, format!("no plugin owns topic \"{topic}\""))),
                }
            }
            Asked::Plugin(name) => match self.core.owners.get(&name) {
                Some(owner) => Ok((owner, None)),
                None => Err(Failure::new(ErrorCode::NotFound, "no plugin has this name")),
            },
        }
    }

    fn owner(&self, entry: &Entry) -> Result<Option<&Owner>, Failure> {
        let Some(name) = &entry.options.plugin else { return Ok(None) };
        match self.core.owners.get(name) {
            Some(owner) => Ok(Some(owner)),
            None => Err(Failure::new(ErrorCode::PluginFailed, format!("plugin \"{name}\" is not loaded"))),
        }
    }

    /// The shard that gets the next session: each in turn.
    pub(crate) fn next_shard(&self) -> usize {
        self.core.next_shard.fetch_add(1, Relaxed) % self.core.hub.shards()
    }

    /// What a session is told about its limits.
    pub(crate) fn told_limits(&self) -> Told {
        Told {
            message_bytes: self.core.limits.message_bytes,
            subscriptions: self.core.limits.subscriptions,
            outbox_bytes: self.core.limits.outbox_bytes,
        }
    }
}

/// What a session wants of a topic that it subscribes to.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    /// The last position it has seen.
    pub(crate) since: Option<Position>,
    /// How many past messages to send first, or where nothing leads on from `since`.
    pub(crate) last: Option<u64>,
    /// The delivery policy; none means the topic's own.
    pub(crate) delivery: Option<Delivery>,
    /// What is reserved for the policy.
    pub(crate) field: Option<FieldPlace>,
}

/// What a plugin is asked.
#[derive(Debug)]
#[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "nobody is there to be asked"))]
pub(crate) struct Question {
    pub(crate) method: String,
    pub(crate) payload: Option<Payload>,
    pub(crate) keyed: Option<Keyed>,
}

/// Whom a `call` is for.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// The plugin that owns this topic.
    Topic(Topic),
    /// The plugin of this name.
    Plugin(String),
}

/// A topic a client named.
pub(crate) fn parse_topic(name: &str) -> Result<Topic, Failure> {
    Topic::parse(name).map_err(|error| {
        let code = match error {
            crate::topic::TopicError::Reserved { .. } => ErrorCode::Forbidden,
            _ => ErrorCode::BadRequest,
        };
        Failure::new(code, error.to_string())
    })
}

pub(crate) fn answer_published(answer: Answer, published: Result<Published, Failure>) {
    match published {
        Ok(published) => answer.ok(Reply::Published(published)),
        Err(failure) => answer.fail(failure),
    }
}

/// A request's key and what the request says, if it has a key.
///
/// # Errors
/// `bad_request` for a key that is empty or too long.
pub(crate) fn keyed(
    key: Option<&str>,
    from: Option<&Member>,
    digest: impl FnOnce() -> Digest,
) -> Result<Option<Keyed>, Failure> {
    let Some(text) = key else { return Ok(None) };
    if text.is_empty() || text.len() > KEY_BYTES_MAX {
        let message = format!("field \"key\" has {} bytes; 1 to {KEY_BYTES_MAX} are allowed", text.len());
        return Err(Failure::new(ErrorCode::BadRequest, message));
    }
    let key = Key { user: from.and_then(|member| member.user.clone()), text: text.into() };
    Ok(Some(Keyed { key, digest: digest() }))
}

pub(crate) fn key_reused() -> Failure {
    Failure::new(ErrorCode::KeyReused, "the key was used for another request")
}

async fn wait(outcome: tokio::sync::oneshot::Receiver<Outcome>) -> Outcome {
    outcome.await.unwrap_or_else(|_| Err(Failure::new(ErrorCode::Internal, "the request was dropped")))
}
