//! The subscriptions of a client: what they asked for, whether this session has them, their positions, and which of them an
//! incoming message is for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_protocol::topic::pattern_matches;
use rialto_protocol::{Delivery, Outcome, Position, Subscribe};

use super::Ticket;
use super::cursor::{Cursor, StartPoint};
use crate::event::Item;
use crate::topic::{Resume, Topic};

/// How many items of a topic are kept before the answer to a bulk subscribe. With more, the topic is asked for again, alone.
const EARLY_MAX: usize = 1_000;

/// How many topics are remembered as quiet.
const QUIET_MAX: usize = 10_000;

/// Names one subscription of the program: one queue, with one or more topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StreamId(pub(crate) u64);

/// Whether the session has a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubscriptionState {
    /// It has to be asked for.
    Idle,
    /// It was asked for. What comes before the answer belongs to other subscriptions.
    Requested,
    /// It was asked for in a list. What comes before the answer may belong to it.
    Buffering,
    /// It is there.
    Active,
    /// The broker asked to wait.
    RetryAt(Instant),
}

/// One topic or pattern.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) stream: StreamId,
    pub(crate) wanted: Topic,
    pub(crate) is_pattern: bool,
    pub(crate) state: SubscriptionState,
    pub(crate) cursor: Cursor,
    /// What the answer that is awaited was asked for.
    pub(crate) start_point: StartPoint,
    /// What came before the answer to a bulk subscribe, as long as it is [`SubscriptionState::Buffering`].
    pub(crate) early: Vec<Item>,
    /// The client publishes here without echo, so that holes are no news.
    pub(crate) is_quiet: bool,
    /// Whether the program has had its first answer.
    pub(crate) was_active: bool,
    /// Distinguishes it from an earlier one of the same name.
    pub(crate) serial: u64,
}

/// A topic that was asked for: its name and serial.
pub(crate) type EntryId = (Arc<str>, u64);

/// The first answers of a subscription, as far as they are there.
#[derive(Debug)]
pub(crate) struct PendingSubscribe {
    pub(crate) ticket: Ticket,
    pub(crate) deadline: Instant,
    pub(crate) within: Duration,
    pub(crate) topics: Vec<(Arc<str>, Option<Outcome>)>,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    entries: HashMap<Arc<str>, Entry>,
    patterns: Vec<Arc<str>>,
    /// How many topics each subscription still has.
    streams: HashMap<StreamId, usize>,
    openings: HashMap<StreamId, PendingSubscribe>,
    /// Topics to which the client publishes without echo, whether it subscribes to them or not.
    quiet: HashSet<String>,
    next_serial: u64,
    /// The earliest of those that were put off.
    later_at: Option<Instant>,
}

impl Subscriptions {
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Adds one; there must be none of this name.
    pub(crate) fn add(&mut self, stream: StreamId, wanted: Topic) {
        let name = Arc::clone(&wanted.name);
        let is_pattern = wanted.is_pattern();
        if is_pattern {
            self.patterns.push(Arc::clone(&name));
        }
        *self.streams.entry(stream).or_default() += 1;
        self.next_serial += 1;
        let serial = self.next_serial;
        let (state, cursor, start_point) = (SubscriptionState::Idle, Cursor::default(), StartPoint::default());
        let (early, is_quiet, was_active) = (Vec::new(), self.quiet.contains(&*name), false);
        let entry =
            Entry { stream, wanted, is_pattern, state, cursor, start_point, early, is_quiet, was_active, serial };
        self.entries.insert(name, entry);
    }

    /// The client publishes to this topic without echo.
    pub(crate) fn quiet(&mut self, topic: &str) {
        if let Some(entry) = self.entries.get_mut(topic) {
            entry.is_quiet = true;
        }
        if !self.quiet.contains(topic) {
            if self.quiet.len() >= QUIET_MAX {
                self.quiet.clear();
            }
            self.quiet.insert(topic.to_owned());
        }
    }

