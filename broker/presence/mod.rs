//! Who is present in one topic, and those who are told of it. Small topics are told who comes and goes, large ones how many there
//! are. It has no clock.

pub(crate) mod members;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_protocol::{Delivery, Member, Present};

use self::members::Members;
use crate::hub::{Audience, FollowPresence, Hub, SessionKey, StreamId, Subscription};
use crate::message::{Message, Passage};
use crate::metrics::Metrics;
use crate::topic::Topic;

/// The least time between two counts.
const COUNT_PAUSE_MS: u64 = 1_000;

/// The members of one topic.
#[derive(Debug)]
pub(crate) struct TopicPresence {
    topic: Topic,
    stream: StreamId,
    audience: Arc<Audience>,
    members_max: usize,
    metrics: Arc<Metrics>,
    state: Mutex<PresenceState>,
}

#[derive(Debug, Default)]
struct PresenceState {
    members: Members,
    /// Whether the members are too many to be listed.
    is_counted: bool,
    /// When the count was told last.
    counted_ms: u64,
    /// Whether the count has changed since.
    is_stale: bool,
    /// When somebody will look next.
    wake_ms: Option<u64>,
}

impl TopicPresence {
    /// Nobody yet. `stream` is that of the topic.
    pub(crate) fn new(
        topic: Topic,
        stream: StreamId,
        shards: usize,
        members_max: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (stream, audience) = (stream.presence(), Arc::new(Audience::new(shards, &Delivery::Queue)));
        Self { topic, stream, audience, members_max, metrics, state: Mutex::default() }
    }

    /// A session becomes a subscriber: `subscribe` sends its shard the command for that while nobody else comes or goes. Returns
    /// when to look again, if that is sooner than was said before, and what `subscribe` returns.
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
            self.tell(hub, state, Passage::Join(member.clone()), now_ms);
        }
        let subscribed = subscribe(&PresenceView { presence: self, state });
        (wake(state), subscribed)
    }

    /// A session is no subscriber any more. With a time, its user may come back until then. Gives when to look again.
    pub(crate) fn leave(&self, hub: &Hub, member: &Member, due_ms: Option<u64>, now_ms: u64) -> Option<u64> {
        let state = &mut *self.lock();
        if state.members.leave(&member.session, due_ms) {
            self.metrics.presence_members.subtract(1);
            self.tell(hub, state, Passage::Leave(member.clone()), now_ms);
        }
        wake(state)
    }

    /// Tells what is due. Gives when to look again.
    pub(crate) fn look(&self, hub: &Hub, now_ms: u64) -> Option<u64> {
        let state = &mut *self.lock();
        state.wake_ms = None;
        for member in state.members.expire(now_ms) {
            self.metrics.presence_members.subtract(1);
            self.tell(hub, state, Passage::Leave(member), now_ms);
        }
        if state.is_stale && now_ms >= state.counted_ms + COUNT_PAUSE_MS {
            self.count(hub, state, now_ms);
        }
        wake(state)
    }

    /// Who is present.
    pub(crate) fn present(&self) -> Present {
        self.list(&self.lock())
    }

    /// Whether nobody is present, nor may come back.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().members.count() == 0
    }

    /// Counts a session among those that follow who comes and goes.
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
        let came = after.iter().filter(|member| !before.contains(member)).cloned().map(Passage::Join);
        left.chain(came).collect()
    }

    fn tell(&self, hub: &Hub, state: &mut PresenceState, passage: Passage, now_ms: u64) {
        let count = state.members.count();
        match state.is_counted {
            false if count <= self.members_max => self.announce(hub, passage),
            false => {
                state.is_counted = true;
                self.count(hub, state, now_ms);
            }
            true if count * 2 < self.members_max => {
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
        let is_listed = !state.is_counted && state.members.count() <= self.members_max;
        Present { count: state.members.count() as u64, members: is_listed.then(|| state.members.members()) }
    }

    fn lock(&self) -> MutexGuard<'_, PresenceState> {
        // What is done under the lock does not fail half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is present while nobody comes or goes.
pub(crate) struct PresenceView<'p> {
    presence: &'p TopicPresence,
    state: &'p PresenceState,
}

impl PresenceView<'_> {
    /// Who is present.
    pub(crate) fn present(&self) -> Present {
        self.presence.list(self.state)
    }

    /// What lets a session follow who comes and goes from here on.
    pub(crate) fn follow(&self, session: SessionKey) -> Subscription {
        self.presence.subscription(session)
    }
}

/// A session that will follow who is present in a topic when it has been sent the list.
#[derive(Debug)]
pub(crate) struct PresenceFollower {
    pub(crate) presence: Arc<TopicPresence>,
    pub(crate) session: SessionKey,
    pub(crate) member: Member,
    /// The list that it is sent.
    pub(crate) known: Present,
}

/// Lets sessions follow who is present in several topics: `start` sends the shard what it needs for that, while nobody comes or
/// goes in any of them. A session that has left meanwhile follows nothing.
pub(crate) fn follow_all(followers: Vec<PresenceFollower>, start: impl FnOnce(Vec<FollowPresence>)) {
    // Each topic once, the last list counts; and always in the same order, so that two who lock several do not wait for each other.
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

/// When to look, if that is sooner than somebody will.
fn wake(state: &mut PresenceState) -> Option<u64> {
    let count_ms = state.is_stale.then_some(state.counted_ms + COUNT_PAUSE_MS);
    let due_ms = [state.members.next_due_ms(), count_ms].into_iter().flatten().min()?;
    if state.wake_ms.is_some_and(|wake_ms| wake_ms <= due_ms) {
        return None;
    }
    state.wake_ms = Some(due_ms);
    Some(due_ms)
}
