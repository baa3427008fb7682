//! A shard's sessions and who of them is subscribed to what. It writes nothing and does not wait.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;
use slab::Slab;

use super::listeners::{List, Listeners};
use super::recipients::Recipients;
use super::sample_timers::SampleTimers;
use super::turn::Group;
use crate::hub::session::replay::{Replaying, Replays};
use crate::hub::session::{SessionSubscription, ShardSession};
use crate::hub::{Audience, Link, Replay, SessionKey, Signals, StreamId, StreamKind, Subscription};
use crate::message::Wire;
use crate::metrics::Metrics;

/// A table with more room than this, of which less than an eighth is used, gives most of it back.
const SPARSE_MIN: usize = 4_096;

/// Who gets the messages of a group.
pub(in crate::hub) struct Addressed<'r> {
    pub(in crate::hub) members: &'r mut Slab<ShardSession>,
    pub(in crate::hub) listeners: &'r Listeners,
    /// Those that do not get what they published themselves.
    pub(in crate::hub) apart: &'r [(SessionKey, List)],
    pub(in crate::hub) sample_timers: &'r mut SampleTimers,
}

/// The sessions and streams of one shard.
pub(in crate::hub) struct Sessions {
    shard: u16,
    serial: u64,
    metrics: Arc<Metrics>,
    members: Slab<ShardSession>,
    streams: FxHashMap<StreamId, Listeners>,
    sample_timers: SampleTimers,
    recipients: Recipients,
    /// Its sessions to which a past is on its way.
    replaying: Replaying,
}

impl Sessions {
    pub(in crate::hub) fn new(shard: u16, metrics: Arc<Metrics>) -> Self {
        let (members, streams, sample_timers) = (Slab::new(), FxHashMap::default(), SampleTimers::default());
        Self {
            shard,
            serial: 0,
            metrics,
            members,
            streams,
            sample_timers,
            recipients: Recipients::default(),
            replaying: Replaying::default(),
        }
    }

    pub(in crate::hub) fn attach(&mut self, link: Rc<Link>, signals: Rc<Signals>, wire: Wire) -> SessionKey {
        self.serial += 1;
        let serial = self.serial;
        let slot = self.members.insert(ShardSession::new(serial, link, signals, wire));
        self.metrics.sessions.add(1);
        self.metrics.sessions_opened.add(1);
        SessionKey { shard: self.shard, slot: u32::try_from(slot).expect("fewer than 2^32 sessions"), serial }
    }

