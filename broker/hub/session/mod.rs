//! One session as its shard sees it, and what its delivery policies do with messages that its socket does not take. It
//! writes nothing.

pub(super) mod backlog;
pub(super) mod batch;
pub(super) mod conflation_keys;
pub(super) mod in_flight;
pub(super) mod outbox;
pub(super) mod push;
pub(super) mod replay;
pub(super) mod signals;
pub(super) mod subscription;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_protocol::{Delivery, Frame, Gap, Policy};
use rustc_hash::FxBuildHasher;

use self::backlog::{Backlog, NextDelivery};
use self::conflation_keys::ConflationKeys;
use self::outbox::{Chunk, Outbox};
use self::replay::{ReadPage, Replays};
use super::{Audience, FieldPlace, Link, Signals, StreamId, Subscription};
use crate::collections::small_map::SmallMap;
use crate::message::{SharedMessage, Wire};
use crate::metrics::Metrics;
use crate::topic::Topic;

/// How much of one backlog follows at once when the socket takes more, where waiting longer replaces nothing.
const CATCH_UP_BYTES: usize = 64 * 1024;

/// One session.
pub(super) struct ShardSession {
    pub(super) serial: u64,
    pub(super) wire: Wire,
    pub(super) link: Rc<Link>,
    pub(super) signals: Rc<Signals>,
    /// Who it is to the outside, once that is known.
    pub(super) who: Option<rialto_protocol::Member>,
    pub(super) outbox: Outbox,
    /// Since when the socket has taken nothing; none while it takes what it is given.
    pub(super) full_since: Option<Instant>,
    /// Whether the session is in the shard's list of outboxes to flush.
    pub(super) dirty: bool,
    /// Whether the last frame is queued: nothing may follow it.
    pub(super) finished: bool,
    /// What of [`ShardSession::held_bytes`] the shard has counted.
    pub(super) counted_bytes: usize,
    pub(super) subscriptions: SmallMap<StreamId, SessionSubscription, FxBuildHasher>,
    /// How many of them may skip messages when the socket is full.
    pub(super) choosy: u32,
    /// How many of them are those of patterns.
    pub(super) patterns: u32,
    /// Set while the listeners of a group are gathered, so that each is found once.
    pub(super) mark: u64,
    behind: Option<Box<CatchUp>>,
    /// What it still has to be sent of the past.
    pub(super) replays: Option<Box<Replays>>,
}

/// A subscription.
pub(super) struct SessionSubscription {
    pub(super) audience: Arc<Audience>,
    /// Where the session stands in the stream's list.
    pub(super) place: u32,
    /// None for those that get everything.
    pub(super) choice: Option<Box<DeliveryChoice>>,
}

/// What a subscription gets when it does not get everything.
pub(super) struct DeliveryChoice {
    topic: Topic,
    delivery: Delivery,
    /// Held for as long as the subscription.
    _field: Option<FieldPlace>,
    backlog: Option<Backlog>,
    /// Whether the backlog stands in line to be sent when the socket takes more.
    in_line: bool,
    /// When the next sample may be sent.
    due: Option<Instant>,
    /// When the shard looks whether there is something to send.
    pub(super) alarm: Option<Instant>,
}

/// What a session that is behind has to catch up with.
#[derive(Default)]
struct CatchUp {
    /// The streams whose backlogs follow when the socket takes more.
    signals: VecDeque<StreamId>,
    bytes: usize,
}

/// What skipping needs of the shard.
pub(super) struct Tools<'s> {
    pub(super) keys: &'s mut ConflationKeys,
    pub(super) metrics: &'s Metrics,
    pub(super) outbox_bytes: usize,
}

impl SessionSubscription {
    pub(super) fn new(audience: Arc<Audience>, topic: Topic, delivery: Delivery, field: Option<FieldPlace>) -> Self {
        let choice = (delivery != Delivery::Queue).then(|| Box::new(DeliveryChoice::new(topic, delivery, field)));
        Self { audience, place: 0, choice }
    }

