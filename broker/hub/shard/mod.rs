//! A shard: one thread that owns its sessions and writes to their sockets itself. A delivery wakes no task.

pub(super) mod eviction;
pub(super) mod fanout;
pub(super) mod holders;
pub(super) mod inbox;
pub(super) mod listeners;
pub(super) mod liveness;
pub(super) mod recipients;
pub(super) mod removal;
pub(super) mod sample_timers;
pub(super) mod sampling;
pub(super) mod sessions;
pub(super) mod shedding;
pub(super) mod subscribe;
#[cfg(test)]
pub(super) mod tests;
pub(super) mod turn;
pub(super) mod writing;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use rialto_protocol::Closing;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use self::fanout::{Fanout, mark_dirty};
use self::inbox::Inbox;
use self::listeners::Listeners;
use self::sessions::{Sessions, Targets};
use self::turn::TurnMessages;
use super::budget::Budget;
use super::session::batch::Batch;
use super::session::conflation_keys::ConflationKeys;
use super::session::outbox::Chunk;
use super::session::{DeliveryContext, ShardSession};
use super::work::{self, WORK_AT_ONCE};
use super::{Command, Ending, HubLimits, Link, Push, SessionKey, Signals, StreamKind};
use crate::message::Wire;
use crate::metrics::Metrics;
use crate::supervision;

/// The state of one shard, used on its own thread only.
pub(crate) struct Shard {
    pub(super) index: usize,
    limits: Cell<HubLimits>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) budget: Arc<Budget>,
    pub(super) sessions: RefCell<Sessions>,
    pub(super) dirty: RefCell<Vec<u32>>,
    turn_messages: RefCell<TurnMessages>,
    pub(super) turn: RefCell<Turn>,
    pub(super) tally: Tally,
    /// Notified when the next sample is due earlier than before.
    pub(super) timer_changed: Notify,
    /// Set when all sessions have to end; later ones end at once.
    closing: RefCell<Option<Closing>>,
    /// When its time began.
    pub(super) begun: Instant,
}

/// State that lasts for one turn.
#[derive(Default)]
pub(super) struct Turn {
    /// Batches whose messages may be taken back into a backlog.
    pub(super) batches: Vec<Rc<Batch>>,
    pub(super) keys: ConflationKeys,
}

/// What was added to outboxes and removed from them in a turn; counted at its end.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) grown: Cell<usize>,
    pub(super) shrunk: Cell<usize>,
    pub(super) largest: Cell<usize>,
    pub(super) delivered: Cell<usize>,
}

/// Starts a shard's thread.
pub(super) fn spawn(
    index: usize,
    limits: HubLimits,
    inbox: Arc<Inbox>,
    budget: Arc<Budget>,
    metrics: Arc<Metrics>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    std::thread::Builder::new().name(format!("rialto-shard-{index}")).spawn(move || {
        // Dropped last, also when the thread panics.
        let _close = CloseInbox { inbox: Arc::clone(&inbox), metrics: Arc::clone(&metrics) };
        let shard = Rc::new(Shard::new(index, limits, budget, metrics));
        let tasks = LocalSet::new();
        tasks.spawn_local(Rc::clone(&shard).watch());
        tasks.spawn_local(Rc::clone(&shard).send_samples());
        tasks.spawn_local(Rc::clone(&shard).shed_on_request());
        // When this returns, all tasks that are left are dropped, and with them their sockets.
        tasks.block_on(&runtime, Rc::clone(&shard).work(&inbox));
        shard.sessions.borrow_mut().clear();
    })
}

/// Closes the inbox of a shard that has stopped, so that no publisher waits for it.
struct CloseInbox {
    inbox: Arc<Inbox>,
    metrics: Arc<Metrics>,
}

impl Drop for CloseInbox {
    fn drop(&mut self) {
        self.inbox.closed();
        if std::thread::panicking() {
            supervision::tell("rialto-shard", &self.metrics);
        }
    }
}

impl Shard {
    pub(super) fn new(index: usize, limits: HubLimits, budget: Arc<Budget>, metrics: Arc<Metrics>) -> Self {
        let number = u16::try_from(index).expect("the configuration bounds the number of shards");
        Self {
            index,
            limits: Cell::new(limits),
            sessions: RefCell::new(Sessions::new(number, Arc::clone(&metrics))),
            metrics,
            budget,
            dirty: RefCell::default(),
            turn_messages: RefCell::default(),
            turn: RefCell::default(),
            tally: Tally::default(),
            timer_changed: Notify::new(),
            closing: RefCell::default(),
            begun: Instant::now(),
        }
    }

