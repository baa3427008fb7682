//! One session on its shard: its outbox, its subscriptions, and the delivery policies for a slow consumer. It writes
//! nothing.

pub(super) mod backlog;
pub(super) mod batch;
pub(super) mod conflation_keys;
pub(super) mod in_flight;
pub(super) mod live_buffer;
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
use self::live_buffer::LiveBuffer;
use self::outbox::{Chunk, Outbox};
use self::replay::{ReadPage, Replays};
use super::{Audience, FieldPlace, Link, Signals, StreamId, Subscription};
use crate::collections::small_map::SmallMap;
use crate::message::{SharedMessage, Wire, removed_gap};
use crate::metrics::Metrics;
use crate::topic::Topic;

/// How much of a `drop_oldest` backlog is queued at once when the socket is writable again.
const CATCH_UP_BYTES: usize = 64 * 1024;

/// One session.
pub(super) struct ShardSession {
    pub(super) serial: u64,
    pub(super) wire: Wire,
    pub(super) link: Rc<Link>,
    pub(super) signals: Rc<Signals>,
    /// By what it is found, once that is known.
    pub(super) who: Option<SessionName>,
    pub(super) outbox: Outbox,
    /// Since when the socket has not been writable; none while it is.
    pub(super) full_since: Option<Instant>,
    /// Whether the session is in the shard's list of outboxes to flush.
    pub(super) dirty: bool,
    /// Whether the last frame is queued; nothing may follow it.
    pub(super) finished: bool,
    /// The part of [`ShardSession::held_bytes`] that the shard has counted.
    pub(super) counted_bytes: usize,
    pub(super) subscriptions: SmallMap<StreamId, SessionSubscription, FxBuildHasher>,
    /// How many of the subscriptions may skip messages when the socket is full.
    pub(super) lossy: u32,
    /// How many of the subscriptions are to patterns.
    pub(super) patterns: u32,
    /// Marks the session while the recipients of a group are collected, so that each is listed once.
    pub(super) mark: u64,
    behind: Option<Box<CatchUp>>,
    /// Its replays of missed messages.
    pub(super) replays: Option<Box<Replays>>,
}

/// By what a session is found.
pub(super) struct SessionName {
    pub(super) id: Arc<str>,
    pub(super) user: Option<Arc<str>>,
}

/// A subscription.
pub(super) struct SessionSubscription {
    pub(super) audience: Arc<Audience>,
    /// The index of the session in the stream's list.
    pub(super) place: u32,
    /// None for the policy `queue`, which skips nothing.
    pub(super) choice: Option<Box<DeliveryChoice>>,
}

/// The delivery policy of a subscription that may skip messages, and its backlog.
pub(super) struct DeliveryChoice {
    topic: Topic,
    delivery: Delivery,
    /// The reservation of the field, held as long as the subscription.
    _field: Option<FieldPlace>,
    backlog: Option<Backlog>,
    /// Whether the stream is in the queue of backlogs to send when the socket is writable again.
    enqueued: bool,
    /// When the next sample may be sent.
    due: Option<Instant>,
    /// When the shard's timer for the next sample fires.
    pub(super) timer: Option<Instant>,
}

/// The backlogs of a session that is behind.
#[derive(Default)]
struct CatchUp {
    /// The streams whose backlogs are sent, in turn, when the socket is writable again.
    queue: VecDeque<StreamId>,
    bytes: usize,
}

/// What delivery policies need of the shard.
pub(super) struct DeliveryContext<'s> {
    pub(super) keys: &'s mut ConflationKeys,
    pub(super) metrics: &'s Metrics,
    pub(super) outbox_bytes: usize,
}

impl SessionSubscription {
    pub(super) fn new(audience: Arc<Audience>, topic: Topic, delivery: Delivery, field: Option<FieldPlace>) -> Self {
        let choice = (delivery != Delivery::Queue).then(|| Box::new(DeliveryChoice::new(topic, delivery, field)));
        Self { audience, place: 0, choice }
    }