    /// A subscription that gets everything.
    pub(super) fn plain(audience: Arc<Audience>) -> Self {
        Self { audience, place: 0, choice: None }
    }

    pub(super) fn delivery(&self) -> &Delivery {
        self.choice.as_ref().map_or(&Delivery::Queue, |choice| &choice.delivery)
    }

    fn skip(&self, messages: usize, metrics: &Metrics) {
        if messages > 0 {
            let policy = self.delivery().policy();
            self.audience.skip(policy, messages);
            metrics.messages_skipped(policy, messages);
        }
    }

    fn backlog_mut(&mut self) -> Option<&mut Backlog> {
        self.choice.as_mut()?.backlog.as_mut()
    }

    fn backlog_bytes(&self) -> usize {
        self.choice.as_ref().and_then(|choice| choice.backlog.as_ref()).map_or(0, Backlog::bytes)
    }
}

impl DeliveryChoice {
    fn new(topic: Topic, delivery: Delivery, field: Option<FieldPlace>) -> Self {
        Self { topic, delivery, _field: field, backlog: None, in_line: false, due: None, alarm: None }
    }

    /// Takes messages in. Gives how many others are skipped for them, or they themselves.
    fn take_in(&mut self, messages: &[SharedMessage], wire: Wire, tools: &mut Tools<'_>) -> usize {
        let Some((last, before)) = messages.split_last() else { return 0 };
        let backlog = self.backlog.get_or_insert_with(|| Backlog::new(messages[0].offset));
        match &self.delivery {
            Delivery::Queue | Delivery::DropOldest => {
                for message in messages {
                    backlog.keep(message.offset, message.frame(wire, tools.metrics).clone());
                }
                0
            }
            Delivery::Latest | Delivery::Sample { .. } => {
                before.iter().for_each(|message| backlog.skip(message.offset));
                before.len() + backlog.keep_only(last.offset, last.frame(wire, tools.metrics).clone())
            }
            Delivery::LatestBy(field) => {
                let keep = |message: &SharedMessage| {
                    let frame = message.frame(wire, tools.metrics).clone();
                    backlog.keep_only_of(tools.keys.of(message, field), message.offset, frame)
                };
                messages.iter().map(keep).sum()
            }
        }
    }

    /// Writes what the session is to be told to its outbox, about `bytes_max` of it. Whether that was everything.
    fn hand_out(&mut self, bytes_max: usize, wire: Wire, outbox: &mut Outbox, metrics: &Metrics) -> bool {
        let Some(backlog) = &mut self.backlog else { return true };
        if backlog.is_settled() {
            return true;
        }
        let topic = &self.topic;
        let messages = backlog.release(bytes_max, |told| {
            let frame = match told {
                NextDelivery::Message(frame) => Some(frame),
                NextDelivery::Gap { from, to, reason } => {
                    let topic = topic.as_str().into();
                    wire.frame(&Frame::Gap(&Gap { topic, from, to, reason }))
                }
            };
            frame.into_iter().for_each(|frame| outbox.push_messages(Chunk::One(frame)));
        });
        metrics.messages_delivered.add(messages as u64);
        let settled = backlog.is_settled();
        match self.delivery {
            // A sample follows the last one, so what came after that must not be forgotten.
            Delivery::Sample { every_ms } => {
                self.due = Some(Instant::now() + Duration::from_millis(every_ms.into()));
            }
            _ if settled => self.backlog = None,
            _ => {}
        }
        settled
    }
}

impl ShardSession {
    pub(super) fn new(serial: u64, link: Rc<Link>, signals: Rc<Signals>, wire: Wire) -> Self {
        Self {
            serial,
            wire,
            link,
            signals,
            who: None,
            outbox: Outbox::default(),
            full_since: None,
            dirty: false,
            finished: false,
            counted_bytes: 0,
            subscriptions: SmallMap::default(),
            choosy: 0,
            patterns: 0,
            mark: 0,
            behind: None,
            replays: None,
        }
    }