    /// Carries out the commands of the inbox turn by turn, until the command to stop.
    async fn work(self: Rc<Self>, inbox: &Inbox) {
        let mut commands = VecDeque::new();
        let mut batch = Vec::with_capacity(WORK_AT_ONCE);
        loop {
            if commands.is_empty() {
                inbox.take(&mut commands).await;
            }
            let mut units = 0;
            while units < WORK_AT_ONCE
                && let Some(command) = commands.pop_front()
            {
                units += command.work();
                batch.push(command);
            }
            let count = batch.len();
            let messages = batch.iter().filter(|command| matches!(command, Command::Deliver { .. })).count();
            let go_on = self.at_once(|| {
                work::add(units);
                self.turn(&mut batch)
            });
            inbox.taken(count, messages);
            if !go_on {
                return;
            }
            // Sessions read between two turns; what they publish makes the next batch larger.
            tokio::task::yield_now().await;
        }
    }

    /// Carries out commands and writes once to each session with something to write. Returns false after the command to
    /// stop.
    pub(super) fn turn(self: &Rc<Self>, batch: &mut Vec<Command>) -> bool {
        let mut go_on = true;
        for command in batch.drain(..) {
            match command {
                Command::Deliver { message, selectors } => self.turn_messages.borrow_mut().add(message, selectors),
                Command::Push { session: key, push } => self.push(key, push),
                Command::Subscribe { session: key, subscribe } => self.subscribe(key, *subscribe),
                Command::Start { session: key, start } => self.start(key, *start),
                Command::HoldLive { session: key, replay } => self.hold_live(key, replay),
                Command::Page { session: key, replay, page } => self.take_page(key, replay, *page),
                Command::Select { session: key, stream, audience } => {
                    self.deliver();
                    self.queue(key, |sessions| sessions.select(key, stream, audience));
                }
                Command::Unsubscribe { session: key, stream } => {
                    self.leave_stream(key, stream);
                    if stream.kind() == StreamKind::Topic {
                        self.leave_stream(key, stream.presence());
                    }
                }
                Command::EndSubscriber { session: key, stream, ended } => self.end_subscriber(key, stream, *ended),
                Command::EndStream { stream, ended } => self.end_stream(stream, *ended),
                Command::Remove(removed) => self.remove(&removed),
                Command::CloseAll(closing) => self.close_all(closing),
                Command::Run(work) => work(self),
                Command::Stop => go_on = false,
            }
        }
        self.deliver();
        self.flush_dirty();
        go_on
    }

    fn close_all(&self, closing: Closing) {
        self.deliver();
        for (_, session) in self.sessions.borrow_mut().iter_mut() {
            session.signals.end(Ending::Drained(closing.clone()));
        }
        *self.closing.borrow_mut() = Some(closing);
    }

    /// Appends the messages of this turn to the outboxes of their recipients, encoded once per stream and wire format.
    pub(super) fn deliver(&self) {
        let turn_messages = &mut *self.turn_messages.borrow_mut();
        let sessions = &mut *self.sessions.borrow_mut();
        let dirty = &mut *self.dirty.borrow_mut();
        let Turn { batches, keys } = &mut *self.turn.borrow_mut();
        let context = &mut self.delivery_context(keys);
        let mut delivered = 0;
        for group in turn_messages.groups() {
            if sessions.is_holding() {
                sessions.hold_back(group, |session| self.count(Some(session)));
            }
            let Some(Targets { slab, listeners, apart, sample_timers }) = sessions.targets(group) else {
                continue;
            };
            let mut fanout = Fanout { group, slab, listeners, dirty, batches, context };
            let (queued, mut first) = fanout.deliver(sample_timers);
            delivered += queued;
            for (key, list) in apart {
                let (group, listeners) = (&group.without(*key), &Listeners::only(key.slot, *list));
                let mut fanout = Fanout { group, slab, listeners, dirty, batches, context };
                let (queued, is_next_too) = fanout.deliver(sample_timers);
                delivered += queued;
                first |= is_next_too;
            }
            if first {
                self.timer_changed.notify_one();
            }
        }
        self.tally.delivered.set(self.tally.delivered.get() + delivered);
        turn_messages.clear();
    }

