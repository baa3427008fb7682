//! A shard's inbox: commands in the order they must take effect, and the mark above which publishers wait.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire};

use rialto_protocol::{Closing, Delivery};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Audience, FieldPlace, Push, Shard};
use crate::message::Shared;
use crate::topic::Topic;

/// Where a session lives. Keys of ended sessions stay invalid for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    pub(super) shard: u16,
    pub(super) slot: u32,
    pub(super) serial: u64,
}

impl SessionKey {
    /// The shard that owns the session.
    pub(crate) fn shard(self) -> usize {
        self.shard.into()
    }
}

/// A session's part in a stream.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) stream: u64,
    pub(crate) topic: Topic,
    pub(crate) delivery: Delivery,
    /// What was reserved for the policy.
    pub(crate) field: Option<FieldPlace>,
    /// Where the session was counted already.
    pub(crate) audience: Arc<Audience>,
}

/// Work that is done on a shard's own thread.
pub(crate) type Work = Box<dyn FnOnce(&Rc<Shard>) + Send>;

/// What a shard is told to do.
pub(crate) enum Command {
    /// Deliver a message to all local subscribers of its stream.
    Deliver(Shared),
    /// Let a session in.
    Subscribe { session: SessionKey, subscription: Subscription },
    /// Let a session out.
    Unsubscribe { session: SessionKey, stream: u64 },
    /// Send one session a frame.
    Push { session: SessionKey, push: Push },
    /// End every session.
    CloseAll(Closing),
    /// Do something on the shard's thread.
    Run(Work),
    /// End the thread.
    Stop,
}

/// The sending side, shared by everyone who has something for the shard.
pub(crate) struct Inbox {
    sender: UnboundedSender<Command>,
    messages: AtomicUsize,
    mark: usize,
    drained: Notify,
}

impl Inbox {
    pub(super) fn new(mark: usize) -> (Self, UnboundedReceiver<Command>) {
        let (sender, receiver) = unbounded_channel();
        (Self { sender, messages: AtomicUsize::new(0), mark, drained: Notify::new() }, receiver)
    }

    /// Adds a command. The queue itself has no bound: publishers are held by [`Inbox::room`], and everything else is
    /// at most an answer to something a session was allowed to ask.
    pub(super) fn push(&self, command: Command) {
        if matches!(command, Command::Deliver(_)) {
            self.messages.fetch_add(1, AcqRel);
        }
        // A shard that has stopped needs nothing any more.
        let _ = self.sender.send(command);
    }

    pub(super) fn has_room(&self) -> bool {
        self.messages.load(Acquire) < self.mark
    }

    pub(super) async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            if self.has_room() || self.sender.is_closed() {
                return;
            }
            drained.await;
        }
    }

    /// The shard takes nothing any more: nobody shall wait for it.
    pub(super) fn closed(&self) {
        self.drained.notify_waiters();
    }

    /// The shard has taken so many messages out.
    pub(super) fn taken(&self, messages: usize) {
        let before = self.messages.fetch_sub(messages, AcqRel);
        if before >= self.mark {
            self.drained.notify_waiters();
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("messages", &self.messages).field("mark", &self.mark).finish_non_exhaustive()
    }
}