    /// Removes one; returns whether that was the last of its subscription.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let Some(entry) = self.entries.remove(name) else { return false };
        self.patterns.retain(|pattern| **pattern != *name);
        let Some(left) = self.streams.get_mut(&entry.stream) else { return false };
        *left -= 1;
        let is_last = *left == 0;
        if is_last {
            self.streams.remove(&entry.stream);
        }
        is_last
    }

    /// Removes all of a subscription; returns the names of those that the broker may know of.
    pub(crate) fn remove_stream(&mut self, stream: StreamId) -> Vec<Arc<str>> {
        let all: Vec<(Arc<str>, bool)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.stream == stream)
            .map(|(name, entry)| {
                let is_known = !matches!(entry.state, SubscriptionState::Idle | SubscriptionState::RetryAt(_));
                (Arc::clone(name), is_known)
            })
            .collect();
        for (name, _) in &all {
            self.remove(name);
        }
        self.openings.remove(&stream);
        all.into_iter().filter(|(_, is_known)| *is_known).map(|(name, _)| name).collect()
    }

    pub(crate) fn get(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.get_mut(name)
    }

    /// The entry that was asked for, if it is still the same.
    pub(crate) fn asked(&mut self, (name, serial): &EntryId) -> Option<&mut Entry> {
        self.entries.get_mut(name).filter(|entry| entry.serial == *serial)
    }

    /// Whether it was asked for, and nothing that came before the answer is kept.
    pub(crate) fn is_requested(&mut self, asked: &EntryId) -> bool {
        self.asked(asked).is_some_and(|entry| entry.state == SubscriptionState::Requested)
    }

    pub(crate) fn streams(&self) -> Vec<StreamId> {
        self.streams.keys().copied().collect()
    }

    pub(crate) fn begin_opening(&mut self, stream: StreamId, opening: PendingSubscribe) {
        self.openings.insert(stream, opening);
    }

    /// Notes a first answer; returns the opening when it was the last one.
    pub(crate) fn note(&mut self, stream: StreamId, name: &str, outcome: Outcome) -> Option<PendingSubscribe> {
        let opening = self.openings.get_mut(&stream)?;
        if let Some((_, place)) = opening.topics.iter_mut().find(|(topic, _)| **topic == *name) {
            *place = Some(outcome);
        }
        if opening.topics.iter().all(|(_, outcome)| outcome.is_some()) { self.openings.remove(&stream) } else { None }
    }

    /// The openings whose deadline has passed.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<(StreamId, Ticket, Duration)> {
        let overdue = self.openings.iter().filter(|(_, opening)| opening.deadline <= now);
        overdue.map(|(stream, opening)| (*stream, opening.ticket, opening.within)).collect()
    }

    pub(crate) fn take_openings(&mut self) -> Vec<PendingSubscribe> {
        std::mem::take(&mut self.openings).into_values().collect()
    }

    /// The session has ended: no subscription is there any more.
    pub(crate) fn lose(&mut self) {
        for entry in self.entries.values_mut() {
            entry.state = SubscriptionState::Idle;
            entry.early = Vec::new();
        }
        self.later_at = None;
    }

    /// What has to be asked for now, topics before patterns: a pattern's messages are live from when it is there, so whatever
    /// a topic was sent before that is the topic's alone.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Arc<str>> {
        let is_due = |entry: &Entry| match entry.state {
            SubscriptionState::Idle => true,
            SubscriptionState::RetryAt(when) => when <= now,
            SubscriptionState::Requested | SubscriptionState::Buffering | SubscriptionState::Active => false,
        };
        let mut due: Vec<(&Arc<str>, &Entry)> = self.entries.iter().filter(|(_, entry)| is_due(entry)).collect();
        due.sort_by_key(|(_, entry)| (entry.is_pattern, entry.serial));
        let due = due.into_iter().map(|(name, _)| Arc::clone(name)).collect();
        self.later_at = self.entries.values().filter_map(|entry| entry.later().filter(|when| *when > now)).min();
        due
    }

    /// The broker asked to wait with one.
    pub(crate) fn put_off(&mut self, asked: &EntryId, when: Instant) {
        if let Some(entry) = self.asked(asked) {
            entry.state = SubscriptionState::RetryAt(when);
            self.later_at = Some(self.later_at.map_or(when, |at| at.min(when)));
        }
    }

    /// The patterns' subscriptions that a message is for.
    pub(crate) fn selecting<'t>(&'t self, topic: &'t str) -> impl Iterator<Item = StreamId> + 't {
        let selecting = self.patterns.iter().filter(move |pattern| pattern_matches(pattern, topic));
        let there = |entry: &&Entry| entry.state == SubscriptionState::Active;
        selecting.filter_map(move |pattern| self.entries.get(pattern).filter(there)).map(|entry| entry.stream)
    }

    /// When one that was put off is due.
    pub(crate) fn later_at(&self) -> Option<Instant> {
        self.later_at
    }

    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.openings.values().map(|opening| opening.deadline).chain(self.later_at).min()
    }

    /// A subscription goes on under other conditions.
    pub(crate) fn change(&mut self, topic: &str, delivery: Option<Delivery>, presence: bool) {
        if let Some(entry) = self.entries.get_mut(topic) {
            entry.wanted.delivery = delivery;
            entry.wanted.presence = presence;
        }
    }
}

impl Entry {
    /// What to ask the broker for, and what will be made of its answer.
    pub(crate) fn ask(&mut self, in_list: bool) -> (Subscribe<'static>, EntryId) {
        let Topic { name, since, last, delivery, presence, resume } = &self.wanted;
        let known: Option<Position> = self.cursor.position().filter(|_| self.was_active && !self.is_pattern);
        self.start_point = match (known, resume) {
            (Some(position), Resume::Since { last }) => StartPoint { since: Some(position), last: Some(*last) },
            (None, _) if !self.was_active => StartPoint { since: since.clone(), last: *last },
            _ => StartPoint::default(),
        };
        if self.start_point.since.is_none() {
            self.cursor.forget();
        }
        self.early.clear();
        self.state = if in_list { SubscriptionState::Buffering } else { SubscriptionState::Requested };
        let subscribe = Subscribe {
            topic: name.to_string().into(),
            since: self.start_point.since.clone(),
            last: self.start_point.last,
            delivery: delivery.clone(),
            presence: *presence,
        };
        (subscribe, (Arc::clone(name), self.serial))
    }

    fn later(&self) -> Option<Instant> {
        match self.state {
            SubscriptionState::RetryAt(when) => Some(when),
            _ => None,
        }
    }

    /// Keeps what came before the answer to a bulk subscribe. Beyond the bound nothing is kept: the topic is asked for again.
    pub(crate) fn keep_early(&mut self, item: Item) {
        self.early.push(item);
        if self.early.len() > EARLY_MAX {
            self.early = Vec::new();
            self.state = SubscriptionState::Requested;
        }
    }

    /// Whether gaps of the topic are reported to this subscription: at once, or after its answer.
    pub(crate) fn reports_gaps(&self) -> bool {
        matches!(self.state, SubscriptionState::Active | SubscriptionState::Buffering)
    }
}
