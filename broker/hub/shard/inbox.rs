//! A shard's inbox: commands in the order they must take effect, and the mark above which publishers wait.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_protocol::Closing;
use tokio::sync::Notify;

use super::subscribe::{Start, Subscribe};
use crate::hub::{Audience, Page, Push, Selectors, SessionKey, Shard, StreamId};
use crate::message::SharedMessage;

/// Work that is done on a shard's own thread.
pub(crate) type Work = Box<dyn FnOnce(&Rc<Shard>) + Send>;

/// What a shard does next. What is large and rare stands in a box, so that the commands of messages stay small.
pub(crate) enum Command {
    /// Deliver a message to all local subscribers of its stream and of the patterns that select it.
    Deliver { message: SharedMessage, selectors: Option<Selectors> },
    /// Let a session into a stream: the reply, what it is sent of the past, and live messages behind that.
    Subscribe { session: SessionKey, subscribe: Box<Subscribe> },
    /// Answer a bulk of subscribes, and begin what follows the reply.
    Start { session: SessionKey, start: Box<Start> },
    /// Queue a page of the past that was requested for a replay.
    Page { session: SessionKey, replay: u64, page: Box<Page> },
    /// Give a session what the pattern with this stream selects. It was counted in the audience already.
    Select { session: SessionKey, stream: StreamId, audience: Arc<Audience> },
    /// Let a session out of a stream, and out of the one that reports who is present in its topic.
    Unsubscribe { session: SessionKey, stream: StreamId },
    /// Send one session a frame.
    Push { session: SessionKey, push: Push },
    /// End every session.
    CloseAll(Closing),
    /// Do something on the shard's thread.
    Run(Work),
    /// End the thread.
    Stop,
}

/// What a shard is to do, in order, shared by everyone who has something for the shard.
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    filled: Notify,
    messages: AtomicUsize,
    mark: usize,
    drained: Notify,
}

#[derive(Default)]
struct Queue {
    commands: VecDeque<Command>,
    /// The shard has ended and takes nothing any more.
    closed: bool,
}

thread_local! {
    /// The shards to be woken when what goes on now is over; none while nothing holds them back.
    static TO_WAKE: RefCell<Option<Vec<Arc<Inbox>>>> = const { RefCell::new(None) };
}

/// Does something and wakes shards only when it is done, each once: so that all that one read brings to another shard is
/// one turn there, and not a turn for the first message and one for the rest. The order of commands is not touched.
pub(crate) fn together<T>(work: impl FnOnce() -> T) -> T {
    if TO_WAKE.with_borrow(Option::is_some) {
        return work();
    }
    TO_WAKE.set(Some(Vec::new()));
    let _awake = Awake;
    work()
}

/// Wakes who is to be woken, also when the work panicked.
struct Awake;

impl Drop for Awake {
    fn drop(&mut self) {
        for inbox in TO_WAKE.take().into_iter().flatten() {
            inbox.filled.notify_one();
        }
    }
}

impl Inbox {
    pub(in crate::hub) fn new(mark: usize) -> Self {
        let messages = AtomicUsize::new(0);
        Self { queue: Mutex::default(), filled: Notify::new(), messages, mark, drained: Notify::new() }
    }

    /// Adds a command. The queue itself has no bound: publishers are held by [`Inbox::room`], and everything else is
    /// at most an answer to something a session was allowed to ask.
    pub(in crate::hub) fn push(self: &Arc<Self>, command: Command) {
        #[cfg(test)]
        PUSHED.with_borrow_mut(|pushed| pushed.push(command.name()));
        if matches!(command, Command::Deliver { .. }) {
            self.messages.fetch_add(1, AcqRel);
        }
        {
            let mut queue = self.lock();
            if queue.closed {
                // What a shard that has ended was to do is dropped, but not under the lock: it may have its own ideas.
                drop(queue);
                return drop(command);
            }
            queue.commands.push_back(command);
        }
        let held_back = TO_WAKE.with_borrow_mut(|to_wake| match to_wake {
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

    /// Moves everything that is there into `commands`, which is empty, and waits until there is something.
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
        self.messages.load(Acquire) < self.mark
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

    /// The shard takes nothing any more: nobody shall wait for it.
    pub(in crate::hub) fn closed(&self) {
        let left = {
            let mut queue = self.lock();
            queue.closed = true;
            std::mem::take(&mut queue.commands)
        };
        drop(left);
        self.drained.notify_waiters();
    }

    /// The shard has dealt with so many messages.
    pub(in crate::hub) fn taken(&self, messages: usize) {
        let before = self.messages.fetch_sub(messages, AcqRel);
        if before >= self.mark {
            self.drained.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that is done under the lock can fail half way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
thread_local! {
    /// The names of the commands that this thread has pushed.
    static PUSHED: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

/// The names of the commands that this thread pushes meanwhile.
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
            Self::Page { .. } => "page",
            Self::Select { .. } => "select",
            Self::Unsubscribe { .. } => "unsubscribe",
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
    fn commands_wait_for_the_end_of_what_brings_them() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let inbox = Arc::new(Inbox::new(1));
            let mut commands = VecDeque::new();
            let pending = |take: &mut Pin<Box<dyn Future<Output = ()> + '_>>| {
                take.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
            };
            let mut take: Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(inbox.take(&mut commands));
            assert!(pending(&mut take));
            together(|| {
                inbox.push(stop());
                together(|| inbox.push(stop()));
                assert!(TO_WAKE.with_borrow(|to_wake| to_wake.as_ref().is_some_and(|to_wake| to_wake.len() == 1)));
            });
            take.await;
            assert_eq!(commands.len(), 2);
            inbox.closed();
            inbox.push(stop());
            assert!(inbox.lock().commands.is_empty());
        });
    }
}
