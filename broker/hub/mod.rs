//! The hub: all shards, and the interface through which the rest of the broker reaches their sessions. It knows neither
//! topic rules nor plugins.

mod budget;
mod routing;
mod session;
mod shard;
mod transport;
pub(crate) mod work;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rialto_protocol::{Closing, Failure};

pub(crate) use self::routing::audience::{Audience, FieldPlace, TooManyFields};
pub(crate) use self::routing::patterns::{Patterns, Selectors, TooManyPatterns};
pub(crate) use self::routing::reach::Reach;
pub(crate) use self::routing::scope::{Scope, ScopedPattern};
pub(crate) use self::session::in_flight::{InFlight, InFlightGuard};
pub(crate) use self::session::live_buffer::LIVE_MESSAGES_MAX;
pub(crate) use self::session::push::{Push, What};
pub(crate) use self::session::replay::{NextPage, Page, Replay};
pub(crate) use self::session::signals::{Ending, Signals};
pub(crate) use self::session::subscription::Subscription;
pub(crate) use self::shard::Shard;
#[cfg(test)]
pub(crate) use self::shard::inbox::commands_of;
pub(crate) use self::shard::inbox::{Command, batch_wakes};
pub(crate) use self::shard::liveness::closing;
pub(crate) use self::shard::removal::RemovedMessage;
pub(crate) use self::shard::subscribe::{FollowPresence, Start, Subscribe, SubscribeReply};
pub use self::transport::Duplex;
pub(crate) use self::transport::Link;
pub(crate) use self::transport::rewritten::Rewriter;

use self::budget::Budget;
use self::routing::patterns::Selector;
use self::routing::selector_lists::SelectorList;
use self::shard::inbox::Inbox;
use crate::config::Limits;
pub(crate) use crate::identity::{SessionKey, StreamId, StreamKind};
use crate::message::SharedMessage;
use crate::metrics::Metrics;
use crate::shares::Holder;
use crate::topic::Topic;

/// The settings that shards need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HubLimits {
    pub(crate) shards: usize,
    pub(crate) inbox_messages: usize,
    pub(crate) outbox_bytes: usize,
    pub(crate) outboxes_bytes: usize,
    pub(crate) ping: Duration,
    pub(crate) pong: Duration,
    pub(crate) frame: Duration,
    pub(crate) write: Duration,
    pub(crate) close: Duration,
    pub(crate) message_bytes: usize,
    pub(crate) fragments: usize,
    pub(crate) control_frames_per_s: u32,
    pub(crate) patterns: usize,
    pub(crate) deep_patterns: usize,
    pub(crate) pattern_lists_bytes: usize,
}

impl HubLimits {
    /// Those of a configuration, for so many shards.
    pub(crate) fn of(shards: usize, limits: &Limits) -> Self {
        Self {
            shards,
            inbox_messages: limits.inbox_messages,
            outbox_bytes: limits.outbox_bytes,
            outboxes_bytes: limits.outboxes_bytes,
            ping: Duration::from_millis(limits.ping_ms),
            pong: Duration::from_millis(limits.pong_ms),
            frame: Duration::from_millis(limits.frame_ms),
            write: Duration::from_millis(limits.write_ms),
            close: Duration::from_millis(limits.close_ms),
            message_bytes: limits.message_bytes,
            fragments: limits.fragments,
            control_frames_per_s: limits.control_frames_per_s,
            patterns: limits.patterns,
            deep_patterns: limits.deep_patterns,
            pattern_lists_bytes: limits.pattern_lists_bytes,
        }
    }
}

#[cfg(test)]
impl HubLimits {
    /// Low limits, for a hub of one shard.
    pub(crate) fn of_test() -> Self {
        let second = Duration::from_secs(1);
        Self {
            shards: 1,
            inbox_messages: 100,
            outbox_bytes: 100_000,
            outboxes_bytes: 1_000_000,
            ping: second,
            pong: second,
            frame: second,
            write: second,
            close: second,
            message_bytes: 65_536,
            fragments: 256,
            control_frames_per_s: 100,
            patterns: 100,
            deep_patterns: 32,
            pattern_lists_bytes: 100_000,
        }
    }
}

/// A handle to all shards. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    inboxes: Arc<[Arc<Inbox>]>,
    patterns: Arc<Patterns>,
    budget: Arc<Budget>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    replays: Arc<AtomicU64>,
}

