//! Presence of one topic: its members, and the sessions that follow them. Small topics report each join and leave,
//! large ones only the count. It has no clock.

pub(crate) mod members;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_protocol::{Delivery, Member, Present};

use self::members::Members;
use crate::hub::{Audience, FollowPresence, Hub, SessionKey, StreamId, Subscription};
use crate::message::{Message, Passage};
use crate::metrics::Metrics;
use crate::topic::Topic;

/// Least time between two counts.
const COUNT_PAUSE_MS: u64 = 1_000;

/// The presence of one topic.
#[derive(Debug)]
pub(crate) struct TopicPresence {
    topic: Topic,
    stream: StreamId,
    audience: Arc<Audience>,
    members_max: AtomicUsize,
    metrics: Arc<Metrics>,
    state: Mutex<PresenceState>,
}

#[derive(Debug, Default)]
struct PresenceState {
    members: Members,
    /// Whether only the count is sent, because there are too many members.
    is_counted: bool,
    /// When the count was sent last.
    counted_ms: u64,
    /// Whether the count has changed since.
    is_stale: bool,
    /// When [`TopicPresence::expire`] is scheduled.
    scheduled_ms: Option<u64>,
}

impl TopicPresence {
    /// Presence without members. `stream` is that of the topic.
    pub(crate) fn new(
        topic: Topic,
        stream: StreamId,
        shards: usize,
        members_max: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (stream, audience) = (stream.presence(), Arc::new(Audience::new(shards, &Delivery::Queue)));
        let members_max = AtomicUsize::new(members_max);
        Self { topic, stream, audience, members_max, metrics, state: Mutex::default() }
    }

    /// Lists at most so many members, from the next change on.
    pub(crate) fn set_members_max(&self, members_max: usize) {
        self.members_max.store(members_max, Relaxed);
    }

    /// Adds a session; `subscribe` sends its shard the command to subscribe while the members cannot change. Returns
    /// when to call [`TopicPresence::expire`], if that is sooner than scheduled, and what `subscribe` returns.
    pub(crate) fn enter<T>(
        &self,
        hub: &Hub,
        member: &Member,
        now_ms: u64,
        subscribe: impl FnOnce(&PresenceView<'_>) -> T,
    ) -> (Option<u64>, T) {
        let state = &mut *self.lock();
        if state.members.enter(member) {
            self.metrics.presence_members.add(1);
            self.report(hub, state, Passage::Join(member.clone()), now_ms);
        }
        let subscribed = subscribe(&PresenceView { presence: self, state });
        (next_due(state), subscribed)
    }

    /// Removes a session: at once, or at the end of its grace period, `due_ms`. Returns when to call
    /// [`TopicPresence::expire`], if that is sooner than scheduled.
    pub(crate) fn leave(&self, hub: &Hub, session: &str, due_ms: Option<u64>, now_ms: u64) -> Option<u64> {
        let state = &mut *self.lock();
        if let Some(member) = state.members.leave(session, due_ms) {
            self.metrics.presence_members.subtract(1);
            self.report(hub, state, Passage::Leave(member), now_ms);
        }
        next_due(state)
    }

    /// Removes members whose grace period has ended, and sends an overdue count. Returns when to call it again.
    pub(crate) fn expire(&self, hub: &Hub, now_ms: u64) -> Option<u64> {
        let state = &mut *self.lock();
        state.scheduled_ms = None;
        for member in state.members.expire(now_ms) {
            self.metrics.presence_members.subtract(1);
            self.report(hub, state, Passage::Leave(member), now_ms);
        }
        if state.is_stale && now_ms >= state.counted_ms + COUNT_PAUSE_MS {
            self.count(hub, state, now_ms);
        }
        next_due(state)
    }

    /// The members, or their count.
    pub(crate) fn present(&self) -> Present {
        self.list(&self.lock())
    }

    /// Whether there are no members, not even within a grace period.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().members.count() == 0
    }

    /// A subscription to joins and leaves, counted in the audience.
    fn subscription(&self, session: SessionKey) -> Subscription {
        self.audience.enter(session.shard());
        Subscription {
            stream: self.stream,
            topic: self.topic.clone(),
            delivery: Delivery::Queue,
            field: None,
            audience: Arc::clone(&self.audience),
        }
    }

