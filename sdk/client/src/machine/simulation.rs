//! A machine that is played to: what happens goes in at a time that the test says, what it does is kept to be read.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use rialto_protocol::{
    Frame, Limits, Member, Operation, Payload, Position, Publish, RequestRates, Subscribed, Welcome,
};

use super::*;
use crate::credential::Credential;
use crate::topic::Topic;

pub(super) const LIMITS: Limits =
    Limits { message_bytes: 65_536, subscriptions: 1_000, outbox_bytes: 1 << 20, rates: RequestRates::NONE };

pub(super) fn settings() -> Settings {
    Settings {
        codec: Codec::Json,
        client: "test/1".into(),
        instance: "0123456789abcdef0123456789abcdef".into(),
        sign_in: SignIn::Never,
        attempt: Duration::from_secs(10),
        patience: Duration::from_secs(3_600),
        pause_least: Duration::from_millis(100),
        pause_most: Duration::from_secs(10),
    }
}

/// A machine and what it has done.
pub(super) struct Simulation {
    pub(super) machine: Machine,
    started: Instant,
    pub(super) ms: u64,
    pub(super) actions: Vec<Action>,
}

impl Simulation {
    pub(super) fn new(settings: Settings, seed: u64) -> Self {
        let started = Instant::now();
        let now = Moment { instant: started, unix_ms: 1_000_000 };
        let mut simulation = Self { machine: Machine::new(settings, seed, now), started, ms: 0, actions: Vec::new() };
        simulation.tick();
        simulation
    }

    /// A session that is open.
    pub(super) fn open(settings: Settings) -> Self {
        let mut simulation = Self::new(settings, 1);
        simulation.begin();
        simulation.actions.clear();
        simulation
    }

    pub(super) fn now(&self) -> Moment {
        Moment { instant: self.started + Duration::from_millis(self.ms), unix_ms: 1_000_000 + self.ms }
    }

    pub(super) fn collect(&mut self) {
        self.actions.extend(std::iter::from_fn(|| self.machine.next_action()));
    }

    pub(super) fn tick(&mut self) {
        self.machine.tick(self.now());
        self.collect();
    }

    /// Goes to the next time at which there is something to do.
    pub(super) fn wait(&mut self) {
        let at = self.machine.wake_at().expect("it waits for something");
        let ms = at.saturating_duration_since(self.started).as_micros().div_ceil(1_000);
        self.ms = self.ms.max(u64::try_from(ms).unwrap());
        self.tick();
    }

    /// The connection opens and the broker greets.
    pub(super) fn begin(&mut self) {
        self.begin_as(None, None);
    }

    /// The same with who the session is by its handshake, and until when.
    pub(super) fn begin_as(&mut self, user: Option<&str>, expires_at: Option<u64>) {
        self.machine.opened(self.now());
        let member = Member { user: user.map(Into::into), ..Member::anonymous("s") };
        let (server, node, features) = ("rialto/0.1.0", "n", &["recovery"][..]);
        self.hear(&Frame::Welcome(Welcome {
            member: &member,
            expires_at,
            server,
            node,
            ping_ms: 25_000,
            features,
            limits: LIMITS,
        }));
    }

    pub(super) fn hear(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(self.machine.settings.codec, &mut bytes);
        self.machine.receive(self.now(), &Bytes::from(bytes));
        self.collect();
    }

    /// The same as a text, for what the broker's encoder does not write yet.
    pub(super) fn hear_text(&mut self, text: &str) {
        self.machine.receive(self.now(), &Bytes::copy_from_slice(text.as_bytes()));
        self.collect();
    }

    /// The program returns a token.
    pub(super) fn token(&mut self, token: &str) {
        self.credential(Ok(Credential::Token(token.to_owned())));
    }

    pub(super) fn credential(&mut self, fetched: Result<Credential, String>) {
        self.machine.credential(self.now(), fetched);
        self.collect();
    }

    pub(super) fn closed(&mut self, code: Option<u16>) {
        self.machine.closed(self.now(), code.map(|code| (code, "why".to_owned())));
        self.collect();
    }

    pub(super) fn subscribe(&mut self, stream: u64, topics: impl IntoIterator<Item = Topic>) {
        let topics = topics.into_iter().collect();
        self.machine.subscribe(self.now(), StreamId(stream), topics, Duration::from_secs(30), stream);
        self.collect();
    }

    pub(super) fn publish(&mut self, ticket: Ticket, retry: Retry) {
        let publish = Publish {
            topic: "t".into(),
            payload: Payload::json(&ticket).unwrap(),
            key: Some(format!("k{ticket}").into()),
            echo: true,
        };
        let operation = Operation::Publish(publish);
        self.machine.ask(self.now(), NewRequest { ticket, operation, within: Duration::from_secs(30), retry });
        self.collect();
    }

    /// What was sent since the last time.
    pub(super) fn sent(&mut self) -> Vec<Request<'static>> {
        let mut sent = Vec::new();
        self.actions.retain(|action| {
            if let Action::Send(frame) = action {
                sent.push(Request::decode(Codec::Json, Vec::leak(frame.clone())).unwrap());
            }
            !matches!(action, Action::Send(_))
        });
        sent
    }

    pub(super) fn items(&self) -> Vec<&Item> {
        let items = self.actions.iter().filter_map(|action| match action {
            Action::Deliver { item, .. } => Some(item),
            _ => None,
        });
        items.collect()
    }

    pub(super) fn retry_in(&self) -> Option<Duration> {
        self.actions.iter().rev().find_map(|action| match action {
            Action::Emit(Event::Disconnected { retry_in, .. }) => Some(*retry_in),
            _ => None,
        })
    }

    pub(super) fn has(&self, wanted: impl Fn(&Action) -> bool) -> bool {
        self.actions.iter().any(wanted)
    }

    pub(super) fn fetches(&self) -> bool {
        self.has(|action| matches!(action, Action::FetchCredential))
    }

    pub(super) fn connects(&self) -> bool {
        self.has(|action| matches!(action, Action::Connect(_)))
    }

    pub(super) fn answer_of(&self, ticket: Ticket) -> Option<&Result<Reply, Error>> {
        self.actions.iter().find_map(|action| match action {
            Action::Complete { ticket: one, outcome } if *one == ticket => Some(&**outcome),
            _ => None,
        })
    }
}

pub(super) fn at(epoch: &str, offset: u64) -> Position {
    Position { epoch: epoch.into(), offset }
}

pub(super) fn there(topic: &str, position: Option<Position>, recovered: Option<bool>) -> Subscribed {
    Subscribed { topic: topic.into(), position, recovered, more: None, present: None }
}

/// The subscriptions that were asked for: ids and topics.
pub(super) fn subscribed_ids(sent: &[Request<'_>]) -> Vec<(u64, Vec<String>)> {
    let mut ids = Vec::new();
    for request in sent {
        if let Operation::Subscribe(topics) = &request.operation {
            ids.push((request.id.unwrap(), topics.iter().map(|topic| topic.topic.to_string()).collect()));
        }
    }
    ids
}

/// One topic that is there, at e:5.
pub(super) fn following() -> Simulation {
    let mut simulation = Simulation::open(settings());
    simulation.subscribe(1, [Topic::new("t")]);
    let (id, _) = subscribed_ids(&simulation.sent())[0].clone();
    let reply = rialto_protocol::Reply::Subscribed(there("t", Some(at("e", 5)), None));
    simulation.hear(&Frame::Ok { id, reply: &reply });
    assert!(matches!(simulation.answer_of(1), Some(Ok(Reply::Subscribed(_)))));
    simulation.actions.clear();
    simulation
}