impl Hub {
    /// Starts one thread per shard.
    ///
    /// # Errors
    /// When the operating system cannot create a thread or an event queue.
    pub(crate) fn spawn(limits: HubLimits, metrics: &Arc<Metrics>) -> std::io::Result<Self> {
        let mut inboxes = Vec::new();
        let mut threads = Vec::new();
        let budget = Arc::new(Budget::new(limits.outboxes_bytes, limits.shards, Arc::clone(metrics)));
        for index in 0..limits.shards {
            let inbox = Arc::new(Inbox::new(limits.inbox_messages));
            let (budget, metrics) = (Arc::clone(&budget), Arc::clone(metrics));
            threads.push(shard::spawn(index, limits, Arc::clone(&inbox), budget, metrics)?);
            inboxes.push(inbox);
        }
        let HubLimits { patterns, deep_patterns, pattern_lists_bytes, shards, .. } = limits;
        let patterns =
            Arc::new(Patterns::new(patterns, deep_patterns, pattern_lists_bytes, shards, Arc::clone(metrics)));
        let (inboxes, threads) = (inboxes.into(), Arc::new(Mutex::new(threads)));
        Ok(Self { inboxes, patterns, budget, threads, replays: Arc::default() })
    }

    pub(crate) fn shards(&self) -> usize {
        self.inboxes.len()
    }

    /// The patterns that sessions are subscribed to.
    pub(crate) fn patterns(&self) -> &Arc<Patterns> {
        &self.patterns
    }

    /// Passes a message to every shard that has subscribers for it, by its topic or by a pattern. The caller holds the
    /// topic's order.
    pub(crate) fn deliver(&self, reach: &Reach, message: &SharedMessage) {
        let selectors = reach.selectors_now(&self.patterns, &message.topic, message.offset);
        for shard in self.reached(reach, selectors.as_deref()) {
            let (message, selectors) = (Arc::clone(message), selectors.clone());
            self.inboxes[shard].push(Command::Deliver { message, selectors });
        }
    }

    /// Tells all subscribers of a topic, and of patterns that select it, that a message was removed. The caller holds the topic's
    /// order.
    pub(crate) fn remove(&self, reach: &Reach, stream: StreamId, topic: &Topic, offset: u64) {
        let selectors = reach.selectors_now(&self.patterns, topic, offset);
        for shard in self.reached(reach, selectors.as_deref()) {
            let removed =
                Box::new(RemovedMessage { stream, topic: topic.clone(), offset, selectors: selectors.clone() });
            self.inboxes[shard].push(Command::Remove(removed));
        }
    }

    /// Sends a presence change to all sessions that follow the presence of a topic.
    pub(crate) fn announce(&self, audience: &Audience, message: &SharedMessage) {
        for shard in audience.shards() {
            self.inboxes[shard].push(Command::Deliver { message: Arc::clone(message), selectors: None });
        }
    }

    /// Back-pressure: waits until the shards that a topic's last message went to have room for more, so that publishers
    /// do not outrun subscribers.
    pub(crate) async fn room(&self, reach: &Reach) {
        let selectors = reach.last_selectors();
        for shard in self.reached(reach, selectors.as_deref()) {
            self.inboxes[shard].room().await;
        }
    }

    /// Whether [`Hub::room`] would return at once.
    pub(crate) fn has_room(&self, reach: &Reach) -> bool {
        let selectors = reach.last_selectors();
        self.reached(reach, selectors.as_deref()).all(|shard| self.inboxes[shard].has_room())
    }

