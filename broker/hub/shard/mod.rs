//! A shard: one thread that owns its sessions, writes to their sockets itself and wakes nobody per delivery.

pub(super) mod eviction;
pub(super) mod fanout;
pub(super) mod inbox;
pub(super) mod listeners;
pub(super) mod liveness;
pub(super) mod recipients;
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

use self::fanout::{Fanout, note};
use self::inbox::Inbox;
use self::listeners::Listeners;
use self::sessions::{Addressed, Sessions};
use self::turn::TurnMessages;
use super::budget::Budget;
use super::session::batch::Batch;
use super::session::conflation_keys::ConflationKeys;
use super::session::outbox::Chunk;
use super::session::{ShardSession, Tools};
use super::{Command, Ending, HubLimits, Link, Push, SessionKey, Signals, StreamKind};
use crate::message::Wire;
use crate::metrics::Metrics;

/// How many commands a shard takes out of its inbox at once: what bounds the size of one joined buffer.
const BATCH_MAX: usize = 256;

/// The state of one shard, used on its own thread only.
pub(crate) struct Shard {
    pub(super) index: usize,
    pub(super) limits: HubLimits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) budget: Arc<Budget>,
    pub(super) sessions: RefCell<Sessions>,
    pub(super) dirty: RefCell<Vec<u32>>,
    turn_messages: RefCell<TurnMessages>,
    pub(super) turn: RefCell<Turn>,
    pub(super) tally: Tally,
    /// Notified when an alarm is set that rings before all others.
    pub(super) alarm: Notify,
    /// Set when all sessions are told to end; those that come later are told at once.
    closing: RefCell<Option<Closing>>,
}

/// What lives as long as one turn.
#[derive(Default)]
pub(super) struct Turn {
    /// Batches of which messages may be taken back.
    pub(super) batches: Vec<Rc<Batch>>,
    pub(super) keys: ConflationKeys,
}

/// What outboxes grew and shrank by, and what was put into them, until all is told at the end of a turn.
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
        // Dropped last, whatever ends the thread.
        let _closed = Closed(Arc::clone(&inbox));
        let shard = Rc::new(Shard::new(index, limits, budget, metrics));
        let tasks = LocalSet::new();
        tasks.spawn_local(Rc::clone(&shard).watch());
        tasks.spawn_local(Rc::clone(&shard).send_samples());
        tasks.spawn_local(Rc::clone(&shard).shed_when_asked());
        // Leaving this drops every task that is left, and with it every socket.
        tasks.block_on(&runtime, Rc::clone(&shard).work(&inbox));
        shard.sessions.borrow_mut().clear();
    })
}

/// Lets go whoever waits for a shard that has ended.
struct Closed(Arc<Inbox>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.closed();
    }
}

impl Shard {
    pub(super) fn new(index: usize, limits: HubLimits, budget: Arc<Budget>, metrics: Arc<Metrics>) -> Self {
        let number = u16::try_from(index).expect("the configuration bounds the number of shards");
        Self {
            index,
            limits,
            sessions: RefCell::new(Sessions::new(number, Arc::clone(&metrics))),
            metrics,
            budget,
            dirty: RefCell::default(),
            turn_messages: RefCell::default(),
            turn: RefCell::default(),
            tally: Tally::default(),
            alarm: Notify::new(),
            closing: RefCell::default(),
        }
    }