    /// A subscription with the policy `queue`.
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
        Self { topic, delivery, _field: field, backlog: None, enqueued: false, due: None, timer: None }
    }

    /// Adds messages to the backlog as the policy says. Returns how many messages are skipped because of that.
    fn accept(&mut self, messages: &[SharedMessage], wire: Wire, context: &mut DeliveryContext<'_>) -> usize {
        let Some((last, before)) = messages.split_last() else { return 0 };
        let backlog = self.backlog.get_or_insert_with(|| Backlog::new(messages[0].offset));
        match &self.delivery {
            Delivery::Queue | Delivery::DropOldest => {
                for message in messages {
                    backlog.keep(message.offset, message.frame(wire, context.metrics).clone());
                }
                0
            }
            Delivery::Latest | Delivery::Sample { .. } => {
                before.iter().for_each(|message| backlog.skip(message.offset));
                before.len() + backlog.keep_only(last.offset, last.frame(wire, context.metrics).clone())
            }
            Delivery::LatestBy(field) => {
                let keep = |message: &SharedMessage| {
                    let frame = message.frame(wire, context.metrics).clone();
                    backlog.keep_only_of(context.keys.of(message, field), message.offset, frame)
                };
                messages.iter().map(keep).sum()
            }
        }
    }

    /// Moves about `bytes_max` of the backlog to the outbox, with its gaps. Returns whether that was everything.
    fn send_backlog(&mut self, bytes_max: usize, wire: Wire, outbox: &mut Outbox, metrics: &Metrics) -> bool {
        let Some(backlog) = &mut self.backlog else { return true };
        if backlog.is_settled() {
            return true;
        }
        let topic = &self.topic;
        let messages = backlog.release(bytes_max, |next| {
            let frame = match next {
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
            // The interval runs from the last sample, so the backlog stays although it is empty.
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
            lossy: 0,
            patterns: 0,
            mark: 0,
            behind: None,
            replays: None,
        }
    }

    /// How much memory shedding would free, roughly: nothing while the session keeps up or is ending.
    pub(super) fn shed_bytes(&self) -> usize {
        let is_behind = self.full_since.is_some() || self.behind.is_some();
        if is_behind && !self.signals.is_ending() { self.held_bytes() } else { 0 }
    }

    /// Bytes of memory of all that waits for this session.
    pub(super) fn held_bytes(&self) -> usize {
        let live_bytes = self.replays.as_ref().map_or(0, |replays| replays.live_bytes());
        self.outbox.held_bytes() + self.behind_bytes() + live_bytes
    }

    fn behind_bytes(&self) -> usize {
        self.behind.as_ref().map_or(0, |behind| behind.bytes)
    }

    /// The socket is full: moves queued messages that may be skipped to the backlogs. Returns how many left the outbox.
    pub(super) fn fall_behind(&mut self, context: &mut DeliveryContext<'_>) -> usize {
        if self.lossy == 0 {
            return 0;
        }
        let subscriptions = &self.subscriptions;
        let may = |stream| subscriptions.get(&stream).is_some_and(|held| held.choice.is_some());
        let mut taken = 0;
        for (stream, messages) in self.outbox.take_back(may) {
            taken += messages.len();
            self.keep(stream, &messages, context);
        }
        taken
    }

    /// Adds messages of one stream to its backlog while the socket is full.
    pub(super) fn keep(&mut self, stream: StreamId, messages: &[SharedMessage], context: &mut DeliveryContext<'_>) {
        if self.accept(stream, messages, context) {
            self.enqueue_catch_up(stream);
        }
        self.make_room(stream, context);
    }

    /// Adds messages to a sampled subscription. The session may have something to write then. Returns when a timer must
    /// fire for it.
    pub(super) fn sample(
        &mut self,
        stream: StreamId,
        messages: &[SharedMessage],
        context: &mut DeliveryContext<'_>,
    ) -> Option<Instant> {
        if !self.accept(stream, messages, context) {
            return None;
        }
        self.make_room(stream, context);
        let choice = self.subscriptions.get_mut(&stream)?.choice.as_deref_mut()?;
        if choice.timer.is_some() {
            return None;
        }
        choice.timer = choice.due.filter(|due| *due > Instant::now());
        if choice.timer.is_none() {
            self.send_sample(stream, context.metrics);
            return None;
        }
        choice.timer
    }

    /// A sample is due.
    pub(super) fn sample_due(&mut self, stream: StreamId, metrics: &Metrics) {
        if let Some(choice) = self.subscriptions.get_mut(&stream).and_then(|held| held.choice.as_mut()) {
            choice.timer = None;
            self.send_sample(stream, metrics);
        }
    }

    fn send_sample(&mut self, stream: StreamId, metrics: &Metrics) {
        if self.full_since.is_some() {
            self.enqueue_catch_up(stream);
        } else {
            self.send_backlog(stream, usize::MAX, metrics);
        }
    }

    /// Queues the next part of the backlogs. Returns false when there is none.
    pub(super) fn catch_up(&mut self, metrics: &Metrics) -> bool {
        let Some(behind) = &mut self.behind else { return false };
        let Some(stream) = behind.queue.pop_front() else {
            if behind.bytes == 0 {
                self.behind = None;
            }
            return false;
        };
        let Some(choice) = self.subscriptions.get_mut(&stream).and_then(|held| held.choice.as_mut()) else {
            return true;
        };
        choice.enqueued = false;
        // Where later messages replace earlier ones the whole backlog is queued at once, so that every key has its
        // turn, however often others change.
        let bytes_max = if choice.delivery.policy() == Policy::DropOldest { CATCH_UP_BYTES } else { usize::MAX };
        if !self.send_backlog(stream, bytes_max, metrics) {
            self.enqueue_catch_up(stream);
        }
        true
    }

    /// Whether a replay of the stream is under way.
    pub(super) fn is_replaying(&self, stream: StreamId) -> bool {
        self.replays.as_ref().is_some_and(|replays| replays.has(stream))
    }

    /// Whether live messages of a stream are held for the session.
    pub(super) fn is_held(&self, stream: StreamId) -> bool {
        self.replays.as_ref().is_some_and(|replays| replays.is_holding(stream))
    }

    /// The next page to be requested: none while another one is under way.
    pub(super) fn next_page(&mut self) -> Option<ReadPage> {
        self.replays.as_mut()?.next_page()
    }

    /// A message was removed: where it waits for this session, a gap takes its place.
    pub(super) fn remove(&mut self, stream: StreamId, topic: &Topic, offset: u64) {
        let Some(gap) = self.wire.frame(&Frame::Gap(&removed_gap(topic, offset))) else { return };
        self.change(stream, |held, _| {
            held.backlog_mut()?.replace(offset, gap);
            Some(())
        });
        if let Some(replays) = &mut self.replays {
            replays.remove(stream, offset);
        }
    }

    /// Queues a page of a replay.
    pub(super) fn queue_page(&mut self, gap: Option<Gap>, messages: &[SharedMessage], metrics: &Metrics) {
        if let Some(frame) = gap.and_then(|gap| self.wire.frame(&Frame::Gap(&gap))) {
            self.outbox.push_messages(Chunk::One(frame));
        }
        for message in messages {
            self.outbox.push_messages(Chunk::One(message.frame(self.wire, metrics).clone()));
        }
        let delivered = messages.iter().filter(|message| !message.is_tombstone()).count();
        metrics.messages_delivered.add(delivered as u64);
    }

    /// Lets a subscription change the policy of the replay of its stream, and returns it if there is none.
    pub(super) fn change_policy(&mut self, subscription: Subscription) -> Option<Subscription> {
        match &mut self.replays {
            Some(replays) => replays.change_policy(subscription),
            None => Some(subscription),
        }
    }

    /// The last page of a replay has arrived. Returns the subscription that takes effect.
    pub(super) fn finish_replay(&mut self, id: u64) -> Option<Subscription> {
        let subscription = self.replays.as_mut()?.finish(id);
        self.forget_replays_if_done();
        subscription
    }

    /// Whether it is subscribed to a stream, or will be after a replay.
    pub(super) fn is_in(&self, stream: StreamId) -> bool {
        self.subscriptions.get(&stream).is_some() || self.replays.as_ref().is_some_and(|replays| replays.has(stream))
    }

    /// Cancels the replay of a stream.
    pub(super) fn cancel_replay(&mut self, stream: StreamId) {
        if let Some(replays) = &mut self.replays {
            replays.give_up(stream);
            self.forget_replays_if_done();
        }
    }

    /// A page has come. Returns whether it is wanted, and what was held while it was read.
    pub(super) fn page_arrived(&mut self, id: u64) -> (bool, Option<LiveBuffer>) {
        let Some(replays) = &mut self.replays else { return (false, None) };
        let is_wanted = replays.arrived(id);
        let live = if is_wanted { replays.release_live() } else { None };
        self.forget_replays_if_done();
        (is_wanted, live)
    }

    fn forget_replays_if_done(&mut self) {
        if self.replays.as_ref().is_some_and(|replays| replays.is_empty()) {
            self.replays = None;
        }
    }

    /// Queues the whole backlog of a subscription.
    pub(super) fn catch_up_with(&mut self, stream: StreamId, metrics: &Metrics) {
        self.send_backlog(stream, usize::MAX, metrics);
        if let Some(behind) = &mut self.behind {
            behind.queue.retain(|other| *other != stream);
        }
        if let Some(choice) = self.subscriptions.get_mut(&stream).and_then(|held| held.choice.as_mut()) {
            choice.enqueued = false;
        }
    }

    /// Queues all backlogs.
    pub(super) fn catch_up_entirely(&mut self, metrics: &Metrics) {
        let streams: Vec<StreamId> = self.subscriptions.keys().copied().collect();
        for stream in streams {
            self.send_backlog(stream, usize::MAX, metrics);
        }
        self.behind = None;
    }

    /// Drops all backlogs. Returns whether a message was dropped.
    pub(super) fn shed_backlogs(&mut self, metrics: &Metrics) -> bool {
        let streams: Vec<StreamId> = self.subscriptions.keys().copied().collect();
        let dropped: usize = streams.into_iter().map(|stream| self.skip_backlog(stream, metrics)).sum();
        dropped > 0
    }

    /// Drops backlogs and replays. To be called when all subscriptions have ended.
    pub(super) fn clear_backlogs(&mut self) {
        self.lossy = 0;
        self.behind = None;
        self.replays = None;
    }

    /// Adds messages to a backlog. Returns whether there is something to send.
    fn accept(&mut self, stream: StreamId, messages: &[SharedMessage], context: &mut DeliveryContext<'_>) -> bool {
        let wire = self.wire;
        self.behind.get_or_insert_default();
        let taken = self.change(stream, |held, _| {
            let skipped = held.choice.as_mut()?.accept(messages, wire, context);
            held.skip(skipped, context.metrics);
            Some(!messages.is_empty())
        });
        taken.unwrap_or(false)
    }

    /// Changes the backlog of a subscription, and updates the sum of all backlogs.
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

    fn enqueue_catch_up(&mut self, stream: StreamId) {
        let Some(choice) = self.subscriptions.get_mut(&stream).and_then(|held| held.choice.as_mut()) else { return };
        if !choice.enqueued {
            choice.enqueued = true;
            self.behind.get_or_insert_default().queue.push_back(stream);
        }
    }

    /// Queues a part of a subscription's backlog. Returns whether that was everything.
    fn send_backlog(&mut self, stream: StreamId, bytes_max: usize, metrics: &Metrics) -> bool {
        let wire = self.wire;
        let settled = self
            .change(stream, |held, outbox| Some(held.choice.as_mut()?.send_backlog(bytes_max, wire, outbox, metrics)));
        settled.unwrap_or(true)
    }

    /// Drops messages until the session is within its outbox limit: first the oldest of the stream that has grown, then the
    /// backlogs that have waited longest.
    fn make_room(&mut self, stream: StreamId, context: &DeliveryContext<'_>) {
        while self.outbox.message_bytes() + self.behind_bytes() > context.outbox_bytes {
            if self.skip_oldest(stream, context.metrics) {
                continue;
            }
            let own = self.subscriptions.get(&stream).map_or(0, SessionSubscription::backlog_bytes);
            let other = if self.behind_bytes() > own { self.longest_behind(Some(stream)) } else { None };
            if self.skip_backlog(other.unwrap_or(stream), context.metrics) == 0 {
                return;
            }
        }
    }

    /// Drops the backlogs that have waited longest until the session is within its outbox limit: messages that may not be
    /// skipped need the room.
    pub(super) fn make_room_for_queue(&mut self, outbox_bytes: usize, metrics: &Metrics) {
        while self.behind_bytes() > 0 && self.outbox.message_bytes() + self.behind_bytes() > outbox_bytes {
            let Some(stream) = self.longest_behind(None) else { return };
            self.skip_backlog(stream, metrics);
        }
    }

    /// The stream, other than `own`, with messages that have waited longest.
    fn longest_behind(&mut self, own: Option<StreamId>) -> Option<StreamId> {
        let subscriptions = &self.subscriptions;
        let waits = |other: &StreamId| {
            Some(*other) != own && subscriptions.get(other).is_some_and(|held| held.backlog_bytes() > 0)
        };
        if let Some(behind) = &mut self.behind
            && let Some(place) = behind.queue.iter().position(waits)
        {
            // Those before it have only gaps to report, which can wait: they are not tested again each time.
            behind.queue.rotate_left(place);
            return behind.queue.front().copied();
        }
        self.subscriptions.keys().copied().find(|other| waits(other))
    }

    /// Drops the oldest message of a backlog, if it is not the only one.
    fn skip_oldest(&mut self, stream: StreamId, metrics: &Metrics) -> bool {
        let dropped = self.change(stream, |held, _| {
            let backlog = held.backlog_mut().filter(|backlog| backlog.messages() > 1)?;
            let dropped = backlog.skip_oldest();
            held.skip(usize::from(dropped), metrics);
            Some(dropped)
        });
        dropped.unwrap_or(false)
    }

    /// Drops the backlog of a stream. Returns how many messages.
    fn skip_backlog(&mut self, stream: StreamId, metrics: &Metrics) -> usize {
        let dropped = self.change(stream, |held, _| {
            let dropped = held.backlog_mut()?.skip_all();
            held.skip(dropped, metrics);
            Some(dropped)
        });
        dropped.unwrap_or(0)
    }
}
