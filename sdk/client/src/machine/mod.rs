//! The client as a machine without I/O: what happens goes in, what is to be done comes out. It knows no socket, no clock and no
//! task, so that a test can run a whole life of it.

mod backoff;
mod connection;
#[cfg(test)]
mod connection_tests;
mod credentials;
mod cursor;
mod frames;
#[cfg(test)]
mod model_broker;
#[cfg(test)]
mod random_schedules;
#[cfg(test)]
mod recovery_cases;
#[cfg(test)]
mod recovery_tests;
mod requests;
#[cfg(test)]
mod sign_in_tests;
#[cfg(test)]
mod simulation;
mod subscription_requests;
mod subscriptions;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rialto_protocol::{Closing, Codec, Limits, Operation, Request, RequestRates};

use crate::credential::{Headers, SignIn};
use crate::event::{Event, Item};
use crate::random::Random;
use crate::{Ending, Error};

use backoff::Backoff;
use credentials::Credentials;
use requests::Requests;
pub(crate) use requests::{NewRequest, Reply, Retry};
pub(crate) use subscriptions::StreamId;
use subscriptions::{EntryId, Subscriptions};

/// Names a request of the program, so that its answer finds it.
pub(crate) type Ticket = u64;

/// A time on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) instant: Instant,
    /// Unix milliseconds; for what the broker says in them.
    pub(crate) unix_ms: u64,
}

/// What a machine is made with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) codec: Codec,
    /// Name and version of the program, for the broker's log.
    pub(crate) client: String,
    /// The secret by which the broker knows later sessions of this client.
    pub(crate) instance: String,
    /// Where the client signs in, with what the program returns.
    pub(crate) sign_in: SignIn,
    /// How long an attempt may take from the first packet to the open session.
    pub(crate) attempt: Duration,
    /// How long to go on trying for the first session.
    pub(crate) patience: Duration,
    /// The bounds of the pauses between attempts.
    pub(crate) pause_least: Duration,
    pub(crate) pause_most: Duration,
}

/// What is to be done, in order.
#[derive(Debug)]
pub(crate) enum Action {
    /// Ask the program for what to sign in with.
    FetchCredential,
    /// Open a connection, with these headers in its handshake.
    Connect(Headers),
    /// Send one WebSocket message.
    Send(Vec<u8>),
    /// Send a WebSocket ping, to see whether the broker is still there.
    Probe,
    /// Send an unsolicited WebSocket pong: the session is alive, it only does not read.
    Beat,
    /// Close the connection, or give up the one that is being opened.
    Disconnect(u16),
    /// A request is over.
    Complete { ticket: Ticket, outcome: Box<Result<Reply, Error>> },
    /// An item for a subscription. No more is to be read before it has room.
    Deliver { stream: StreamId, item: Item },
    /// A subscription gets no more.
    End(StreamId),
    /// An event for the program.
    Emit(Event),
}

/// Why a connection attempt failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusal {
    /// The HTTP status, if there was one.
    pub(crate) status: Option<u16>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) reason: String,
}

/// Where the machine is between nothing and a session.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Before the first attempt, and between two.
    Resting { until: Instant },
    /// The program is being asked what to sign in with, and nothing can be done without.
    Fetching,
    /// The connection is being opened.
    Connecting,
    /// It is open; the broker speaks first.
    Greeting,
    /// A `connect` was sent under this id.
    Authenticating(u64),
    /// The session can be used.
    Open,
    /// The client has ended.
    Closed(Ending),
}

/// A client.
#[derive(Debug)]
pub(crate) struct Machine {
    settings: Settings,
    random: Random,
    actions: VecDeque<Action>,
    phase: Phase,
    /// When the attempt is given up.
    attempt_until: Option<Instant>,
    /// When the first session is given up; none once there was one.
    patience_until: Option<Instant>,
    backoff: Backoff,
    credentials: Credentials,
    /// The `connect` with which an open session authenticates again.
    refreshing: Option<u64>,
    /// When an open session ends at the latest whose place another connection takes. Requests wait for that one.
    replace_until: Option<Instant>,
    greeting: Option<rialto_protocol::Greeting>,
    /// What the broker said before it closes.
    closing: Option<Closing>,
    opened_at: Instant,
    heard_at: Instant,
    /// Whether the broker has been asked if it is there.
    is_probing: bool,
    /// Since when nothing is read, because a subscription has no room; moves on with every beat.
    held_since: Option<Instant>,
    requests: Requests,
    subscriptions: Subscriptions,
    pending_subscribes: HashMap<u64, Vec<EntryId>>,
    next_id: u64,
}

