//! A shard: one thread that owns its sessions, writes to their sockets itself and wakes nobody per delivery.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rialto_protocol::{CloseCode, Closing, Codec};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::LocalSet;

use super::inbox::Inbox;
use super::outbox::{Chunk, Flush};
use super::pile::Pile;
use super::roster::{Member, Roster};
use super::{Command, Ending, HubLimits, Line, Link, Push, SessionKey};
use crate::message::websocket_control;
use crate::metrics::Metrics;

/// How many commands a shard takes out of its inbox at once: what bounds the size of one joined buffer.
const BATCH_MAX: usize = 256;

/// How much may wait for a session in answers to its own requests before its socket is no longer read.
const CONTROL_BYTES_MARK: usize = 64 * 1024;

const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// The state of one shard, used on its own thread only.
pub(crate) struct Shard {
    limits: HubLimits,
    metrics: Arc<Metrics>,
    roster: RefCell<Roster>,
    dirty: RefCell<Vec<u32>>,
    pile: RefCell<Pile>,
    /// Set when all sessions are told to end; those that come later are told at once.
    closing: RefCell<Option<Closing>>,
}

/// Starts a shard's thread.
pub(super) fn spawn(
    index: usize,
    limits: HubLimits,
    inbox: Arc<Inbox>,
    receiver: UnboundedReceiver<Command>,
    metrics: Arc<Metrics>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    std::thread::Builder::new().name(format!("rialto-shard-{index}")).spawn(move || {
        // Dropped last, whatever ends the thread.
        let _closed = Closed(Arc::clone(&inbox));
        let number = u16::try_from(index).expect("the configuration bounds the number of shards");
        let shard = Rc::new(Shard {
            limits,
            roster: RefCell::new(Roster::new(number, Arc::clone(&metrics))),
            metrics,
            dirty: RefCell::default(),
            pile: RefCell::default(),
            closing: RefCell::default(),
        });
        let tasks = LocalSet::new();
        tasks.spawn_local(Rc::clone(&shard).watch());
        // Leaving this drops every task that is left, and with it every socket.
        tasks.block_on(&runtime, Rc::clone(&shard).work(&inbox, receiver));
        shard.roster.borrow_mut().clear();
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
    /// Takes the inbox turn by turn until it is told to stop.
    async fn work(self: Rc<Self>, inbox: &Inbox, mut receiver: UnboundedReceiver<Command>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while receiver.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let messages = batch.iter().filter(|command| matches!(command, Command::Deliver(_))).count();
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
    fn turn(self: &Rc<Self>, batch: &mut Vec<Command>) -> bool {
        let mut go_on = true;
        for command in batch.drain(..) {
            match command {
                Command::Deliver(message) => self.pile.borrow_mut().add(message),
                Command::Push { session, push } => self.push(session, push),
                Command::Subscribe { session, subscription } => {
                    self.deliver();
                    self.roster.borrow_mut().subscribe(session, subscription);
                }
                Command::Unsubscribe { session, stream } => {
                    self.deliver();
                    self.roster.borrow_mut().unsubscribe(session, stream);
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
        for (_, member) in self.roster.borrow_mut().iter_mut() {
            member.line.end(Ending::Drained(closing.clone()));
        }
        *self.closing.borrow_mut() = Some(closing);
    }

    /// Appends the messages of this turn to the outboxes of their subscribers: per stream and codec one buffer, made once.
    fn deliver(&self) {
        let pile = &mut *self.pile.borrow_mut();
        let roster = &mut *self.roster.borrow_mut();
        let dirty = &mut *self.dirty.borrow_mut();
        for group in pile.groups() {
            let Some((members, slots)) = roster.audience(group.stream) else { continue };
            for codec in Codec::ALL {
                let slots = &slots[codec.index()];
                if slots.is_empty() {
                    continue;
                }
                for chunk in group.chunks(codec, &self.metrics) {
                    for slot in slots {
                        let member = &mut members[*slot as usize];
                        member.outbox.push_messages(chunk.clone());
                        note(member, *slot, dirty);
                    }
                }
                self.metrics.messages_delivered.add((group.messages.len() * slots.len()) as u64);
            }
        }
        pile.clear();
    }

    fn flush_dirty(&self) {
        let mut dirty = self.dirty.take();
        let roster = &mut *self.roster.borrow_mut();
        for slot in dirty.drain(..) {
            let Some(member) = roster.at(slot) else { continue };
            member.dirty = false;
            if self.flush(member) {
                roster.silence(slot);
            }
        }
        // Give the list back, so that it keeps its memory.
        *self.dirty.borrow_mut() = dirty;
    }

    /// Writes what the socket takes. True means that the session is over.
    fn flush(&self, member: &mut Member) -> bool {
        if member.full_since.is_none() {
            let link = &member.link;
            let written = member.outbox.flush(|slices| link.write_now(slices));
            match settled(written, link.flush_now()) {
                Flush::Done => return false,
                Flush::Full => {
                    member.full_since = Some(Instant::now());
                    member.line.full.notify_one();
                }
                Flush::Broken => {
                    member.line.end(Ending::Gone);
                    return true;
                }
            }
        }
        if member.outbox.message_bytes() <= self.limits.outbox_bytes || member.line.is_ending() {
            return false;
        }
        member.outbox.drop_messages();
        self.metrics.sessions_slow.add(1);
        member.line.end(Ending::Closed(closing(
            CloseCode::Slow,
            "the session did not read fast enough and its outbox is full",
            Some(1_000),
        )));
        true
    }

    fn push(&self, session: SessionKey, push: Push) {
        let mut roster = self.roster.borrow_mut();
        let Some(member) = roster.get(session).filter(|member| !member.finished) else { return };
        let Some(frame) = push.encode(member.codec) else { return };
        if push.in_line() {
            // Messages of this turn that came before must stay before.
            drop(roster);
            self.deliver();
            self.queue(session, |member| member.outbox.push_messages(Chunk::Own(frame)));
        } else {
            member.outbox.push_control(frame);
            note(member, session.slot, &mut self.dirty.borrow_mut());
        }
        drop(push.under_way);
    }

    fn queue(&self, session: SessionKey, queue: impl FnOnce(&mut Member)) {
        if let Some(member) = self.roster.borrow_mut().get(session) {
            queue(member);
            note(member, session.slot, &mut self.dirty.borrow_mut());
        }
    }

    /// Makes a connection a session of this shard.
    pub(crate) fn attach(&self, link: Rc<Link>, codec: Codec) -> (SessionKey, Rc<Line>) {
        let line = Rc::new(Line::new(Instant::now()));
        let key = self.roster.borrow_mut().attach(link, Rc::clone(&line), codec);
        if let Some(closing) = &*self.closing.borrow() {
            line.end(Ending::Drained(closing.clone()));
        }
        (key, line)
    }

    /// Forgets a session: its subscriptions end, its key becomes invalid.
    pub(crate) fn detach(&self, session: SessionKey) {
        self.roster.borrow_mut().detach(session);
    }

    /// Sends a frame at once, before anything that waits.
    pub(crate) fn send(&self, session: SessionKey, frame: Bytes) {
        let mut roster = self.roster.borrow_mut();
        let Some(member) = roster.get(session).filter(|member| !member.finished) else { return };
        member.outbox.push_control(frame);
        if self.flush(member) {
            roster.silence(session.slot);
        }
    }

    /// Answers a ping (RFC 6455 section 5.5.3).
    pub(crate) fn pong(&self, session: SessionKey, payload: &[u8]) {
        self.send(session, websocket_control(PONG, payload));
    }

    /// Writes for a session whose socket was full, each time it takes more. Returns when the socket is gone.
    pub(crate) async fn keep_writing(&self, session: SessionKey, line: &Line) {
        loop {
            line.full.notified().await;
            if poll_fn(|context| self.poll_flush(session, context)).await == Flush::Broken {
                return;
            }
            line.written.notify_one();
        }
    }

    /// Whether few enough answers to the session's own requests wait: a peer that asks without reading is not read
    /// either.
    pub(crate) fn answers_are_read(&self, session: SessionKey) -> bool {
        let mut roster = self.roster.borrow_mut();
        roster.get(session).is_none_or(|member| member.outbox.control_bytes() <= CONTROL_BYTES_MARK)
    }

    /// Waits until [`Shard::answers_are_read`].
    pub(crate) async fn answers_read(&self, session: SessionKey, line: &Line) {
        while !self.answers_are_read(session) {
            line.written.notified().await;
        }
    }

    /// Says goodbye: ends the subscriptions, queues `last` behind what is kept and writes it all within `deadline`.
    pub(crate) async fn finish(&self, session: SessionKey, last: &[Bytes], keep_messages: bool, deadline: Duration) {
        {
            let mut roster = self.roster.borrow_mut();
            if roster.get(session).is_none() {
                return;
            }
            roster.silence(session.slot);
            let Some(member) = roster.get(session) else { return };
            if !keep_messages {
                member.outbox.drop_messages();
            }
            for frame in last {
                member.outbox.push_messages(Chunk::Own(frame.clone()));
            }
            member.finished = true;
        }
        // A peer that does not read its goodbye is cut off.
        let _ = tokio::time::timeout(deadline, poll_fn(|context| self.poll_flush(session, context))).await;
    }

    fn poll_flush(&self, session: SessionKey, context: &mut Context<'_>) -> Poll<Flush> {
        let mut roster = self.roster.borrow_mut();
        let Some(member) = roster.get(session) else { return Poll::Ready(Flush::Broken) };
        let Member { link, outbox, full_since, .. } = member;
        let flushed = outbox.flush(|slices| match link.poll_write(context, slices) {
            Poll::Ready(Ok(written)) => {
                *full_since = full_since.map(|_| Instant::now());
                Ok(written)
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        });
        match settled(flushed, link.poll_flush(context)) {
            Flush::Full => Poll::Pending,
            settled => {
                *full_since = None;
                Poll::Ready(settled)
            }
        }
    }

    /// Looks after all sessions from time to time: pings, and ends those that are dead or stuck.
    async fn watch(self: Rc<Self>) {
        let shortest = [self.limits.ping, self.limits.pong, self.limits.frame, self.limits.write].into_iter().min();
        let every = shortest.unwrap_or_default() / 4;
        let mut ticks = tokio::time::interval(every.clamp(Duration::from_millis(10), Duration::from_secs(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sweep(Instant::now());
        }
    }

    fn sweep(&self, now: Instant) {
        let roster = &mut *self.roster.borrow_mut();
        let mut over = Vec::new();
        for (slot, member) in roster.iter_mut() {
            match verdict(member, &self.limits, now) {
                Verdict::Fine => {}
                Verdict::Ping => {
                    member.line.pinged.set(Some(now));
                    member.outbox.push_control(websocket_control(PING, &[]));
                    if self.flush(member) {
                        over.push(slot);
                    }
                }
                Verdict::End(ending) => member.line.end(ending),
            }
        }
        for slot in over {
            roster.silence(slot);
        }
    }
}

/// How a flush ended, given what became of the stream's own buffer.
fn settled(written: Flush, stream: Poll<io::Result<()>>) -> Flush {
    match (written, stream) {
        (Flush::Done, Poll::Pending) => Flush::Full,
        (_, Poll::Ready(Err(_))) => Flush::Broken,
        (written, _) => written,
    }
}

fn note(member: &mut Member, slot: u32, dirty: &mut Vec<u32>) {
    if !member.dirty {
        member.dirty = true;
        dirty.push(slot);
    }
}

enum Verdict {
    Fine,
    Ping,
    End(Ending),
}

fn verdict(member: &Member, limits: &HubLimits, now: Instant) -> Verdict {
    let line = &member.line;
    if line.is_ending() {
        return Verdict::Fine;
    }
    if member.full_since.is_some_and(|since| now.duration_since(since) > limits.write) {
        return Verdict::End(Ending::Gone);
    }
    if !line.is_held() && line.frame_started().is_some_and(|since| now.duration_since(since) > limits.frame) {
        let message = "a message was begun and not finished in time";
        return Verdict::End(Ending::Closed(closing(CloseCode::PolicyViolation, message, None)));
    }
    if line.is_held() {
        return Verdict::Fine;
    }
    let heard = line.heard.get();
    match line.pinged.get().filter(|pinged| heard < *pinged) {
        Some(pinged) if now.duration_since(pinged) > limits.pong => {
            Verdict::End(Ending::Closed(closing(CloseCode::NoPong, "no answer to a ping", Some(1_000))))
        }
        Some(_) => Verdict::Fine,
        None if now.duration_since(heard) >= limits.ping => Verdict::Ping,
        None => Verdict::Fine,
    }
}

fn closing(code: CloseCode, message: &str, retry_after_ms: Option<u64>) -> Closing {
    Closing { code: code.number(), message: message.to_owned(), retry_after_ms }
}