    /// What giving the session up would free, roughly: nothing while it keeps up or is being given up already.
    pub(super) fn shed_bytes(&self) -> usize {
        let is_behind = self.full_since.is_some() || self.behind.is_some();
        if is_behind && !self.signals.is_ending() { self.held_bytes() } else { 0 }
    }

    /// Bytes in memory because of what waits for this session.
    pub(super) fn held_bytes(&self) -> usize {
        self.outbox.held_bytes() + self.behind_bytes()
    }

    fn behind_bytes(&self) -> usize {
        self.behind.as_ref().map_or(0, |behind| behind.bytes)
    }

    /// The socket took only a part of what was queued: what may be skipped now waits as its policy says. Gives how many
    /// messages are no longer queued.
    pub(super) fn fall_behind(&mut self, tools: &mut Tools<'_>) -> usize {
        if self.choosy == 0 {
            return 0;
        }
        let subscriptions = &self.subscriptions;
        let may = |stream| subscriptions.get(&stream).is_some_and(|held| held.choice.is_some());
        let mut taken = 0;
        for (stream, messages) in self.outbox.take_back(may) {
            taken += messages.len();
            self.keep(stream, &messages, tools);
        }
        taken
    }

    /// Takes messages of one stream while the socket is full.
    pub(super) fn keep(&mut self, stream: StreamId, messages: &[SharedMessage], tools: &mut Tools<'_>) {
        if self.take_in(stream, messages, tools) {
            self.stand_in_line(stream);
        }
        self.make_room(stream, tools);
    }

    /// Takes the messages that a subscription is sampled from. The session may have something to write then; gives when
    /// the shard must look again.
    pub(super) fn sample(
        &mut self,
        stream: StreamId,
        messages: &[SharedMessage],
        tools: &mut Tools<'_>,
    ) -> Option<Instant> {
        if !self.take_in(stream, messages, tools) {
            return None;
        }
        self.make_room(stream, tools);
        let choice = self.subscriptions.get_mut(&stream)?.choice.as_deref_mut()?;
        if choice.alarm.is_some() {
            return None;
        }
        choice.alarm = choice.due.filter(|due| *due > Instant::now());
        if choice.alarm.is_none() {
            self.send_sample(stream, tools.metrics);
            return None;
        }
        choice.alarm
    }

    /// The time of a sample has come.
    pub(super) fn alarm_rang(&mut self, stream: StreamId, metrics: &Metrics) {
        if let Some(choice) = self.subscriptions.get_mut(&stream).and_then(|held| held.choice.as_mut()) {
            choice.alarm = None;
            self.send_sample(stream, metrics);
        }
    }

    fn send_sample(&mut self, stream: StreamId, metrics: &Metrics) {
        if self.full_since.is_some() {
            self.stand_in_line(stream);
        } else {
            self.hand_out(stream, usize::MAX, metrics);
        }
    }

    /// Queues more of what the session is behind with. False when it is behind with nothing.
    pub(super) fn catch_up(&mut self, metrics: &Metrics) -> bool {
        let Some(behind) = &mut self.behind else { return false };
        let Some(stream) = behind.signals.pop_front() else {
            if behind.bytes == 0 {
                self.behind = None;
            }
            return false;
        };
        let Some(choice) = self.subscriptions.get_mut(&stream).and_then(|held| held.choice.as_mut()) else {
            return true;
        };
        choice.in_line = false;
        // Where later messages replace earlier ones all that waits follows at once, so that each has its turn, however often
        // the others change.
        let bytes_max = if choice.delivery.policy() == Policy::DropOldest { CATCH_UP_BYTES } else { usize::MAX };
        if !self.hand_out(stream, bytes_max, metrics) {
            self.stand_in_line(stream);
        }
        true
    }