    fn changes(&self, state: &PresenceState, known: &Present) -> Vec<Passage> {
        let now = self.list(state);
        if now == *known {
            return Vec::new();
        }
        let (Some(before), Some(after)) = (&known.members, &now.members) else { return vec![Passage::Count(now)] };
        let left = before.iter().filter(|member| !after.contains(member)).cloned().map(Passage::Leave);
        let joined = after.iter().filter(|member| !before.contains(member)).cloned().map(Passage::Join);
        left.chain(joined).collect()
    }

    fn report(&self, hub: &Hub, state: &mut PresenceState, passage: Passage, now_ms: u64) {
        let count = state.members.count();
        match state.is_counted {
            false if count <= self.members_max() => self.announce(hub, passage),
            false => {
                state.is_counted = true;
                self.count(hub, state, now_ms);
            }
            true if count * 2 < self.members_max() => {
                state.is_counted = false;
                self.count(hub, state, now_ms);
            }
            true if now_ms >= state.counted_ms + COUNT_PAUSE_MS => self.count(hub, state, now_ms),
            true => state.is_stale = true,
        }
    }

    fn count(&self, hub: &Hub, state: &mut PresenceState, now_ms: u64) {
        (state.counted_ms, state.is_stale) = (now_ms, false);
        self.announce(hub, Passage::Count(self.list(state)));
    }

    fn announce(&self, hub: &Hub, passage: Passage) {
        hub.announce(&self.audience, &Arc::new(Message::of_passage(self.stream, self.topic.clone(), passage)));
    }

    fn list(&self, state: &PresenceState) -> Present {
        let is_listed = !state.is_counted && state.members.count() <= self.members_max();
        Present { count: state.members.count() as u64, members: is_listed.then(|| state.members.members()) }
    }

    fn members_max(&self) -> usize {
        self.members_max.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, PresenceState> {
        // No change under the lock can stop half way, so a poisoned lock is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TopicPresence {
    fn drop(&mut self) {
        // A topic whose rule no longer enables presence may have members.
        self.metrics.presence_members.subtract(self.lock().members.count() as u64);
    }
}

/// The presence of a topic while its members cannot change.
pub(crate) struct PresenceView<'p> {
    presence: &'p TopicPresence,
    state: &'p PresenceState,
}

impl PresenceView<'_> {
    /// The members, or their count.
    pub(crate) fn present(&self) -> Present {
        self.presence.list(self.state)
    }

    /// A subscription to joins and leaves from now on.
    pub(crate) fn follow(&self, session: SessionKey) -> Subscription {
        self.presence.subscription(session)
    }
}

/// A session that will follow the presence of a topic once it has been sent the list of members.
#[derive(Debug)]
pub(crate) struct PresenceFollower {
    pub(crate) presence: Arc<TopicPresence>,
    pub(crate) session: SessionKey,
    pub(crate) member: Member,
    /// The list that it is sent.
    pub(crate) known: Present,
}

/// Subscribes sessions to the presence of several topics: `start` sends the shard the commands while the members of none of
/// them can change. A session that has left meanwhile is not subscribed.
pub(crate) fn follow_all(followers: Vec<PresenceFollower>, start: impl FnOnce(Vec<FollowPresence>)) {
    // Each topic once, the last list counts; always in the same order, so that two threads that lock several cannot
    // deadlock.
    let followers: BTreeMap<StreamId, PresenceFollower> =
        followers.into_iter().map(|follower| (follower.presence.stream, follower)).collect();
    let locked: Vec<_> = followers.values().map(|follower| (follower, follower.presence.lock())).collect();
    let present = locked.iter().filter(|(follower, state)| state.members.has(&follower.member.session));
    let follow = |(follower, state): &(&PresenceFollower, MutexGuard<'_, PresenceState>)| FollowPresence {
        changes: follower.presence.changes(state, &follower.known),
        subscription: follower.presence.subscription(follower.session),
    };
    start(present.map(follow).collect());
}

/// When [`TopicPresence::expire`] is due, if that is sooner than scheduled.
fn next_due(state: &mut PresenceState) -> Option<u64> {
    let count_ms = state.is_stale.then_some(state.counted_ms + COUNT_PAUSE_MS);
    let due_ms = [state.members.next_due_ms(), count_ms].into_iter().flatten().min()?;
    if state.scheduled_ms.is_some_and(|scheduled_ms| scheduled_ms <= due_ms) {
        return None;
    }
    state.scheduled_ms = Some(due_ms);
    Some(due_ms)
}
