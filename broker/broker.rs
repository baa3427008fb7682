//! The broker: joins topics, engine, hub and plugins. It knows sessions only by their keys, and no transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rialto_protocol::{
    CloseCode, Closing, Delivery, ErrorCode, Failure, Gap, GapReason, Limits as Told, Member, Payload,
};
use rialto_protocol::{Policy, Position, Published, Reply, Subscribed};

use crate::answer::{Answer, Outcome};
use crate::clock::Clock;
use crate::config::{Limits, TopicOptions};
use crate::directory::{Directory, Entry};
use crate::engine::{Engine, Retired};
use crate::guest::Seats;
use crate::hub::{FieldPlace, Hub, Push, SessionKey, Subscription, TooManyFields, What};
use crate::message::Draft;
use crate::metrics::{Metrics, Snapshot};
use crate::owners::{Owner, Owners};
use crate::topic::Topic;

/// What the broker's threads are given to end, even where sessions are given none.
const STOP_WAIT_MIN: Duration = Duration::from_secs(1);

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

/// What all handles share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) limits: Limits,
    pub(crate) hub: Hub,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    pub(crate) node: Arc<str>,
    pub(crate) engine: Engine,
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
        let topic = parse_topic(topic)?;
        let (answer, outcome) = Answer::caller();
        let entry = self.accept(None, None, &topic, payload, answer);
        let reply = wait(outcome).await?;
        if let Some(entry) = entry {
            self.core.hub.room(&entry.audience, &entry.selection).await;
        }
        match reply {
            Reply::Published(published) => Ok(published.position),
            _ => Err(Failure::new(ErrorCode::Internal, "not the answer to a publish")),
        }
    }

    /// Asks the plugin that owns a topic, as the program that embeds the broker.
    ///
    /// # Errors
    /// `bad_request` for a name that is no topic, `not_found` where no plugin owns it, and what the plugin says.
    pub async fn call(&self, topic: &str, method: &str, payload: Option<Payload>) -> Result<Option<Payload>, Failure> {
        let topic = parse_topic(topic)?;
        let (answer, outcome) = Answer::caller();
        self.ask(None, Asked::Topic(topic), method.to_owned(), payload, answer);
        match wait(outcome).await? {
            Reply::Answered(answered) => Ok(answered.payload),
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
        entry.stream.join(|now| position = Some(now)).ok()?;
        let (subscribers, skipped) = (entry.audience.subscribers(), entry.audience.skipped());
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
            Ok(None) => answer_published(answer, self.emit(&entry, from, except, payload)),
            Ok(Some(owner)) => owner.publish(self, &entry, (from.cloned(), except), payload, answer),
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
    ) -> Result<Position, Failure> {
        let from = from.filter(|_| entry.options.reveal_publisher).cloned();
        let mut draft = Draft { payload, from, except };
        let mut entry = Arc::clone(entry);
        loop {
            let now_ms = self.core.clock.unix_ms();
            let hand_over = |message: &_| self.core.hub.deliver(&entry.audience, &entry.selection, message);
            match self.core.engine.publish(&entry.stream, draft, now_ms, hand_over) {
                Ok(position) => {
                    self.core.metrics.messages_published.add(1);
                    return Ok(position);
                }
                Err((back, Retired)) => {
                    draft = back;
                    entry = self.core.directory.entry(entry.stream.topic(), &self.core.engine)?;
                }
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
        let TopicOptions { delivery: own, delivery_max, .. } = &entry.options;
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
        wish.field = entry.audience.reserve(delivery, fields_max).map_err(|TooManyFields| {
            let text = format!("subscribers of one topic may ask for {fields_max} different fields");
            Failure::new(ErrorCode::TooMany, text)
        })?;
        Ok(())
    }

    /// Lets a session into a topic: its answer, then every message after the position in it.
    pub(crate) fn join(&self, mut entry: Arc<Entry>, session: SessionKey, wish: Wish, answer: Answer) {
        let Wish { since, delivery, mut field } = wish;
        let delivery = delivery.unwrap_or_else(|| entry.options.delivery.clone());
        let mut answer = Some(answer);
        while let Err(Retired) = entry.stream.join(|position| {
            entry.audience.enter(session.shard());
            self.core.hub.subscribe(
                session,
                Subscription {
                    stream: entry.stream.id(),
                    topic: entry.stream.topic().clone(),
                    delivery: delivery.clone(),
                    field: field.take(),
                    audience: Arc::clone(&entry.audience),
                },
            );
            let topic: Arc<str> = entry.stream.topic().as_str().into();
            let missed = since.as_ref().map(|since| missed(&topic, since, &position));
            if let Some(answer) = answer.take() {
                let recovered = missed.as_ref().map(Result::is_ok);
                let position = Some(position);
                answer.ok(Reply::Subscribed(Subscribed { topic, position, recovered, more: None, present: None }));
            }
            if let Some(Err(Some(gap))) = missed {
                self.core.hub.push(session, Push { what: What::Gap(gap), under_way: None });
            }
        }) {
            match self.core.directory.entry(entry.stream.topic(), &self.core.engine) {
                Ok(fresh) => {
                    entry = fresh;
                    // A topic that has just come back has no other subscribers whose fields could be too many.
                    field = entry.audience.reserve(&delivery, usize::MAX).ok().flatten();
                }
                Err(failure) => return answer.into_iter().for_each(|answer| answer.fail(failure.clone())),
            }
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
    pub(crate) fn ask(
        &self,
        from: Option<&Member>,
        asked: Asked,
        method: String,
        payload: Option<Payload>,
        answer: Answer,
    ) {
        match self.asked(asked) {
            Ok((owner, topic)) => owner.call(self, from.cloned(), topic, method, payload, answer),
            Err(failure) => answer.fail(failure),
        }
    }

    fn asked(&self, asked: Asked) -> Result<(&Owner, Option<Topic>), Failure> {
        match asked {
            Asked::Topic(topic) => {
                let entry = self.core.directory.entry(&topic, &self.core.engine)?;
                match self.owner(&entry)? {
                    Some(owner) => Ok((owner, Some(topic))),
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
    /// The delivery policy; none means the topic's own.
    pub(crate) delivery: Option<Delivery>,
    /// What is reserved for the policy.
    pub(crate) field: Option<FieldPlace>,
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

pub(crate) fn answer_published(answer: Answer, position: Result<Position, Failure>) {
    match position {
        Ok(position) => answer.ok(Reply::Published(Published { position: Some(position), duplicate: false })),
        Err(failure) => answer.fail(failure),
    }
}

/// What a session that knew `since` has missed when it comes back at `now`. No history is kept, so anything that was
/// published meanwhile is missing; `Err(None)` says that nothing with an offset is.
fn missed(topic: &Arc<str>, since: &Position, now: &Position) -> Result<(), Option<Gap>> {
    let same = since.epoch == now.epoch && since.offset <= now.offset;
    if same && since.offset == now.offset {
        return Ok(());
    }
    let (from, reason) = if same { (since.offset + 1, GapReason::Expired) } else { (1, GapReason::Reset) };
    Err((from <= now.offset).then(|| Gap { topic: Arc::clone(topic), from, to: now.offset, reason }))
}

async fn wait(outcome: tokio::sync::oneshot::Receiver<Outcome>) -> Outcome {
    outcome.await.unwrap_or_else(|_| Err(Failure::new(ErrorCode::Internal, "the request was dropped")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coming_back_is_recovered_only_when_nothing_was_missed() {
        let topic: Arc<str> = "t".into();
        let gap = |from, to, reason| Err(Some(Gap { topic: Arc::clone(&topic), from, to, reason }));
        for (epoch, offset, expected) in [
            ("e", 5, Ok(())),
            ("e", 4, gap(5, 5, GapReason::Expired)),
            ("e", 0, gap(1, 5, GapReason::Expired)),
            ("e", 6, gap(1, 5, GapReason::Reset)),
            ("old", 5, gap(1, 5, GapReason::Reset)),
        ] {
            let since = Position { epoch: epoch.into(), offset };
            let now = Position { epoch: "e".into(), offset: 5 };
            assert_eq!(missed(&topic, &since, &now), expected, "{epoch} {offset}");
        }
        let since = Position { epoch: "old".into(), offset: 5 };
        assert_eq!(missed(&topic, &since, &Position { epoch: "e".into(), offset: 0 }), Err(None));
    }
}
