//! A shard's inbox: commands in the order in which they take effect, and the high-water mark above which publishers wait.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_protocol::{Closing, Failure};
use tokio::sync::Notify;

use super::subscribe::{Start, Subscribe};
use crate::hub::{Audience, Page, Push, RemovedMessage, Selectors, SessionKey, Shard, StreamId};
use crate::message::SharedMessage;
use crate::topic::Topic;

/// What a subscription costs a shard, in units of work: what was queued before it may have to be written first.
const SUBSCRIBE_WORK: usize = 8;

/// With so many commands before it, what can wait should: a list of topics, whose commands would make others wait longer.
const LONG: usize = 64;

/// A closure that runs on a shard's thread.
pub(crate) type Work = Box<dyn FnOnce(&Rc<Shard>) + Send>;

/// A command for a shard. What is large and rare is boxed, so that the commands of messages stay small.
pub(crate) enum Command {
    /// Deliver a message to all local subscribers of its stream and of the patterns that select it.
    Deliver { message: SharedMessage, selectors: Option<Selectors> },
    /// Subscribe a session to a stream: the reply, then missed messages, then live messages.
    Subscribe { session: SessionKey, subscribe: Box<Subscribe> },
    /// Answer a bulk of subscribes, and start what follows the reply.
    Start { session: SessionKey, start: Box<Start> },
    /// Hold live messages for a replay, behind the page that is being read for it.
    HoldLive { session: SessionKey, replay: u64 },
    /// Queue a page that was requested for a replay.
    Page { session: SessionKey, replay: u64, page: Box<Page> },
    /// Subscribe a session to the pattern with this stream. It is already counted in the audience.
    Select { session: SessionKey, stream: StreamId, audience: Arc<Audience> },
    /// Unsubscribe a session from a stream, and from the presence stream of its topic.
    Unsubscribe { session: SessionKey, stream: StreamId },
    /// The same, and report why, if the session was subscribed.
    EndSubscriber { session: SessionKey, stream: StreamId, ended: Box<(Topic, Failure)> },
    /// Unsubscribe all sessions from a topic and its presence, and report why.
    EndStream { stream: StreamId, ended: Box<(Topic, Failure)> },
    /// Tell all subscribers that a message was removed, and drop it where it waits.
    Remove(Box<RemovedMessage>),
    /// Send one session a frame.
    Push { session: SessionKey, push: Push },
    /// End every session.
    CloseAll(Closing),
    /// Run a closure on the shard's thread.
    Run(Work),
    /// Stop the thread.
    Stop,
}

impl Command {
    /// Units of work, besides deliveries.
    pub(in crate::hub) fn work(&self) -> usize {
        match self {
            Self::Start { start, .. } => 1 + SUBSCRIBE_WORK * start.presence.len() + start.replays.len(),
            Self::Subscribe { .. } | Self::Select { .. } | Self::Unsubscribe { .. } | Self::Page { .. } => {
                SUBSCRIBE_WORK
            }
            _ => 1,
        }
    }
}

/// The command queue of a shard, shared by all threads that send it commands.
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    filled: Notify,
    messages: AtomicUsize,
    /// Commands that are not carried out yet.
    waiting: AtomicUsize,
    mark: AtomicUsize,
    drained: Notify,
}

#[derive(Default)]
struct Queue {
    commands: VecDeque<Command>,
    /// The shard has stopped and takes no more commands.
    closed: bool,
}

thread_local! {
    /// The shards to wake when [`batch_wakes`] ends; none outside of it.
    static PENDING_WAKES: RefCell<Option<Vec<Arc<Inbox>>>> = const { RefCell::new(None) };
}

/// Runs `work` and wakes the shards that it sent commands to afterwards, each once: so that one read causes one turn of
/// another shard, and not one for the first message and one for the rest. The order of commands stays the same.
pub(crate) fn batch_wakes<T>(work: impl FnOnce() -> T) -> T {
    if PENDING_WAKES.with_borrow(Option::is_some) {
        return work();
    }
    PENDING_WAKES.set(Some(Vec::new()));
    let _wake = WakeOnDrop;
    work()
}

/// Wakes the shards, also when the work has panicked.
struct WakeOnDrop;

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        for inbox in PENDING_WAKES.take().into_iter().flatten() {
            inbox.filled.notify_one();
        }
    }
}

