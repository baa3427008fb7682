//! A shard's sessions and their subscriptions. It writes nothing and does not wait.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;
use slab::Slab;

use super::holders::Holders;
use super::listeners::{List, Listeners};
use super::recipients::Recipients;
use super::sample_timers::SampleTimers;
use super::turn::Group;
use crate::hub::session::replay::{Replaying, Replays};
use crate::hub::session::{SessionSubscription, ShardSession};
use crate::hub::{Audience, Link, Replay, SessionKey, Signals, StreamId, StreamKind, Subscription};
use crate::message::Wire;
use crate::metrics::Metrics;

/// A table with a larger capacity than this, of which less than an eighth is used, is shrunk.
const SPARSE_MIN: usize = 4_096;

/// The sessions that receive a group of messages.
pub(in crate::hub) struct Targets<'r> {
    pub(in crate::hub) slab: &'r mut Slab<ShardSession>,
    pub(in crate::hub) listeners: &'r Listeners,
    /// The sessions that do not receive what they published themselves.
    pub(in crate::hub) apart: &'r [(SessionKey, List)],
    pub(in crate::hub) sample_timers: &'r mut SampleTimers,
}

/// The sessions and streams of one shard.
pub(in crate::hub) struct Sessions {
    shard: u16,
    serial: u64,
    metrics: Arc<Metrics>,
    slab: Slab<ShardSession>,
    streams: FxHashMap<StreamId, Listeners>,
    sample_timers: SampleTimers,
    recipients: Recipients,
    /// How many sessions have a replay.
    replaying: Replaying,
    /// Those of them that read the last page of it, for which live messages are held.
    holders: Holders,
}

impl Sessions {
    pub(in crate::hub) fn new(shard: u16, metrics: Arc<Metrics>) -> Self {
        let (slab, streams, sample_timers) = (Slab::new(), FxHashMap::default(), SampleTimers::default());
        Self {
            shard,
            serial: 0,
            metrics,
            slab,
            streams,
            sample_timers,
            recipients: Recipients::default(),
            replaying: Replaying::default(),
            holders: Holders::default(),
        }
    }

    pub(in crate::hub) fn attach(&mut self, link: Rc<Link>, signals: Rc<Signals>, wire: Wire) -> SessionKey {
        self.serial += 1;
        let serial = self.serial;
        let slot = self.slab.insert(ShardSession::new(serial, link, signals, wire));
        self.metrics.sessions.add(1);
        self.metrics.sessions_opened.add(1);
        SessionKey { shard: self.shard, slot: u32::try_from(slot).expect("fewer than 2^32 sessions"), serial }
    }

