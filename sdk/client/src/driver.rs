//! The task that drives a client: it moves bytes, time and commands to the machine and does what that says. It decides
//! nothing, with one exception: while a subscription has no room, it does not read the socket.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rialto_protocol::Codec;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};

use crate::Ending;
use crate::address::Address;
use crate::command::{Command, ReplySender};
use crate::credential::{Credential, Source};
use crate::event::{Event, Item};
use crate::machine::{Action, Machine, Moment, NewRequest, Refusal, StreamId, Ticket};
use crate::socket::{Incoming, Socket};
use crate::tls::Trust;

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the driver needs to know.
pub(crate) struct Setting {
    pub(crate) address: Address,
    pub(crate) codec: Codec,
    pub(crate) trust: Trust,
    pub(crate) source: Option<Source>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) ending: Arc<OnceLock<Ending>>,
}

/// Where to send the outcome of a request, and the place that it takes in the queue.
type Waiter = (ReplySender, Option<OwnedSemaphorePermit>);

/// The state of the task.
pub(crate) struct Driver {
    setting: Setting,
    machine: Machine,
    commands: mpsc::UnboundedReceiver<Command>,
    waiters: HashMap<Ticket, Waiter>,
    next_ticket: Ticket,
    queues: HashMap<StreamId, mpsc::Sender<Item>>,
    /// What has no room yet. While there is any, nothing is read.
    held: VecDeque<QueuedItem>,
    socket: Option<Socket>,
    opening: Option<Pending<Result<Socket, Refusal>>>,
    fetching: Option<Pending<Result<Credential, String>>>,
}

enum QueuedItem {
    Item(StreamId, Item),
    End(StreamId),
}

/// What the driver woke up for.
enum Wakeup {
    Command(Option<Command>),
    Incoming(Incoming),
    Opened(Result<Socket, Refusal>),
    Credential(Result<Credential, String>),
    /// The first item that was held has room, or its subscription is gone.
    Room,
    Time,
}

impl Driver {
    pub(crate) fn new(setting: Setting, machine: Machine, commands: mpsc::UnboundedReceiver<Command>) -> Self {
        Self {
            setting,
            machine,
            commands,
            waiters: HashMap::new(),
            next_ticket: 1,
            queues: HashMap::new(),
            held: VecDeque::new(),
            socket: None,
            opening: None,
            fetching: None,
        }
    }

    /// Runs until the client has ended.
    pub(crate) async fn run(mut self) {
        self.machine.tick(now());
        loop {
            self.act().await;
            let is_over = match self.machine.ending() {
                // A program that asked for the end does not wait for what is held.
                Some(Ending::Asked) => true,
                Some(_) => self.held.is_empty(),
                None => false,
            };
            if is_over {
                break;
            }
            match self.wake().await {
                Wakeup::Command(Some(command)) => self.obey(command),
                // No handle is left.
                Wakeup::Command(None) => self.machine.close(),
                Wakeup::Incoming(Incoming::Frame(frame)) => self.machine.receive(now(), &frame),
                Wakeup::Incoming(Incoming::Sign) => self.machine.alive(now()),
                Wakeup::Incoming(Incoming::Closed(close)) => {
                    self.socket = None;
                    self.machine.closed(now(), close);
                }
                Wakeup::Opened(outcome) => self.opened(outcome),
                Wakeup::Credential(fetched) => {
                    self.fetching = None;
                    self.machine.credential(now(), fetched);
                }
                Wakeup::Room => self.make_room(),
                Wakeup::Time => self.machine.tick(now()),
            }
        }
    }

    /// Waits for the next thing to happen. Every branch keeps its state where it was if another one is quicker.
    async fn wake(&mut self) -> Wakeup {
        let reads = self.held.is_empty();
        let wake_at = self.machine.wake_at();
        let first = match self.held.front() {
            Some(QueuedItem::Item(stream, _)) => self.queues.get(stream),
            _ => None,
        };
        tokio::select! {
            command = self.commands.recv() => Wakeup::Command(command),
            incoming = turn(&mut self.socket, reads) => Wakeup::Incoming(incoming),
            outcome = maybe(&mut self.opening) => Wakeup::Opened(outcome),
            fetched = maybe(&mut self.fetching) => Wakeup::Credential(fetched),
            () = room(first), if !reads => Wakeup::Room,
            () = time(wake_at) => Wakeup::Time,
        }
    }