    fn reached<'a>(
        &self,
        reach: &'a Reach,
        selectors: Option<&'a SelectorList>,
    ) -> impl Iterator<Item = usize> + use<'a> {
        // Of patterns whose list was not kept it is not known any more which shards they reached.
        let is_any = selectors.is_none() && reach.is_unlisted();
        let selected =
            move |shard| is_any || selectors.is_some_and(|all| all.iter().any(|one| one.audience.has(shard)));
        (0..self.shards()).filter(move |shard| reach.has(*shard) || selected(*shard))
    }

    /// Queues a frame for one session; it is dropped when the session has ended.
    pub(crate) fn push(&self, session: SessionKey, push: Push) {
        self.inboxes[session.shard()].push(Command::Push { session, push });
    }

    /// Subscribes a session to a stream, from now on or after a replay. The caller has counted it in the audiences.
    pub(crate) fn subscribe(&self, session: SessionKey, subscribe: Subscribe) {
        self.inboxes[session.shard()].push(Command::Subscribe { session, subscribe: Box::new(subscribe) });
    }

    /// Whether a session's shard has much to do, so that what can wait should.
    pub(crate) fn is_busy(&self, session: SessionKey) -> bool {
        self.inboxes[session.shard()].is_long()
    }

    /// Answers a bulk of subscribes, and starts what follows the reply.
    pub(crate) fn start(&self, session: SessionKey, start: Start) {
        for part in start.into_parts() {
            self.inboxes[session.shard()].push(Command::Start { session, start: Box::new(part) });
        }
    }

    /// A unique id for a replay.
    pub(crate) fn next_replay(&self) -> u64 {
        self.replays.fetch_add(1, Relaxed)
    }

    /// Holds live messages from here on for a replay whose page is being read, so that they follow that page. The caller holds
    /// the topic's order.
    pub(crate) fn hold_live(&self, session: SessionKey, replay: u64) {
        self.inboxes[session.shard()].push(Command::HoldLive { session, replay });
    }

    /// Sends a session a page of the history that its shard has requested. For a page that live messages follow at once,
    /// the caller holds the topic's order.
    pub(crate) fn page(&self, session: SessionKey, replay: u64, page: Page) {
        self.inboxes[session.shard()].push(Command::Page { session, replay, page: Box::new(page) });
    }

    /// Subscribes a session to patterns from now on; `then` runs before any publisher can see a new pattern.
    ///
    /// # Errors
    /// [`TooManyPatterns`]; `then` has not run.
    pub(crate) fn select(
        &self,
        session: SessionKey,
        holder: &Holder,
        patterns: &[ScopedPattern],
        then: impl FnOnce(),
    ) -> Result<(), TooManyPatterns> {
        let select = |Selector { stream, audience }: &Selector| {
            let (stream, audience) = (*stream, Arc::clone(audience));
            self.inboxes[session.shard()].push(Command::Select { session, stream, audience });
        };
        self.patterns.enter(patterns, (session.shard(), holder), select, then)
    }

    /// Ends a session's subscription to patterns.
    pub(crate) fn deselect(&self, session: SessionKey, patterns: &[ScopedPattern]) {
        for stream in patterns.iter().filter_map(|pattern| self.patterns.stream(pattern)) {
            self.unsubscribe(session, stream);
        }
    }

    /// Has every session look at its permissions and its token again.
    pub(crate) fn recheck_all(&self) {
        for shard in 0..self.shards() {
            self.run_on(shard, |shard| shard.recheck_all());
        }
    }

    /// Ends a subscription, or the replay before it; and the subscription to the topic's presence.
    pub(crate) fn unsubscribe(&self, session: SessionKey, stream: StreamId) {
        self.inboxes[session.shard()].push(Command::Unsubscribe { session, stream });
    }

    /// Ends the subscription of a session to a topic and its presence, and reports that to it, unless it has ended already.
    pub(crate) fn end_subscriber(&self, session: SessionKey, stream: StreamId, topic: Topic, failure: Failure) {
        let ended = Box::new((topic, failure));
        self.inboxes[session.shard()].push(Command::EndSubscriber { session, stream, ended });
    }

    /// Ends the subscriptions of all sessions to a topic and its presence, and reports that to them. The caller holds the topic's
    /// order: they get every earlier message and no later one.
    pub(crate) fn end_subscribers(&self, reach: &Reach, stream: StreamId, topic: &Topic, failure: &Failure) {
        for shard in reach.audience().shards() {
            let ended = Box::new((topic.clone(), failure.clone()));
            self.inboxes[shard].push(Command::EndStream { stream, ended });
        }
    }

    /// Applies other limits: each shard from its next turn on.
    pub(crate) fn set_limits(&self, limits: HubLimits) {
        self.budget.set_bytes_max(limits.outboxes_bytes);
        self.patterns.set_max(limits.patterns, limits.deep_patterns);
        for (shard, inbox) in self.inboxes.iter().enumerate() {
            inbox.set_mark(limits.inbox_messages);
            self.run_on(shard, move |shard| shard.set_limits(limits));
        }
    }

    /// Runs a piece of work on a shard's own thread.
    pub(crate) fn run_on(&self, shard: usize, work: impl FnOnce(&std::rc::Rc<Shard>) + Send + 'static) {
        self.inboxes[shard].push(Command::Run(Box::new(work)));
    }

    /// Ends all sessions.
    pub(crate) fn close_all(&self, closing: &Closing) {
        for inbox in self.inboxes.iter() {
            inbox.push(Command::CloseAll(closing.clone()));
        }
    }

    /// Requests the shards' threads to stop.
    pub(crate) fn signal_stop(&self) {
        for inbox in self.inboxes.iter() {
            inbox.push(Command::Stop);
        }
    }

    /// Stops the shards' threads and waits for them. Sessions that are still open are dropped.
    pub(crate) fn stop(&self) {
        self.signal_stop();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a shard's thread panicked");
            }
        }
    }
}
