//! How a shard writes: what the sockets take at once, and the rest when they take more.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::hub::session::ShardSession;
use crate::hub::session::outbox::{Chunk, Flush, Outbox};
use crate::hub::{Ending, SessionKey, Shard, Signals};
use crate::wire::websocket::websocket_control;

/// How much may wait for a session in answers to its own requests before its socket is no longer read.
const CONTROL_BYTES_MARK: usize = 64 * 1024;

const PONG: u8 = 0xA;

impl Shard {
    /// Writes what the socket takes. True means that the session is over.
    pub(in crate::hub) fn flush(&self, member: &mut ShardSession) -> bool {
        if member.full_since.is_none() {
            let link = &member.link;
            let written = member.outbox.flush(|slices| link.write_now(slices));
            match settled(written, link.flush_now()) {
                Flush::Done => {
                    self.count(Some(member));
                    return false;
                }
                Flush::Full => {
                    member.full_since = Some(Instant::now());
                    member.signals.full.notify_one();
                    let taken = member.fall_behind(&mut self.tools(&mut self.turn.borrow_mut().keys));
                    self.tally.delivered.set(self.tally.delivered.get() - taken);
                }
                Flush::Broken => {
                    member.signals.end(Ending::Gone);
                    return true;
                }
            }
        }
        member.make_room_for_queue(self.limits.outbox_bytes, &self.metrics);
        self.count(Some(member));
        if !member.outbox.is_over(self.limits.outbox_bytes) || member.signals.is_ending() {
            return false;
        }
        self.close_slow(member, "the session did not read fast enough and its outbox is full");
        true
    }

    /// Sends a frame at once, before anything that waits.
    pub(crate) fn send(&self, session: SessionKey, frame: Bytes) {
        self.send_control(session, |outbox| outbox.push_control(frame));
    }

    fn send_control(&self, session: SessionKey, queue: impl FnOnce(&mut Outbox)) {
        let mut sessions = self.sessions.borrow_mut();
        let Some(member) = sessions.get(session).filter(|member| !member.finished) else { return };
        queue(&mut member.outbox);
        if self.flush(member) {
            sessions.silence(session.slot);
        }
        drop(sessions);
        self.tell_budget();
    }

    /// Answers a ping (RFC 6455 section 5.5.3).
    pub(crate) fn pong(&self, session: SessionKey, payload: &[u8]) {
        self.send_control(session, |outbox| outbox.push_pong(websocket_control(PONG, payload)));
    }

    /// Writes for a session whose socket was full, each time it takes more. Returns when the socket is gone.
    pub(crate) async fn keep_writing(&self, session: SessionKey, signals: &Signals) {
        loop {
            signals.full.notified().await;
            if poll_fn(|context| self.poll_flush(session, context)).await == Flush::Broken {
                return;
            }
            signals.written.notify_one();
        }
    }

    /// Whether few enough answers to the session's own requests wait: a peer that asks without reading is not read
    /// either.
    pub(crate) fn answers_are_read(&self, session: SessionKey) -> bool {
        let mut sessions = self.sessions.borrow_mut();
        sessions.get(session).is_none_or(|member| member.outbox.control_bytes() <= CONTROL_BYTES_MARK)
    }

    /// Waits until [`Shard::answers_are_read`].
    pub(crate) async fn answers_read(&self, session: SessionKey, signals: &Signals) {
        while !self.answers_are_read(session) {
            signals.written.notified().await;
        }
    }

    /// Says goodbye: ends the subscriptions, queues `last` behind what is kept and writes it all within `deadline`.
    pub(crate) async fn finish(&self, session: SessionKey, last: &[Bytes], keep_messages: bool, deadline: Duration) {
        {
            let mut sessions = self.sessions.borrow_mut();
            let Some(member) = sessions.get(session) else { return };
            if keep_messages {
                member.catch_up_entirely(&self.metrics);
            } else {
                member.outbox.drop_messages();
            }
            for frame in last {
                member.outbox.push_messages(Chunk::One(frame.clone()));
            }
            sessions.silence(session.slot);
            let Some(member) = sessions.get(session) else { return };
            member.finished = true;
        }
        // A peer that does not read its goodbye is cut off.
        let _ = tokio::time::timeout(deadline, poll_fn(|context| self.poll_flush(session, context))).await;
    }

    fn poll_flush(&self, session: SessionKey, context: &mut Context<'_>) -> Poll<Flush> {
        let mut sessions = self.sessions.borrow_mut();
        let Some(member) = sessions.get(session) else { return Poll::Ready(Flush::Broken) };
        let mut progress = false;
        let flushed = loop {
            let ShardSession { link, outbox, full_since, .. } = member;
            let flushed = outbox.flush(|slices| match link.poll_write(context, slices) {
                Poll::Ready(Ok(written)) => {
                    *full_since = full_since.map(|_| Instant::now());
                    progress = true;
                    Ok(written)
                }
                Poll::Ready(Err(error)) => Err(error),
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            });
            let flushed = settled(flushed, link.poll_flush(context));
            if flushed != Flush::Done || !member.catch_up(&self.metrics) {
                break flushed;
            }
        };
        let read = if flushed == Flush::Done { member.next_page() } else { None };
        if member.link.moved() {
            member.full_since = member.full_since.map(|_| Instant::now());
            progress = true;
        }
        if flushed == Flush::Full {
            // A page of the past may have filled it, of which no policy takes anything back. From now on only the session's
            // task writes, because it is the one that is woken; and the deadline counts.
            member.full_since.get_or_insert_with(Instant::now);
        } else {
            member.full_since = None;
        }
        if progress {
            // Answers may be read though messages wait for ever.
            member.signals.written.notify_one();
        }
        self.count(Some(member));
        drop(sessions);
        self.tell_budget();
        if let Some(read) = read {
            // The page comes through the inbox, so other sessions of the shard have their turn first.
            read();
        }
        if flushed == Flush::Full { Poll::Pending } else { Poll::Ready(flushed) }
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