impl Machine {
    /// A machine that begins with [`Machine::tick`].
    pub(crate) fn new(settings: Settings, seed: u64, now: Moment) -> Self {
        Self {
            random: Random::new(seed),
            actions: VecDeque::new(),
            phase: Phase::Resting { until: now.instant },
            attempt_until: None,
            patience_until: Some(now.instant + settings.patience),
            backoff: Backoff::new(settings.pause_least, settings.pause_most),
            credentials: Credentials::new(settings.sign_in),
            refreshing: None,
            replace_until: None,
            greeting: None,
            closing: None,
            opened_at: now.instant,
            heard_at: now.instant,
            is_probing: false,
            held_since: None,
            requests: Requests::default(),
            subscriptions: Subscriptions::default(),
            pending_subscribes: HashMap::new(),
            next_id: 1,
            settings,
        }
    }

    /// What to do next.
    pub(crate) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Why the client has ended, if it has.
    pub(crate) fn ending(&self) -> Option<&Ending> {
        match &self.phase {
            Phase::Closed(ending) => Some(ending),
            _ => None,
        }
    }

    /// When [`Machine::tick`] has something to do, if nothing else happens.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let resting = match self.phase {
            Phase::Resting { until } => Some(until),
            Phase::Closed(_) => return None,
            _ => None,
        };
        let open = if self.phase == Phase::Open { self.open_wake_at() } else { None };
        let topics = self.subscriptions.wake_at();
        [resting, self.attempt_until, open, self.requests.wake_at(), topics].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Moment) {
        let over = self.requests.give_up(now.instant);
        self.actions.extend(over);
        for (stream, ticket, within) in self.subscriptions.overdue(now.instant) {
            self.leave(stream);
            self.actions.push_back(Action::End(stream));
            self.answer(ticket, Err(Error::TimedOut { within, may_have_acted: false }));
        }
        self.tick_session(now);
    }

    /// Makes a request.
    pub(crate) fn ask(&mut self, now: Moment, request: NewRequest) {
        if let Phase::Closed(ending) = &self.phase {
            let error = Error::Closed { ending: ending.clone(), may_have_acted: false };
            return self.answer(request.ticket, Err(error));
        }
        if let Operation::Publish(publish) = &request.operation
            && !publish.echo
        {
            self.subscriptions.quiet(&publish.topic);
        }
        let id = self.new_id();
        self.requests.add(id, request, now.instant);
        if self.phase == Phase::Open && self.replace_until.is_none() {
            self.send_request(id);
        }
    }

    /// Sends what waits for a session. Large requests fail here: only a session knows its limits.
    fn send_unsent(&mut self) {
        for id in self.requests.unsent() {
            self.send_request(id);
        }
    }

    fn send_request(&mut self, id: u64) {
        let Some(operation) = self.requests.operation(id) else { return };
        let frame = encode(self.settings.codec, id, operation);
        let limit = self.limits().message_bytes;
        if frame.len() <= limit {
            self.requests.mark_sent(id);
            self.actions.push_back(Action::Send(frame));
        } else if let Some(request) = self.requests.take(id) {
            self.answer(request.ticket, Err(Error::TooLarge { bytes: frame.len(), limit }));
        }
    }

    fn answer(&mut self, ticket: Ticket, outcome: Result<Reply, Error>) {
        self.actions.push_back(Action::Complete { ticket, outcome: Box::new(outcome) });
    }

    fn emit(&mut self, event: Event) {
        self.actions.push_back(Action::Emit(event));
    }

    fn deliver(&mut self, stream: StreamId, item: Item) {
        self.actions.push_back(Action::Deliver { stream, item });
    }

    fn new_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// What the session is held to; before there is one, what every broker takes.
    fn limits(&self) -> Limits {
        let rates = RequestRates::NONE;
        let least = Limits { message_bytes: 4 * 1024, subscriptions: 1, outbox_bytes: 64 * 1024, rates };
        self.greeting.as_ref().map_or(least, |greeting| greeting.limits)
    }
}

fn encode(codec: Codec, id: u64, operation: &Operation<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    // A request holds its operation by value; to clone one is to count a reference, but for the texts.
    Request { id: Some(id), operation: operation.clone() }.encode(codec, &mut frame);
    frame
}