    /// Removes all sessions: the shard stops.
    pub(in crate::hub) fn clear(&mut self) {
        let slots: Vec<usize> = self.slab.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.end_subscriptions(slot as u32);
            self.slab.remove(slot);
            self.metrics.sessions.subtract(1);
        }
    }

    pub(in crate::hub) fn detach(&mut self, key: SessionKey) {
        if self.get(key).is_some() {
            self.end_subscriptions(key.slot);
            self.slab.remove(key.slot as usize);
            self.metrics.sessions.subtract(1);
        }
    }

    pub(in crate::hub) fn get(&mut self, key: SessionKey) -> Option<&mut ShardSession> {
        self.slab.get_mut(key.slot as usize).filter(|session| session.serial == key.serial)
    }

    /// A session by its slot; only for slots that were listed in the same turn.
    pub(in crate::hub) fn at(&mut self, slot: u32) -> Option<&mut ShardSession> {
        self.slab.get_mut(slot as usize)
    }

    pub(in crate::hub) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut ShardSession)> {
        self.slab.iter_mut().map(|(slot, session)| (slot as u32, session))
    }

    /// The sessions that receive a group of messages; none without recipients.
    pub(in crate::hub) fn targets(&mut self, group: &Group) -> Option<Targets<'_>> {
        let Self { slab, streams, sample_timers, recipients, .. } = self;
        let own = streams.get(&group.stream);
        let mut spared = group.spared.iter().copied().filter(|key| key.shard == self.shard).peekable();
        if group.selectors.is_none() && spared.peek().is_none() {
            return Some(Targets { slab, listeners: own?, apart: &[], sample_timers });
        }
        let selectors = group.selectors.iter().flat_map(|selectors| selectors.iter());
        // Subscribers of the topic first: a session that is subscribed to a pattern too has the policy chosen for the
        // topic.
        let mut all = own.into_iter().chain(selectors.filter_map(|selector| streams.get(&selector.stream)));
        let first = all.next()?;
        let mut others = all.peekable();
        // A session with a replay is not listed with the topic, but may be with a pattern.
        let is_plain = own.is_some() || self.replaying.get() == 0;
        if others.peek().is_none() && spared.peek().is_none() && is_plain {
            return Some(Targets { slab, listeners: first, apart: &[], sample_timers });
        }
        recipients.gather(group.stream, slab, std::iter::once(first).chain(others), spared);
        Some(Targets { slab, listeners: &recipients.listeners, apart: &recipients.apart, sample_timers })
    }

    /// Ends a subscription to a stream; the session is subscribed again after the replay.
    pub(in crate::hub) fn hold_replay(&mut self, key: SessionKey, subscription: Subscription, replay: Replay) {
        self.unsubscribe(key, subscription.stream);
        let replaying = Rc::clone(&self.replaying);
        match self.get(key).filter(|session| !session.finished && !session.signals.is_ending()) {
            Some(session) => {
                let new = || Box::new(Replays::new(&replaying, key.shard()));
                session.replays.get_or_insert_with(new).hold(subscription, replay);
            }
            None => subscription.audience.leave(key.shard()),
        }
    }

    /// Begins to hold live messages for a replay whose page is being read.
    pub(in crate::hub) fn hold_live(&mut self, key: SessionKey, replay: u64) {
        let replays = self.get(key).and_then(|session| session.replays.as_mut());
        let Some(stream) = replays.and_then(|replays| replays.hold_live(replay)) else { return };
        let Self { slab, holders, .. } = self;
        holders.add(stream, key, |stream, key| {
            let session = slab.get(key.slot as usize).filter(|session| session.serial == key.serial);
            session.is_some_and(|session| session.is_held(stream))
        });
    }

    /// Whether live messages may have to be held for somebody.
    pub(in crate::hub) fn is_holding(&self) -> bool {
        !self.holders.is_empty()
    }

    /// Holds the messages of a group for those who read the last page of its stream's past; each of them is `counted` then.
    pub(in crate::hub) fn hold_back(&mut self, group: &Group, mut counted: impl FnMut(&mut ShardSession)) {
        let Self { slab, holders, .. } = self;
        holders.retain(group.stream, |key| {
            let session = slab.get_mut(key.slot as usize).filter(|session| session.serial == key.serial);
            let Some(session) = session else { return false };
            let replays = session.replays.as_mut();
            let goes_on = replays.is_some_and(|replays| replays.take_live(group.stream, &group.messages, key));
            counted(session);
            goes_on
        });
    }

    /// The sessions that are subscribed to a stream, or will be after a replay. Walks all sessions if any has a replay.
    pub(in crate::hub) fn subscribers(&mut self, stream: StreamId) -> Vec<SessionKey> {
        let Self { shard, slab, streams, replaying, .. } = self;
        let listed = streams.get(&stream).into_iter().flat_map(Listeners::iter).map(|(slot, _)| slot as usize);
        let mut slots: Vec<usize> = listed.collect();
        if replaying.get() > 0 {
            slots.extend(slab.iter().filter(|(_, session)| session.is_replaying(stream)).map(|(slot, _)| slot));
        }
        let key = |slot: usize| SessionKey { shard: *shard, slot: slot as u32, serial: slab[slot].serial };
        slots.into_iter().map(key).collect()
    }

    /// When the next sample is due.
    pub(in crate::hub) fn next_sample(&self) -> Option<Instant> {
        self.sample_timers.next()
    }

    /// Removes the timer of a session's stream that is due.
    pub(in crate::hub) fn pop_due(&mut self, now: Instant) -> Option<(u32, StreamId)> {
        self.sample_timers.pop_due(now)
    }

    /// Subscribes a session, or changes the policy of its subscription. The session is already counted in the audience;
    /// where nothing changes it is counted out again.
    pub(in crate::hub) fn subscribe(&mut self, key: SessionKey, subscription: Subscription) {
        let Subscription { stream, topic, delivery, field, audience } = subscription;
        self.enter(key, stream, SessionSubscription::new(audience, topic, delivery, field));
    }

    /// Subscribes a session to a pattern. It is already counted in the audience; where nothing changes it is counted
    /// out again.
    pub(in crate::hub) fn select(&mut self, key: SessionKey, stream: StreamId, audience: Arc<Audience>) {
        self.enter(key, stream, SessionSubscription::plain(audience));
    }

    fn enter(&mut self, key: SessionKey, stream: StreamId, mut held: SessionSubscription) {
        let slot = key.slot;
        let Some(session) = self.get(key).filter(|session| !session.signals.is_ending()) else {
            held.audience.leave(key.shard());
            return;
        };
        match session.subscriptions.get(&stream) {
            Some(before) if before.delivery() == held.delivery() => {
                held.audience.leave(key.shard());
                // The backlog is sent before the reply.
                return self.catch_up(key, stream);
            }
            Some(_) => self.unsubscribe(key, stream),
            None => {}
        }
        let session = &mut self.slab[slot as usize];
        let list = List::of(held.delivery(), session.wire);
        let slots = self.streams.entry(stream).or_default().list_mut(list);
        held.place = u32::try_from(slots.len()).expect("fewer than 2^32 sessions");
        slots.push(slot);
        session.subscriptions.add(stream, held);
        session.lossy += u32::from(matches!(list, List::Lossy(_)));
        session.patterns += u32::from(stream.kind() == StreamKind::Pattern);
        self.metrics.subscriptions.add(u64::from(stream.kind() != StreamKind::Presence));
    }

    /// Ends a subscription, if there is one, and queues its backlog.
    pub(in crate::hub) fn unsubscribe(&mut self, key: SessionKey, stream: StreamId) {
        self.catch_up(key, stream);
        let Some(session) = self.get(key) else { return };
        session.cancel_replay(stream);
        if let Some(held) = session.subscriptions.remove(&stream) {
            self.release(key.slot, stream, &held);
        }
    }

    fn catch_up(&mut self, key: SessionKey, stream: StreamId) {
        let metrics = Arc::clone(&self.metrics);
        if let Some(session) = self.get(key) {
            session.catch_up_with(stream, &metrics);
        }
    }

    /// Ends all subscriptions of a session.
    pub(in crate::hub) fn end_subscriptions(&mut self, slot: u32) {
        let session = &mut self.slab[slot as usize];
        for (stream, held) in std::mem::take(&mut session.subscriptions).drain() {
            self.release(slot, stream, &held);
        }
        self.slab[slot as usize].clear_backlogs();
    }

    fn release(&mut self, slot: u32, stream: StreamId, held: &SessionSubscription) {
        let session = &mut self.slab[slot as usize];
        let list = List::of(held.delivery(), session.wire);
        session.lossy -= u32::from(matches!(list, List::Lossy(_)));
        session.patterns -= u32::from(stream.kind() == StreamKind::Pattern);
        let listeners = self.streams.get_mut(&stream).expect("a subscription has its list");
        let slots = listeners.list_mut(list);
        slots.swap_remove(held.place as usize);
        if let Some(moved) = slots.get(held.place as usize) {
            let moved = &mut self.slab[*moved as usize];
            moved.subscriptions.get_mut(&stream).expect("a listed session is subscribed").place = held.place;
        }
        if listeners.is_empty() {
            self.streams.remove(&stream);
            // A session with very many subscriptions must not leave their memory behind.
            let (used, room) = (self.streams.len(), self.streams.capacity());
            if room > SPARSE_MIN && used < room / 8 {
                self.streams.shrink_to(2 * used);
            }
        }
        if let Some(at) = held.choice.as_ref().and_then(|choice| choice.timer) {
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
    fn lists_audience_and_gauges_agree_in_any_order_of_leaving() {
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