impl Inbox {
    pub(in crate::hub) fn new(mark: usize) -> Self {
        let (messages, waiting, mark) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(mark));
        Self { queue: Mutex::default(), filled: Notify::new(), messages, waiting, mark, drained: Notify::new() }
    }

    /// Adds a command. The queue has no limit of its own: publishers wait in [`Inbox::room`], and all other commands follow
    /// from requests, whose number in flight is limited.
    pub(in crate::hub) fn push(self: &Arc<Self>, command: Command) {
        #[cfg(test)]
        PUSHED.with_borrow_mut(|pushed| pushed.push(command.name()));
        if matches!(command, Command::Deliver { .. }) {
            self.messages.fetch_add(1, AcqRel);
        }
        {
            let mut queue = self.lock();
            if queue.closed {
                // Dropped without the lock: its destructor may run any code.
                drop(queue);
                return drop(command);
            }
            queue.commands.push_back(command);
            self.waiting.fetch_add(1, Relaxed);
        }
        let held_back = PENDING_WAKES.with_borrow_mut(|to_wake| match to_wake {
            Some(to_wake) => {
                if !to_wake.iter().any(|other| Arc::ptr_eq(other, self)) {
                    to_wake.push(Arc::clone(self));
                }
                true
            }
            None => false,
        });
        if !held_back {
            self.filled.notify_one();
        }
    }

    /// Waits for commands and moves all of them into `commands`, which is empty.
    pub(in crate::hub) async fn take(&self, commands: &mut VecDeque<Command>) {
        loop {
            std::mem::swap(&mut self.lock().commands, commands);
            if !commands.is_empty() {
                return;
            }
            self.filled.notified().await;
        }
    }

    pub(in crate::hub) fn has_room(&self) -> bool {
        self.messages.load(Acquire) < self.mark.load(Acquire)
    }

    /// Lets publishers wait above another mark.
    pub(in crate::hub) fn set_mark(&self, mark: usize) {
        self.mark.store(mark, Release);
        // Those that wait look again.
        self.drained.notify_waiters();
    }

    pub(in crate::hub) async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            if self.has_room() || self.lock().closed {
                return;
            }
            drained.await;
        }
    }

    /// The shard has stopped: drops the commands that are left and wakes all publishers that wait.
    pub(in crate::hub) fn closed(&self) {
        let left = {
            let mut queue = self.lock();
            queue.closed = true;
            std::mem::take(&mut queue.commands)
        };
        drop(left);
        self.drained.notify_waiters();
    }

    /// Whether many commands wait.
    pub(in crate::hub) fn is_long(&self) -> bool {
        self.waiting.load(Relaxed) >= LONG
    }

    /// The shard has carried out so many commands, and with them delivered so many messages.
    pub(in crate::hub) fn taken(&self, commands: usize, messages: usize) {
        self.waiting.fetch_sub(commands, Relaxed);
        let before = self.messages.fetch_sub(messages, AcqRel);
        if before >= self.mark.load(Acquire) {
            self.drained.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No change under the lock can stop half way, so a poisoned lock is consistent.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
thread_local! {
    /// The names of the commands that this thread has pushed.
    static PUSHED: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

/// The names of the commands that `work` sends from this thread.
#[cfg(test)]
pub(crate) fn commands_of(work: impl FnOnce()) -> Vec<&'static str> {
    PUSHED.take();
    work();
    PUSHED.take()
}

#[cfg(test)]
impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Deliver { .. } => "deliver",
            Self::Subscribe { .. } => "subscribe",
            Self::Start { .. } => "start",
            Self::HoldLive { .. } => "hold live",
            Self::Page { .. } => "page",
            Self::Select { .. } => "select",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::EndSubscriber { .. } => "end subscriber",
            Self::EndStream { .. } => "end stream",
            Self::Remove(_) => "remove",
            Self::Push { .. } => "push",
            Self::CloseAll(_) => "close all",
            Self::Run(_) => "run",
            Self::Stop => "stop",
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("messages", &self.messages).field("mark", &self.mark).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use super::*;

    fn stop() -> Command {
        Command::Stop
    }

    #[test]
    fn a_shard_is_woken_once_at_the_end_of_a_batch() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let inbox = Arc::new(Inbox::new(1));
            let mut commands = VecDeque::new();
            let pending = |take: &mut Pin<Box<dyn Future<Output = ()> + '_>>| {
                take.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
            };
            let mut take: Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(inbox.take(&mut commands));
            assert!(pending(&mut take));
            batch_wakes(|| {
                inbox.push(stop());
                batch_wakes(|| inbox.push(stop()));
                assert!(
                    PENDING_WAKES.with_borrow(|to_wake| to_wake.as_ref().is_some_and(|to_wake| to_wake.len() == 1))
                );
            });
            take.await;
            assert_eq!(commands.len(), 2);
            inbox.closed();
            inbox.push(stop());
            assert!(inbox.lock().commands.is_empty());
        });
    }
}