    /// Takes the inbox turn by turn until it is told to stop.
    async fn work(self: Rc<Self>, inbox: &Inbox) {
        let mut commands = VecDeque::new();
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            if commands.is_empty() {
                inbox.take(&mut commands).await;
            }
            batch.extend(commands.drain(..commands.len().min(BATCH_MAX)));
            let messages = batch.iter().filter(|command| matches!(command, Command::Deliver { .. })).count();
            let go_on = self.turn(&mut batch);
            inbox.taken(messages);
            if !go_on {
                return;
            }
            // Sessions read between two turns; what they publish makes the next batch larger.
            tokio::task::yield_now().await;
        }
    }

    /// Carries out one batch of commands and writes once to each session that got something.
    pub(super) fn turn(self: &Rc<Self>, batch: &mut Vec<Command>) -> bool {
        let mut go_on = true;
        for command in batch.drain(..) {
            match command {
                Command::Deliver { message, selectors } => self.turn_messages.borrow_mut().add(message, selectors),
                Command::Push { session, push } => self.push(session, push),
                Command::Subscribe { session, subscribe } => self.subscribe(session, *subscribe),
                Command::Start { session, start } => self.start(session, *start),
                Command::Page { session, replay, page } => self.take_page(session, replay, *page),
                Command::Select { session, stream, audience } => {
                    self.deliver();
                    self.queue(session, |sessions| sessions.select(session, stream, audience));
                }
                Command::Unsubscribe { session, stream } => {
                    self.leave_stream(session, stream);
                    if stream.kind() == StreamKind::Topic {
                        self.leave_stream(session, stream.presence());
                    }
                }
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
        for (_, member) in self.sessions.borrow_mut().iter_mut() {
            member.signals.end(Ending::Drained(closing.clone()));
        }
        *self.closing.borrow_mut() = Some(closing);
    }

    /// Appends the messages of this turn to the outboxes of their subscribers: per stream and codec one buffer, made once.
    fn deliver(&self) {
        let turn_messages = &mut *self.turn_messages.borrow_mut();
        let sessions = &mut *self.sessions.borrow_mut();
        let dirty = &mut *self.dirty.borrow_mut();
        let Turn { batches, keys } = &mut *self.turn.borrow_mut();
        let tools = &mut self.tools(keys);
        let mut delivered = 0;
        for group in turn_messages.groups() {
            let Some(Addressed { members, listeners, apart, sample_timers }) = sessions.addressed(group) else {
                continue;
            };
            let mut fanout = Fanout { group, members, listeners, dirty, batches, tools };
            let (queued, mut first) = fanout.give(sample_timers);
            delivered += queued;
            for (session, list) in apart {
                let (group, listeners) = (&group.without(*session), &Listeners::only(session.slot, *list));
                let mut fanout = Fanout { group, members, listeners, dirty, batches, tools };
                let (queued, rings_first) = fanout.give(sample_timers);
                delivered += queued;
                first |= rings_first;
            }
            if first {
                self.alarm.notify_one();
            }
        }
        self.tally.delivered.set(self.tally.delivered.get() + delivered);
        turn_messages.clear();
    }

    /// Writes once to each session that got something.
    pub(super) fn flush_dirty(&self) {
        let mut dirty = self.dirty.take();
        {
            let sessions = &mut *self.sessions.borrow_mut();
            for slot in dirty.drain(..) {
                let Some(member) = sessions.at(slot) else { continue };
                member.dirty = false;
                if self.flush(member) {
                    sessions.silence(slot);
                    self.count(sessions.at(slot));
                }
            }
        }
        // Give the list back, so that it keeps its memory.
        *self.dirty.borrow_mut() = dirty;
        let turn = &mut *self.turn.borrow_mut();
        turn.batches.drain(..).for_each(|batch| batch.let_go());
        turn.keys.clear();
        self.metrics.messages_delivered.add(self.tally.delivered.take() as u64);
        self.tell_budget();
    }

    /// What its sessions are held to.
    pub(crate) fn limits(&self) -> &HubLimits {
        &self.limits
    }

    pub(super) fn tools<'s>(&'s self, keys: &'s mut ConflationKeys) -> Tools<'s> {
        Tools { keys, metrics: &self.metrics, outbox_bytes: self.limits.outbox_bytes }
    }

    fn push(&self, session: SessionKey, push: Push) {
        let mut sessions = self.sessions.borrow_mut();
        let Some(member) = sessions.get(session).filter(|member| !member.finished) else { return };
        let Some(frame) = push.encode(member.wire) else { return };
        if push.in_line() {
            drop(sessions);
            self.flush_before(session, |member| member.choosy > 0);
            self.queue(session, |sessions| {
                if let Some(member) = sessions.get(session) {
                    member.outbox.push_messages(Chunk::One(frame));
                }
            });
        } else {
            member.outbox.push_control(frame);
            note(member, session.slot, &mut self.dirty.borrow_mut());
        }
        drop(push.in_flight);
    }

    /// Delivers the messages of this turn that came before something that must stay behind them. Where it `concerns` messages
    /// that may be skipped, they are also written, so that no policy reaches back behind it.
    fn flush_before(&self, session: SessionKey, concerns: impl FnOnce(&ShardSession) -> bool) {
        self.deliver();
        let sessions = &mut *self.sessions.borrow_mut();
        let Some(member) = sessions.get(session) else { return };
        if concerns(member) && self.flush(member) {
            sessions.silence(session.slot);
        }
    }

    /// Does something after which the session may have more to write.
    fn queue(&self, session: SessionKey, queue: impl FnOnce(&mut Sessions)) {
        let sessions = &mut *self.sessions.borrow_mut();
        queue(sessions);
        if let Some(member) = sessions.get(session) {
            note(member, session.slot, &mut self.dirty.borrow_mut());
        }
    }

    /// Makes a connection a session of this shard.
    pub(crate) fn attach(&self, link: Rc<Link>, wire: Wire) -> (SessionKey, Rc<Signals>) {
        let signals = Rc::new(Signals::new(Instant::now()));
        let key = self.sessions.borrow_mut().attach(link, Rc::clone(&signals), wire);
        if let Some(closing) = &*self.closing.borrow() {
            signals.end(Ending::Drained(closing.clone()));
        }
        (key, signals)
    }

    /// Forgets a session: its subscriptions end, its key becomes invalid.
    pub(crate) fn detach(&self, session: SessionKey) {
        if let Some(member) = self.sessions.borrow_mut().get(session) {
            let counted_bytes = std::mem::take(&mut member.counted_bytes);
            self.tally.shrunk.set(self.tally.shrunk.get() + counted_bytes);
        }
        self.tell_budget();
        self.sessions.borrow_mut().detach(session);
    }
}