    /// Writes once to each session with something to write.
    pub(super) fn flush_dirty(&self) {
        let mut dirty = self.dirty.take();
        {
            let sessions = &mut *self.sessions.borrow_mut();
            for slot in dirty.drain(..) {
                let Some(session) = sessions.at(slot) else { continue };
                session.dirty = false;
                if self.flush(session) {
                    sessions.end_subscriptions(slot);
                    self.count(sessions.at(slot));
                }
            }
        }
        // Put the list back, so that its memory is reused.
        *self.dirty.borrow_mut() = dirty;
        let turn = &mut *self.turn.borrow_mut();
        turn.batches.drain(..).for_each(|batch| batch.drop_messages());
        turn.keys.clear();
        self.metrics.messages_delivered.add(self.tally.delivered.take() as u64);
        self.update_budget();
    }

    /// Does something at one go, and counts it.
    pub(crate) fn at_once<T>(&self, work: impl FnOnce() -> T) -> T {
        work::at_once(&self.metrics, work)
    }

    /// The limits of its sessions.
    pub(crate) fn limits(&self) -> HubLimits {
        self.limits.get()
    }

    /// Applies other limits.
    pub(super) fn set_limits(&self, limits: HubLimits) {
        self.limits.set(limits);
    }

    pub(super) fn delivery_context<'s>(&'s self, keys: &'s mut ConflationKeys) -> DeliveryContext<'s> {
        DeliveryContext { keys, metrics: &self.metrics, outbox_bytes: self.limits.get().outbox_bytes }
    }

    pub(super) fn push(&self, key: SessionKey, push: Push) {
        let mut sessions = self.sessions.borrow_mut();
        let Some(session) = sessions.get(key).filter(|session| !session.finished) else { return };
        let Some(frame) = push.encode(session.wire) else { return };
        if push.keeps_order() {
            drop(sessions);
            self.flush_before(key, |session| session.lossy > 0);
            self.queue(key, |sessions| {
                if let Some(session) = sessions.get(key) {
                    session.outbox.push_messages(Chunk::One(frame));
                }
            });
        } else {
            session.outbox.push_control(frame);
            mark_dirty(session, key.slot, &mut self.dirty.borrow_mut());
        }
        drop(push.in_flight);
    }

    /// Delivers the messages of this turn, so that what follows is queued after them. Where it `concerns` messages that
    /// may be skipped, also writes them, so that no policy skips messages from before it.
    pub(super) fn flush_before(&self, key: SessionKey, concerns: impl FnOnce(&ShardSession) -> bool) {
        self.deliver();
        let sessions = &mut *self.sessions.borrow_mut();
        let Some(session) = sessions.get(key) else { return };
        if concerns(session) && self.flush(session) {
            sessions.end_subscriptions(key.slot);
        }
    }

    /// Runs `queue`, after which the session may have something to write.
    fn queue(&self, key: SessionKey, queue: impl FnOnce(&mut Sessions)) {
        let sessions = &mut *self.sessions.borrow_mut();
        queue(sessions);
        if let Some(session) = sessions.get(key) {
            mark_dirty(session, key.slot, &mut self.dirty.borrow_mut());
        }
    }

    /// Adds a session for a connection.
    pub(crate) fn attach(&self, link: Rc<Link>, wire: Wire) -> (SessionKey, Rc<Signals>) {
        let signals = Rc::new(Signals::new(Instant::now()));
        let key = self.sessions.borrow_mut().attach(link, Rc::clone(&signals), wire);
        if let Some(closing) = &*self.closing.borrow() {
            signals.end(Ending::Drained(closing.clone()));
        }
        (key, signals)
    }

    /// Removes a session: its subscriptions end, its key becomes invalid.
    pub(crate) fn detach(&self, key: SessionKey) {
        if let Some(session) = self.sessions.borrow_mut().get(key) {
            let counted_bytes = std::mem::take(&mut session.counted_bytes);
            self.tally.shrunk.set(self.tally.shrunk.get() + counted_bytes);
        }
        self.update_budget();
        self.sessions.borrow_mut().detach(key);
    }
}
