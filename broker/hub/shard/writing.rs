//! Writes to sockets: as much as they take at once, and the rest when they are writable again.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::hub::session::ShardSession;
use crate::hub::session::outbox::{Chunk, Flush, Outbox};
use crate::hub::{Ending, SessionKey, Shard, Signals};
use crate::wire::websocket::websocket_control;

/// Back-pressure: bytes of queued replies to a session's own requests at which its socket is no longer read.
const CONTROL_BYTES_MARK: usize = 64 * 1024;

const PONG: u8 = 0xA;

impl Shard {
    /// Writes what the socket takes. Returns whether the session has to end.
    pub(in crate::hub) fn flush(&self, session: &mut ShardSession) -> bool {
        if session.full_since.is_none() {
            let link = &session.link;
            let written = session.outbox.flush(|slices| link.write_now(slices));
            match flush_outcome(written, link.flush_now()) {
                Flush::Done => {
                    self.count(Some(session));
                    return false;
                }
                Flush::Full => {
                    session.full_since = Some(Instant::now());
                    session.signals.full.notify_one();
                    let taken = session.fall_behind(&mut self.delivery_context(&mut self.turn.borrow_mut().keys));
                    self.tally.delivered.set(self.tally.delivered.get() - taken);
                }
                Flush::Broken => {
                    session.signals.end(Ending::Gone);
                    return true;
                }
            }
        }
        session.make_room_for_queue(self.limits().outbox_bytes, &self.metrics);
        self.count(Some(session));
        if !session.outbox.is_over(self.limits().outbox_bytes) || session.signals.is_ending() {
            return false;
        }
        self.close_slow_consumer(session, "the session did not read fast enough and its outbox is full");
        true
    }

    /// Sends a frame at once, before all queued messages.
    pub(crate) fn send(&self, key: SessionKey, frame: Bytes) {
        self.send_control(key, |outbox| outbox.push_control(frame));
    }

    fn send_control(&self, key: SessionKey, queue: impl FnOnce(&mut Outbox)) {
        let mut sessions = self.sessions.borrow_mut();
        let Some(session) = sessions.get(key).filter(|session| !session.finished) else { return };
        queue(&mut session.outbox);
        if self.flush(session) {
            sessions.end_subscriptions(key.slot);
        }
        drop(sessions);
        self.update_budget();
    }

    /// Answers a ping (RFC 6455 section 5.5.3).
    pub(crate) fn pong(&self, key: SessionKey, payload: &[u8]) {
        self.send_control(key, |outbox| outbox.push_pong(websocket_control(PONG, payload)));
    }

    /// Writes for a session whose socket was full, each time it is writable again. Returns when the socket is broken.
    pub(crate) async fn keep_writing(&self, key: SessionKey, signals: &Signals) {
        loop {
            signals.full.notified().await;
            if poll_fn(|context| self.poll_flush(key, context)).await == Flush::Broken {
                return;
            }
            signals.written.notify_one();
        }
    }

    /// Back-pressure: whether few enough replies to the session's own requests are queued to read further requests.
    pub(crate) fn answers_are_read(&self, key: SessionKey) -> bool {
        let mut sessions = self.sessions.borrow_mut();
        sessions.get(key).is_none_or(|session| session.outbox.control_bytes() <= CONTROL_BYTES_MARK)
    }

    /// Waits until [`Shard::answers_are_read`].
    pub(crate) async fn answers_read(&self, key: SessionKey, signals: &Signals) {
        while !self.answers_are_read(key) {
            signals.written.notified().await;
        }
    }

    /// Closes gracefully: ends the subscriptions, queues `last` after the messages that are kept, and writes all of it
    /// within `deadline`.
    pub(crate) async fn finish(&self, key: SessionKey, last: &[Bytes], keep_messages: bool, deadline: Duration) {
        {
            let mut sessions = self.sessions.borrow_mut();
            let Some(session) = sessions.get(key) else { return };
            if keep_messages {
                session.catch_up_entirely(&self.metrics);
            } else {
                session.outbox.drop_messages();
            }
            for frame in last {
                session.outbox.push_messages(Chunk::One(frame.clone()));
            }
            sessions.end_subscriptions(key.slot);
            let Some(session) = sessions.get(key) else { return };
            session.finished = true;
        }
        // The connection of a peer that does not read until the deadline is dropped.
        let _ = tokio::time::timeout(deadline, poll_fn(|context| self.poll_flush(key, context))).await;
    }

    fn poll_flush(&self, key: SessionKey, context: &mut Context<'_>) -> Poll<Flush> {
        let mut sessions = self.sessions.borrow_mut();
        let Some(session) = sessions.get(key) else { return Poll::Ready(Flush::Broken) };
        let mut progress = false;
        let flushed = loop {
            let ShardSession { link, outbox, full_since, .. } = session;
            let flushed = outbox.flush(|slices| match link.poll_write(context, slices) {
                Poll::Ready(Ok(written)) => {
                    *full_since = full_since.map(|_| Instant::now());
                    progress = true;
                    Ok(written)
                }
                Poll::Ready(Err(error)) => Err(error),
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            });
            let flushed = flush_outcome(flushed, link.poll_flush(context));
            if flushed != Flush::Done || !session.catch_up(&self.metrics) {
                break flushed;
            }
        };
        let read = if flushed == Flush::Done { session.next_page() } else { None };
        if session.link.moved() {
            session.full_since = session.full_since.map(|_| Instant::now());
            progress = true;
        }
        if flushed == Flush::Full {
            // A page of a replay may have filled the socket, and no policy takes that back. From now on only the
            // session's task writes, because it is the one that is woken, and the write timeout runs.
            session.full_since.get_or_insert_with(Instant::now);
        } else {
            session.full_since = None;
        }
        if progress {
            // The peer may have read replies although messages are still queued.
            session.signals.written.notify_one();
        }
        self.count(Some(session));
        drop(sessions);
        self.update_budget();
        if let Some(read) = read {
            // The page arrives through the inbox, so other sessions of the shard have their turn first.
            read();
        }
        if flushed == Flush::Full { Poll::Pending } else { Poll::Ready(flushed) }
    }
}

/// The outcome of a flush, given that of the stream's own buffer.
fn flush_outcome(written: Flush, stream: Poll<io::Result<()>>) -> Flush {
    match (written, stream) {
        (Flush::Done, Poll::Pending) => Flush::Full,
        (_, Poll::Ready(Err(_))) => Flush::Broken,
        (written, _) => written,
    }
}