    /// Forgets all sessions: the shard ends.
    pub(in crate::hub) fn clear(&mut self) {
        let slots: Vec<usize> = self.members.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.silence(slot as u32);
            self.members.remove(slot);
            self.metrics.sessions.subtract(1);
        }
    }

    pub(in crate::hub) fn detach(&mut self, key: SessionKey) {
        if self.get(key).is_some() {
            self.silence(key.slot);
            self.members.remove(key.slot as usize);
            self.metrics.sessions.subtract(1);
        }
    }

    pub(in crate::hub) fn get(&mut self, key: SessionKey) -> Option<&mut ShardSession> {
        self.members.get_mut(key.slot as usize).filter(|member| member.serial == key.serial)
    }

    /// A member by its place; only for slots that were noted within the same turn.
    pub(in crate::hub) fn at(&mut self, slot: u32) -> Option<&mut ShardSession> {
        self.members.get_mut(slot as usize)
    }

    pub(in crate::hub) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut ShardSession)> {
        self.members.iter_mut().map(|(slot, member)| (slot as u32, member))
    }

    /// Who gets the messages of a group; none when nobody does.
    pub(in crate::hub) fn addressed(&mut self, group: &Group) -> Option<Addressed<'_>> {
        let Self { members, streams, sample_timers, recipients, .. } = self;
        let own = streams.get(&group.stream);
        let mut spared = group.spared.iter().copied().filter(|key| key.shard == self.shard).peekable();
        if group.selectors.is_none() && spared.peek().is_none() {
            return Some(Addressed { members, listeners: own?, apart: &[], sample_timers });
        }
        let selectors = group.selectors.iter().flat_map(|selectors| selectors.iter());
        // Its own listeners first: a session that has the topic and a pattern gets what it chose for the topic.
        let mut all = own.into_iter().chain(selectors.filter_map(|selector| streams.get(&selector.stream)));
        let first = all.next()?;
        let mut others = all.peekable();
        // Nobody is listed with a topic whose past is still on its way, but may be with a pattern.
        let is_plain = own.is_some() || self.replaying.get() == 0;
        if others.peek().is_none() && spared.peek().is_none() && is_plain {
            return Some(Addressed { members, listeners: first, apart: &[], sample_timers });
        }
        recipients.gather(group.stream, members, std::iter::once(first).chain(others), spared);
        Some(Addressed { members, listeners: &recipients.listeners, apart: &recipients.apart, sample_timers })
    }

    /// Lets a session out of a stream, to let it in again behind the past.
    pub(in crate::hub) fn hold_replay(&mut self, key: SessionKey, subscription: Subscription, replay: Replay) {
        self.unsubscribe(key, subscription.stream);
        let replaying = Rc::clone(&self.replaying);
        match self.get(key).filter(|member| !member.finished && !member.signals.is_ending()) {
            Some(member) => {
                let new = || Box::new(Replays::new(&replaying, key.shard()));
                member.replays.get_or_insert_with(new).hold(subscription, replay);
            }
            None => subscription.audience.leave(key.shard()),
        }
    }

    /// When the first alarm rings.
    pub(in crate::hub) fn next_alarm(&self) -> Option<Instant> {
        self.sample_timers.next()
    }

    /// A session's stream whose alarm rings by `now`.
    pub(in crate::hub) fn ringing(&mut self, now: Instant) -> Option<(u32, StreamId)> {
        self.sample_timers.ringing(now)
    }

    /// Lets a session in, or gives its subscription another policy. It was counted in the audience already; that is
    /// undone where it changes nothing.
    pub(in crate::hub) fn subscribe(&mut self, key: SessionKey, subscription: Subscription) {
        let Subscription { stream, topic, delivery, field, audience } = subscription;
        self.enter(key, stream, SessionSubscription::new(audience, topic, delivery, field));
    }

    /// Gives a session what a pattern selects. It was counted in the audience already; that is undone where it changes nothing.
    pub(in crate::hub) fn select(&mut self, key: SessionKey, stream: StreamId, audience: Arc<Audience>) {
        self.enter(key, stream, SessionSubscription::plain(audience));
    }

    fn enter(&mut self, key: SessionKey, stream: StreamId, mut held: SessionSubscription) {
        let slot = key.slot;
        let Some(member) = self.get(key).filter(|member| !member.signals.is_ending()) else {
            held.audience.leave(key.shard());
            return;
        };
        match member.subscriptions.get(&stream) {
            Some(before) if before.delivery() == held.delivery() => {
                held.audience.leave(key.shard());
                // What waits comes before the answer.
                return self.catch_up(key, stream);
            }
            Some(_) => self.unsubscribe(key, stream),
            None => {}
        }
        let member = &mut self.members[slot as usize];
        let list = List::of(held.delivery(), member.wire);
        let slots = self.streams.entry(stream).or_default().list_mut(list);
        held.place = u32::try_from(slots.len()).expect("fewer than 2^32 sessions");
        slots.push(slot);
        member.subscriptions.add(stream, held);
        member.choosy += u32::from(matches!(list, List::Choosy(_)));
        member.patterns += u32::from(stream.kind() == StreamKind::Pattern);
        self.metrics.subscriptions.add(u64::from(stream.kind() != StreamKind::Presence));
    }

    /// Lets a session out, if it is in. What its policy still keeps for it is queued.
    pub(in crate::hub) fn unsubscribe(&mut self, key: SessionKey, stream: StreamId) {
        self.catch_up(key, stream);
        let Some(member) = self.get(key) else { return };
        member.give_up_replay(stream);
        if let Some(held) = member.subscriptions.remove(&stream) {
            self.release(key.slot, stream, &held);
        }
    }

    fn catch_up(&mut self, key: SessionKey, stream: StreamId) {
        let metrics = Arc::clone(&self.metrics);
        if let Some(member) = self.get(key) {
            member.catch_up_with(stream, &metrics);
        }
    }

    /// Ends all subscriptions of a session.
    pub(in crate::hub) fn silence(&mut self, slot: u32) {
        let member = &mut self.members[slot as usize];
        for (stream, held) in std::mem::take(&mut member.subscriptions).drain() {
            self.release(slot, stream, &held);
        }
        self.members[slot as usize].forget_behind();
    }

    fn release(&mut self, slot: u32, stream: StreamId, held: &SessionSubscription) {
        let member = &mut self.members[slot as usize];
        let list = List::of(held.delivery(), member.wire);
        member.choosy -= u32::from(matches!(list, List::Choosy(_)));
        member.patterns -= u32::from(stream.kind() == StreamKind::Pattern);
        let listeners = self.streams.get_mut(&stream).expect("a subscription has its list");
        let slots = listeners.list_mut(list);
        slots.swap_remove(held.place as usize);
        if let Some(moved) = slots.get(held.place as usize) {
            let moved = &mut self.members[*moved as usize];
            moved.subscriptions.get_mut(&stream).expect("who is listed is subscribed").place = held.place;
        }
        if listeners.is_empty() {
            self.streams.remove(&stream);
            // A session with very many subscriptions that is gone must not keep memory for them.
            let (used, room) = (self.streams.len(), self.streams.capacity());
            if room > SPARSE_MIN && used < room / 8 {
                self.streams.shrink_to(2 * used);
            }
        }
        if let Some(at) = held.choice.as_ref().and_then(|choice| choice.alarm) {
            self.sample_timers.cancel(at, slot, stream);
        }
        held.audience.leave(self.shard.into());
        self.metrics.subscriptions.subtract(u64::from(stream.kind() != StreamKind::Presence));
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::Delivery;

    use super::*;
    use crate::topic::Topic;

    #[test]
    fn lists_audience_and_gauges_agree_whatever_order_sessions_leave_in() {
        let metrics = Arc::new(Metrics::default());
        let audience = Arc::new(Audience::new(1, &Delivery::Queue));
        let mut sessions = Sessions::new(0, Arc::clone(&metrics));
        let mut keys = Vec::new();
        for index in 0..10 {
            let (stream, _) = tokio::io::duplex(64);
            let link = Rc::new(Link::other(Box::new(stream)));
            let wire = Wire::ALL[index % 3];
            keys.push(sessions.attach(link, Rc::new(Signals::new(Instant::now())), wire));
        }
        let topic = Topic::parse("t").expect("a topic");
        let policies = [Delivery::Queue, Delivery::Latest, Delivery::Sample { every_ms: 1 }];
        for stream in [1, 2].map(StreamId::topic) {
            for (index, key) in keys.iter().enumerate() {
                // The second time nothing changes, the third time the policy does.
                for change in [0, 0, 1] {
                    let delivery = policies[(index + change) % policies.len()].clone();
                    audience.enter(0);
                    let (topic, audience, field) = (topic.clone(), Arc::clone(&audience), None);
                    let subscription = Subscription { stream, topic, delivery, field, audience };
                    sessions.subscribe(*key, subscription);
                }
            }
        }
        assert_eq!(metrics.snapshot().subscriptions, 20);
        for (index, key) in [0, 9, 4, 5, 2, 1, 8, 3, 6, 7].into_iter().map(|index| (index, keys[index])) {
            if index % 3 == 0 {
                sessions.unsubscribe(key, StreamId::topic(1));
            }
            sessions.detach(key);
            assert!(sessions.get(key).is_none());
        }
        assert!(audience.is_empty());
        assert!(sessions.streams.is_empty());
        assert_eq!((metrics.snapshot().subscriptions, metrics.snapshot().sessions), (0, 0));
    }
}