    /// Whether the past of a stream is on its way to the session.
    pub(super) fn is_replaying(&self, stream: StreamId) -> bool {
        self.replays.as_ref().is_some_and(|replays| replays.has(stream))
    }

    /// The next page of the past to be requested: none while one is on its way.
    pub(super) fn next_page(&mut self) -> Option<ReadPage> {
        self.replays.as_mut()?.next_page()
    }

    /// Queues a page of the past.
    pub(super) fn queue_page(&mut self, gap: Option<Gap>, messages: &[SharedMessage], metrics: &Metrics) {
        if let Some(frame) = gap.and_then(|gap| self.wire.frame(&Frame::Gap(&gap))) {
            self.outbox.push_messages(Chunk::One(frame));
        }
        for message in messages {
            self.outbox.push_messages(Chunk::One(message.frame(self.wire, metrics).clone()));
        }
        metrics.messages_delivered.add(messages.len() as u64);
    }

    /// Lets a subscription change the policy of the replay of its stream, and returns it if there is none.
    pub(super) fn change_policy(&mut self, subscription: Subscription) -> Option<Subscription> {
        match &mut self.replays {
            Some(replays) => replays.change_policy(subscription),
            None => Some(subscription),
        }
    }

    /// The last page of a replay has come. Returns the subscription that takes effect.
    pub(super) fn finish_replay(&mut self, id: u64) -> Option<Subscription> {
        let subscription = self.replays.as_mut()?.finish(id);
        self.forget_replays_if_done();
        subscription
    }

    /// Gives up the replay of a stream.
    pub(super) fn give_up_replay(&mut self, stream: StreamId) {
        if let Some(replays) = &mut self.replays {
            replays.give_up(stream);
            self.forget_replays_if_done();
        }
    }

    fn forget_replays_if_done(&mut self) {
        if self.replays.as_ref().is_some_and(|replays| replays.is_empty()) {
            self.replays = None;
        }
    }

    /// Queues everything that a subscription is behind with.
    pub(super) fn catch_up_with(&mut self, stream: StreamId, metrics: &Metrics) {
        self.hand_out(stream, usize::MAX, metrics);
        if let Some(behind) = &mut self.behind {
            behind.signals.retain(|other| *other != stream);
        }
        if let Some(choice) = self.subscriptions.get_mut(&stream).and_then(|held| held.choice.as_mut()) {
            choice.in_line = false;
        }
    }

    /// Queues everything that the session is behind with.
    pub(super) fn catch_up_entirely(&mut self, metrics: &Metrics) {
        let streams: Vec<StreamId> = self.subscriptions.keys().copied().collect();
        for stream in streams {
            self.hand_out(stream, usize::MAX, metrics);
        }
        self.behind = None;
    }

    /// Gives up every message that its policy may skip. Whether there was any.
    pub(super) fn give_way(&mut self, metrics: &Metrics) -> bool {
        let streams: Vec<StreamId> = self.subscriptions.keys().copied().collect();
        let gone: usize = streams.into_iter().map(|stream| self.give_up(stream, metrics)).sum();
        gone > 0
    }

    /// Forgets what the session is behind with. To be called when its subscriptions have ended.
    pub(super) fn forget_behind(&mut self) {
        self.choosy = 0;
        self.behind = None;
        self.replays = None;
    }

    /// Takes messages in. Whether there is anything now that the session is to be told.
    fn take_in(&mut self, stream: StreamId, messages: &[SharedMessage], tools: &mut Tools<'_>) -> bool {
        let wire = self.wire;
        self.behind.get_or_insert_default();
        let taken = self.change(stream, |held, _| {
            let skipped = held.choice.as_mut()?.take_in(messages, wire, tools);
            held.skip(skipped, tools.metrics);
            Some(!messages.is_empty())
        });
        taken.unwrap_or(false)
    }