    /// Does what the machine says.
    async fn act(&mut self) {
        while let Some(action) = self.machine.next_action() {
            match action {
                Action::FetchCredential => self.fetching = self.setting.source.as_ref().map(Source::fetch),
                Action::Connect(headers) => {
                    let Setting { address, codec, trust, .. } = &self.setting;
                    self.opening = Some(Box::pin(Socket::open(address.clone(), *codec, trust.clone(), headers)));
                }
                Action::Send(frame) => self.with_socket(|socket| socket.send(frame)),
                Action::Probe => self.with_socket(Socket::ping),
                Action::Beat => self.with_socket(Socket::pong),
                Action::Disconnect(code) => self.disconnect(code).await,
                Action::Complete { ticket, outcome } => {
                    if let Some((reply, _)) = self.waiters.remove(&ticket) {
                        // The caller may no longer wait.
                        let _ = reply.send(*outcome);
                    }
                }
                Action::Deliver { stream, item } => self.deliver(stream, item),
                Action::End(stream) => {
                    self.held.push_back(QueuedItem::End(stream));
                    self.make_room();
                }
                Action::Emit(event) => self.emit(event),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let now = now();
        match command {
            Command::Request { operation, within, retry, reply, place } => {
                let ticket = self.wait((reply, Some(place)));
                self.machine.ask(now, NewRequest { ticket, operation, within, retry });
            }
            Command::Subscribe { stream, wanted, within, queue, reply } => {
                self.queues.insert(stream, queue);
                let ticket = self.wait((reply, None));
                self.machine.subscribe(now, stream, wanted, within, ticket);
            }
            Command::Unsubscribe(stream) => {
                self.queues.remove(&stream);
                self.machine.leave(stream);
                self.make_room();
            }
            Command::Close => self.machine.close(),
        }
    }

    fn wait(&mut self, waiter: Waiter) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiters.insert(ticket, waiter);
        ticket
    }

    fn opened(&mut self, outcome: Result<Socket, Refusal>) {
        self.opening = None;
        match outcome {
            Ok(socket) => {
                self.socket = Some(socket);
                self.machine.opened(now());
            }
            Err(refusal) => self.machine.refused(now(), refusal),
        }
    }

    async fn disconnect(&mut self, code: u16) {
        self.opening = None;
        let Some(socket) = self.socket.take() else { return };
        if self.machine.ending().is_some() { socket.close(code).await } else { socket.drop_now(code).await }
    }

    fn deliver(&mut self, stream: StreamId, item: Item) {
        self.held.push_back(QueuedItem::Item(stream, item));
        self.make_room();
    }

    /// Hands over what has room, in order, and reports to the machine whether something is held.
    fn make_room(&mut self) {
        use mpsc::error::TrySendError::{Closed, Full};
        while let Some(first) = self.held.pop_front() {
            match first {
                QueuedItem::End(stream) => drop(self.queues.remove(&stream)),
                QueuedItem::Item(stream, item) => {
                    let Some(queue) = self.queues.get(&stream) else { continue };
                    match queue.try_send(item) {
                        // A subscription that is dropped sends a command of its own.
                        Ok(()) | Err(Closed(_)) => {}
                        Err(Full(item)) => {
                            self.held.push_front(QueuedItem::Item(stream, item));
                            return self.machine.hold(now());
                        }
                    }
                }
            }
        }
        self.machine.release(now());
    }

    fn emit(&mut self, event: Event) {
        if let Event::Closed(ending) = &event {
            // It ends once.
            let _ = self.setting.ending.set(ending.clone());
        }
        // There need be no listener.
        let _ = self.setting.events.send(event);
    }

    fn with_socket(&mut self, act: impl FnOnce(&mut Socket)) {
        if let Some(socket) = &mut self.socket {
            act(socket);
        }
    }
}

fn now() -> Moment {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    Moment { instant: Instant::now(), unix_ms: u64::try_from(unix_ms).unwrap_or(u64::MAX) }
}

async fn turn(socket: &mut Option<Socket>, reads: bool) -> Incoming {
    match socket {
        Some(socket) => socket.turn(reads).await,
        None => pending().await,
    }
}

async fn maybe<T>(future: &mut Option<Pending<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

/// Waits until a queue has room, or its reader is gone.
async fn room(queue: Option<&mpsc::Sender<Item>>) {
    if let Some(queue) = queue {
        drop(queue.reserve().await);
    }
}

async fn time(wake_at: Option<Instant>) {
    match wake_at {
        Some(wake_at) => tokio::time::sleep_until(wake_at.into()).await,
        None => pending().await,
    }
}
