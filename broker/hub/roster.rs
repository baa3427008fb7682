//! A shard's sessions and who of them is subscribed to what. It writes nothing and does not wait.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rialto_protocol::Codec;
use rustc_hash::FxHashMap;
use slab::Slab;

use super::outbox::Outbox;
use super::{Audience, Line, Link, SessionKey, Subscription};
use crate::metrics::Metrics;

/// One session as its shard sees it.
pub(super) struct Member {
    pub(super) serial: u64,
    pub(super) codec: Codec,
    pub(super) link: Rc<Link>,
    pub(super) line: Rc<Line>,
    pub(super) outbox: Outbox,
    /// Since when the socket has taken nothing; none while it takes what it is given.
    pub(super) full_since: Option<Instant>,
    /// Whether the session is in the shard's list of outboxes to flush.
    pub(super) dirty: bool,
    /// Whether the last frame is queued: nothing may follow it.
    pub(super) finished: bool,
    subscriptions: FxHashMap<u64, Held>,
}

struct Held {
    audience: Arc<Audience>,
    /// Where the session stands in the stream's list.
    place: u32,
}

/// The sessions and streams of one shard.
pub(super) struct Roster {
    shard: u16,
    serial: u64,
    metrics: Arc<Metrics>,
    members: Slab<Member>,
    /// The slots subscribed to each stream, apart by codec so that a delivery is one plain loop.
    streams: FxHashMap<u64, [Vec<u32>; 2]>,
}

impl Roster {
    pub(super) fn new(shard: u16, metrics: Arc<Metrics>) -> Self {
        Self { shard, serial: 0, metrics, members: Slab::new(), streams: FxHashMap::default() }
    }

    pub(super) fn attach(&mut self, link: Rc<Link>, line: Rc<Line>, codec: Codec) -> SessionKey {
        self.serial += 1;
        let serial = self.serial;
        let slot = self.members.insert(Member {
            serial,
            codec,
            link,
            line,
            outbox: Outbox::default(),
            full_since: None,
            dirty: false,
            finished: false,
            subscriptions: FxHashMap::default(),
        });
        self.metrics.sessions.add(1);
        self.metrics.sessions_opened.add(1);
        SessionKey { shard: self.shard, slot: u32::try_from(slot).expect("fewer than 2^32 sessions"), serial }
    }

    /// Forgets all sessions: the shard ends.
    pub(super) fn clear(&mut self) {
        let slots: Vec<usize> = self.members.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.silence(slot as u32);
            self.members.remove(slot);
            self.metrics.sessions.subtract(1);
        }
    }

    pub(super) fn detach(&mut self, key: SessionKey) {
        if self.get(key).is_some() {
            self.silence(key.slot);
            self.members.remove(key.slot as usize);
            self.metrics.sessions.subtract(1);
        }
    }

    pub(super) fn get(&mut self, key: SessionKey) -> Option<&mut Member> {
        self.members.get_mut(key.slot as usize).filter(|member| member.serial == key.serial)
    }

    /// A member by its place; only for slots that were noted within the same turn.
    pub(super) fn at(&mut self, slot: u32) -> Option<&mut Member> {
        self.members.get_mut(slot as usize)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Member)> {
        self.members.iter_mut().map(|(slot, member)| (slot as u32, member))
    }

    /// The members, and the slots subscribed to a stream by codec.
    pub(super) fn audience(&mut self, stream: u64) -> Option<(&mut Slab<Member>, &[Vec<u32>; 2])> {
        let slots = self.streams.get(&stream)?;
        Some((&mut self.members, slots))
    }

    /// Lets a session in. It was counted in the audience already; that is undone where it changes nothing.
    pub(super) fn subscribe(&mut self, key: SessionKey, subscription: Subscription) {
        let Subscription { stream, audience } = subscription;
        let slot = key.slot;
        let Some(member) = self.get(key).filter(|member| !member.line.is_ending()) else {
            audience.leave(key.shard());
            return;
        };
        if member.subscriptions.contains_key(&stream) {
            audience.leave(key.shard());
            return;
        }
        let codec = member.codec.index();
        let slots = &mut self.streams.entry(stream).or_default()[codec];
        let place = u32::try_from(slots.len()).expect("fewer than 2^32 sessions");
        slots.push(slot);
        self.members[slot as usize].subscriptions.insert(stream, Held { audience, place });
        self.metrics.subscriptions.add(1);
    }

    /// Lets a session out, if it is in.
    pub(super) fn unsubscribe(&mut self, key: SessionKey, stream: u64) {
        let Some(member) = self.get(key) else { return };
        let codec = member.codec.index();
        if let Some(held) = member.subscriptions.remove(&stream) {
            self.release(stream, codec, &held);
        }
    }

    /// Ends all subscriptions of a session.
    pub(super) fn silence(&mut self, slot: u32) {
        let member = &mut self.members[slot as usize];
        let codec = member.codec.index();
        for (stream, held) in std::mem::take(&mut member.subscriptions) {
            self.release(stream, codec, &held);
        }
    }

    fn release(&mut self, stream: u64, codec: usize, held: &Held) {
        let lists = self.streams.get_mut(&stream).expect("a subscription has its list");
        let slots = &mut lists[codec];
        slots.swap_remove(held.place as usize);
        if let Some(moved) = slots.get(held.place as usize) {
            let moved = &mut self.members[*moved as usize];
            moved.subscriptions.get_mut(&stream).expect("who is listed is subscribed").place = held.place;
        }
        if lists.iter().all(Vec::is_empty) {
            self.streams.remove(&stream);
        }
        held.audience.leave(self.shard.into());
        self.metrics.subscriptions.subtract(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_audience_and_gauges_agree_whatever_order_sessions_leave_in() {
        let metrics = Arc::new(Metrics::default());
        let audience = Arc::new(Audience::new(1));
        let mut roster = Roster::new(0, Arc::clone(&metrics));
        let mut keys = Vec::new();
        for index in 0..10 {
            let (stream, _) = tokio::io::duplex(64);
            let link = Rc::new(Link::other(Box::new(stream)));
            let codec = Codec::ALL[index % 2];
            keys.push(roster.attach(link, Rc::new(Line::new(Instant::now())), codec));
        }
        for stream in [1, 2] {
            for key in &keys {
                for _ in 0..2 {
                    audience.enter(0);
                    roster.subscribe(*key, Subscription { stream, audience: Arc::clone(&audience) });
                }
            }
        }
        assert_eq!(metrics.snapshot().subscriptions, 20);
        for (index, key) in [0, 9, 4, 5, 2, 1, 8, 3, 6, 7].into_iter().map(|index| (index, keys[index])) {
            if index % 3 == 0 {
                roster.unsubscribe(key, 1);
            }
            roster.detach(key);
            assert!(roster.get(key).is_none());
        }
        assert!(audience.is_empty());
        assert!(roster.streams.is_empty());
        assert_eq!((metrics.snapshot().subscriptions, metrics.snapshot().sessions), (0, 0));
    }
}