    /// Does something to what a subscription is behind with, and keeps the sum of all such bytes.
    fn change<T>(
        &mut self,
        stream: StreamId,
        change: impl FnOnce(&mut SessionSubscription, &mut Outbox) -> Option<T>,
    ) -> Option<T> {
        let held = self.subscriptions.get_mut(&stream)?;
        let before = held.backlog_bytes();
        let changed = change(held, &mut self.outbox);
        if let Some(behind) = &mut self.behind {
            behind.bytes = behind.bytes - before + held.backlog_bytes();
        }
        changed
    }

    fn stand_in_line(&mut self, stream: StreamId) {
        let Some(choice) = self.subscriptions.get_mut(&stream).and_then(|held| held.choice.as_mut()) else { return };
        if !choice.in_line {
            choice.in_line = true;
            self.behind.get_or_insert_default().signals.push_back(stream);
        }
    }

    /// Queues what a subscription is behind with. Whether that was everything.
    fn hand_out(&mut self, stream: StreamId, bytes_max: usize, metrics: &Metrics) -> bool {
        let wire = self.wire;
        let settled =
            self.change(stream, |held, outbox| Some(held.choice.as_mut()?.hand_out(bytes_max, wire, outbox, metrics)));
        settled.unwrap_or(true)
    }

    /// Skips messages until no more wait than may: the oldest of the stream that has just got some, then what has waited
    /// longest.
    fn make_room(&mut self, stream: StreamId, tools: &Tools<'_>) {
        while self.outbox.message_bytes() + self.behind_bytes() > tools.outbox_bytes {
            if self.give_up_oldest(stream, tools.metrics) {
                continue;
            }
            let own = self.subscriptions.get(&stream).map_or(0, SessionSubscription::backlog_bytes);
            let other = if self.behind_bytes() > own { self.longest_behind(Some(stream)) } else { None };
            if self.give_up(other.unwrap_or(stream), tools.metrics) == 0 {
                return;
            }
        }
    }

    /// Skips what has waited longest until no more waits than may, because messages that may not be skipped need the room.
    pub(super) fn make_room_for_queue(&mut self, outbox_bytes: usize, metrics: &Metrics) {
        while self.behind_bytes() > 0 && self.outbox.message_bytes() + self.behind_bytes() > outbox_bytes {
            let Some(stream) = self.longest_behind(None) else { return };
            self.give_up(stream, metrics);
        }
    }

    /// The stream, other than `own`, with messages that have waited longest.
    fn longest_behind(&mut self, own: Option<StreamId>) -> Option<StreamId> {
        let subscriptions = &self.subscriptions;
        let waits = |other: &StreamId| {
            Some(*other) != own && subscriptions.get(other).is_some_and(|held| held.backlog_bytes() > 0)
        };
        if let Some(behind) = &mut self.behind
            && let Some(place) = behind.signals.iter().position(waits)
        {
            // Those before it have only gaps to tell, and can do so later: so they are not looked at again and again.
            behind.signals.rotate_left(place);
            return behind.signals.front().copied();
        }
        self.subscriptions.keys().copied().find(|other| waits(other))
    }

    /// Skips the oldest message of a stream, if it is not the only one.
    fn give_up_oldest(&mut self, stream: StreamId, metrics: &Metrics) -> bool {
        let gone = self.change(stream, |held, _| {
            let backlog = held.backlog_mut().filter(|backlog| backlog.messages() > 1)?;
            let gone = backlog.give_way();
            held.skip(usize::from(gone), metrics);
            Some(gone)
        });
        gone.unwrap_or(false)
    }

    /// Skips everything that waits of a stream. Gives how many messages that were.
    fn give_up(&mut self, stream: StreamId, metrics: &Metrics) -> usize {
        let gone = self.change(stream, |held, _| {
            let gone = held.backlog_mut()?.give_way_entirely();
            held.skip(gone, metrics);
            Some(gone)
        });
        gone.unwrap_or(0)
    }
}
