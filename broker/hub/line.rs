//! What a shard and a session's task tell each other: that it must end, that the socket is full, what was heard when.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use rialto_protocol::Closing;
use tokio::sync::Notify;

/// How a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The broker closes the connection and says why.
    Closed(Closing),
    /// The broker closes the connection once the messages that wait are written.
    Drained(Closing),
    /// The peer sent a Close with this code.
    PeerClosed(Option<u16>),
    /// The connection is gone; nothing can be said any more.
    Gone,
}

/// Shared by the shard and the session's task, on the shard's thread.
#[derive(Debug)]
pub(crate) struct Line {
    ending: RefCell<Option<Ending>>,
    ended: Notify,
    pub(super) full: Notify,
    pub(super) written: Notify,
    pub(super) heard: Cell<Instant>,
    pub(super) pinged: Cell<Option<Instant>>,
    frame_started: Cell<Option<Instant>>,
    held: Cell<bool>,
}

impl Line {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            ending: RefCell::new(None),
            ended: Notify::new(),
            full: Notify::new(),
            written: Notify::new(),
            heard: Cell::new(now),
            pinged: Cell::new(None),
            frame_started: Cell::new(None),
            held: Cell::new(false),
        }
    }

    /// Ends the session; the first reason stands.
    pub(crate) fn end(&self, ending: Ending) {
        let mut slot = self.ending.borrow_mut();
        if slot.is_none() {
            *slot = Some(ending);
            self.ended.notify_one();
        }
    }

    /// Whether the session is about to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.borrow().is_some()
    }

    /// Waits until something ends the session.
    pub(crate) async fn ended(&self) -> Ending {
        loop {
            if let Some(ending) = self.ending.borrow().clone() {
                return ending;
            }
            self.ended.notified().await;
        }
    }

    /// Bytes came in: the peer is alive.
    pub(crate) fn heard(&self) {
        self.heard.set(Instant::now());
    }

    /// The connection waits for bytes in the middle of a frame or of a fragmented message.
    pub(crate) fn inside(&self) {
        if self.frame_started.get().is_none() {
            self.frame_started.set(Some(Instant::now()));
        }
    }

    /// Nothing unfinished is under way.
    pub(crate) fn quiet(&self) {
        self.frame_started.set(None);
    }

    /// We do not read for a while: what the peer sends meanwhile is not heard, and that is not its fault.
    pub(crate) fn hold(&self) {
        self.held.set(true);
    }

    /// We read again.
    pub(crate) fn release(&self) {
        self.held.set(false);
        self.heard();
    }

    /// Whether the connection is not read at the moment.
    pub(super) fn is_held(&self) -> bool {
        self.held.get()
    }

    /// Since when an unfinished frame or message has been coming in.
    pub(super) fn frame_started(&self) -> Option<Instant> {
        self.frame_started.get()
    }
}
