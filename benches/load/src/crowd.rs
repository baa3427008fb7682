//! All connections of a run and the one thread that serves them. It decides when nothing; `load` and `idle` do.

use std::ops::Range;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::connection::{Connection, Fate};
use crate::descriptors;
use crate::dialect::{Incoming, Role, Wire};
use crate::error::LoadError;
use crate::payload::{self, PROBE, STAMP_BYTES, Stamp, TOPICS_MAX};
use crate::scenario::{Faults, Scenario, Target};
use crate::socket::{self, Asked, Upgraded};
use crate::tally::{Place, Tally};

/// How long subscriptions may take from one confirmation to the next.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);
/// How often subscribers are tried that cannot be asked.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// Read at most so much at once; the pieces of large messages are put together here too.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Envelopes are never longer.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;
/// The kernel's buffer of a subscriber that never reads.
const STALLED_RECEIVE_BYTES: usize = 4096;
/// Publishers of a dialect that needs one for each topic.
const PUBLISHERS_MAX: u32 = 64;
/// Fewer than most servers let wait to be accepted.
const ASKED_AT_ONCE: usize = 100;
const EVENTS: usize = 1024;

/// Subscribers, stalled ones and publishers.
pub(crate) struct Crowd {
    pub(crate) tally: Tally,
    wires: Vec<Wire>,
    members: Vec<Member>,
    /// The first publisher; the others follow.
    publishers: Range<usize>,
    poll: Poll,
    events: Events,
    /// Connections with something to read, and whether that goes to its end.
    ready: Vec<(usize, bool)>,
    buffer: Vec<u8>,
    started: Instant,
}

struct Member {
    /// None when it is closed.
    connection: Option<Connection>,
    /// Which of `wires` it uses.
    wire: usize,
    /// What it is subscribed to, if its messages count.
    place: Option<Place>,
    /// Confirmations that have not come.
    awaiting: u32,
}

/// A connection to be opened.
struct Plan {
    wire: usize,
    role: Role,
    stalled: bool,
}

impl Crowd {
    /// Connects and subscribes everybody and waits until that is done. Tells how far it is, from 0 to 1.
    pub(crate) fn open(target: &Target, scenario: &Scenario, progress: &mut dyn FnMut(f64)) -> Result<Self, LoadError> {
        let mut crowd = Self::empty(target, scenario)?;
        crowd.subscribe(target, scenario, progress)?;
        Ok(crowd)
    }

    fn empty(target: &Target, scenario: &Scenario) -> Result<Self, LoadError> {
        let wires = Wire::all(target.dialect, scenario);
        let content_bytes = Wire::content_bytes(target.dialect, scenario.payload_bytes);
        check(scenario, &wires[0], content_bytes)?;
        Ok(Self {
            tally: Tally::new(scenario.topics, content_bytes, wires[0].has_offsets()),
            wires,
            members: Vec::new(),
            publishers: 0..0,
            poll: Poll::new().map_err(LoadError::system("no epoll"))?,
            events: Events::with_capacity(EVENTS),
            ready: Vec::with_capacity(EVENTS),
            buffer: vec![0; BUFFER_BYTES.max(2 * (content_bytes + ENVELOPE_BYTES_MAX))],
            started: Instant::now(),
        })
    }

    fn subscribe(
        &mut self,
        target: &Target,
        scenario: &Scenario,
        progress: &mut dyn FnMut(f64),
    ) -> Result<(), LoadError> {
        let plans = plans(scenario, &self.wires);
        descriptors::allow(plans.len() as u64)?;
        let subscribers = plans.iter().filter(|plan| matches!(plan.role, Role::Subscriber(_))).count();
        let stalled = plans.iter().filter(|plan| plan.stalled).count();
        for some in plans.chunks(ASKED_AT_ONCE) {
            let asked = some.iter().map(|plan| self.ask(target, plan)).collect::<Result<Vec<_>, _>>()?;
            for (plan, asked) in some.iter().zip(asked) {
                self.add(plan, asked.upgraded()?)?;
            }
            progress(self.members.len() as f64 / plans.len() as f64);
        }
        self.publishers = subscribers..plans.len();
        // Those that stall are the last subscribers.
        self.confirm(probes(scenario, &self.wires[0], self.tally.content_bytes()), progress)?;
        for member in &mut self.members[subscribers - stalled..subscribers] {
            if let Some(connection) = &mut member.connection {
                connection.ignore(self.poll.registry()).map_err(LoadError::system("a socket cannot be ignored"))?;
            }
        }
        Ok(())
    }

    fn ask(&self, target: &Target, plan: &Plan) -> Result<Asked, LoadError> {
        let receive_bytes = plan.stalled.then_some(STALLED_RECEIVE_BYTES);
        socket::ask(target.address, self.wires[plan.wire].endpoint(&plan.role), receive_bytes)
    }

    fn add(&mut self, plan: &Plan, upgraded: Upgraded) -> Result<(), LoadError> {
        let wire = &self.wires[plan.wire];
        let index = self.members.len();
        let mut connection = Connection::new(upgraded, self.poll.registry(), Token(index))
            .map_err(LoadError::system("a socket cannot be watched"))?;
        wire.introduce(&format!("rialto-bench-{}-{index}", std::process::id()), &plan.role, &mut connection.out);
        let awaiting = wire.confirmations(&plan.role);
        let place = match &plan.role {
            Role::Subscriber(topics) if !plan.stalled => Some(self.tally.subscribe(topics.clone())),
            _ => None,
        };
        self.members.push(Member { connection: Some(connection), wire: plan.wire, place, awaiting });
        self.flush(index)
    }

    /// Waits until all are subscribed.
    fn confirm(&mut self, probes: Vec<Box<[u8]>>, progress: &mut dyn FnMut(f64)) -> Result<(), LoadError> {
        let mut missing = usize::MAX;
        let mut changed = Instant::now();
        let mut probed: Option<Instant> = None;
        loop {
            let still = self.members.iter().filter(|member| member.awaiting > 0).count();
            if still == 0 {
                return Ok(());
            }
            if still < missing {
                (missing, changed) = (still, Instant::now());
                progress(1.0 - still as f64 / self.members.len() as f64);
            }
            if changed.elapsed() > CONFIRM_TIMEOUT {
                let (all, seconds) = (self.members.len(), CONFIRM_TIMEOUT.as_secs());
                let what = if probes.is_empty() { "connections are not confirmed" } else { "got no probe" };
                return Err(LoadError::TimedOut { missing: still, all, what, seconds });
            }
            if probed.is_none_or(|last| last.elapsed() > PROBE_EVERY) {
                probed = Some(Instant::now());
                for (topic, content) in probes.iter().enumerate() {
                    let publisher = self.publisher(topic as u32);
                    self.members[publisher].publish(&self.wires, topic as u32, content);
                }
                self.send()?;
            }
            self.turn(Some(Duration::from_millis(50)))?;
            let refusal = self.members.iter().find_map(|member| member.connection.as_ref()?.refusal.clone());
            let closed = self.members.iter().any(|member| member.connection.is_none());
            if let Some(reason) = refusal.or_else(|| closed.then(|| "it closed a connection".to_owned())) {
                return Err(LoadError::Refused { what: "subscribe", reason });
            }
        }
    }

    /// Nanoseconds since the run began.
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Publishes a message that was due at `due_ns`; [`Crowd::send`] sends it.
    pub(crate) fn publish(&mut self, topic: u32, due_ns: u64) {
        let publisher = self.publisher(topic);
        let content = self.tally.publish(topic, due_ns);
        self.members[publisher].publish(&self.wires, topic, content);
    }

    /// Sends what was published, as far as the sockets take it; the rest goes out by itself.
    pub(crate) fn send(&mut self) -> Result<(), LoadError> {
        self.publishers.clone().try_for_each(|publisher| self.flush(publisher))
    }

    /// Waits for events, and handles those there are.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>) -> Result<(), LoadError> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(LoadError::system("epoll fails")(error));
            }
            _ => {}
        }
        self.ready.clear();
        self.ready.extend(self.events.iter().map(|event| (event.token().0, event.is_read_closed())));
        for place in 0..self.ready.len() {
            let (index, to_end) = self.ready[place];
            self.receive(index, to_end)?;
        }
        Ok(())
    }

    /// Whether any subscriber is left.
    pub(crate) fn listens(&self) -> bool {
        self.members.iter().any(|member| member.place.is_some() && member.connection.is_some())
    }

    /// Faults so far, if nothing more comes.
    pub(crate) fn faults(&self) -> Faults {
        self.tally.faults(self.members.iter().filter_map(|member| member.place))
    }

    #[inline]
    fn receive(&mut self, index: usize, to_end: bool) -> Result<(), LoadError> {
        let now_ns = self.now_ns();
        let member = &mut self.members[index];
        let Some(connection) = &mut member.connection else { return Ok(()) };
        let (place, awaiting, tally) = (member.place, &mut member.awaiting, &mut self.tally);
        let wire = &self.wires[member.wire];
        let fate = connection.receive(wire, &mut self.buffer, to_end, |incoming| match (incoming, place) {
            (Incoming::Message(delivery), Some(place)) => tally.deliver(place, delivery, now_ns),
            (Incoming::Gap { topic, from, to }, Some(place)) => tally.gap(place, topic, from, to),
            (Incoming::Position { topic, offset }, Some(place)) => tally.position(place, topic, offset),
            (Incoming::Confirmed, _) => *awaiting = awaiting.saturating_sub(1),
            _ => {}
        });
        match fate.map_err(|strange| LoadError::Strange { what: strange.to_string() })? {
            Fate::Closed => self.lose(index),
            // There may be an answer to a ping, or the socket may take the rest of what is published.
            Fate::Open => self.flush(index),
        }
    }

    fn flush(&mut self, index: usize) -> Result<(), LoadError> {
        let member = &mut self.members[index];
        let Some(connection) = member.connection.as_mut() else { return Ok(()) };
        if let Some(reason) = connection.refusal.clone().filter(|_| self.publishers.contains(&index)) {
            return Err(LoadError::Refused { what: "publish", reason });
        }
        if connection.out.is_empty() {
            return Ok(());
        }
        match connection.flush(self.poll.registry()).map_err(LoadError::system("a socket cannot be watched"))? {
            Fate::Open => Ok(()),
            Fate::Closed => self.lose(index),
        }
    }

    fn lose(&mut self, index: usize) -> Result<(), LoadError> {
        let member = &mut self.members[index];
        let connection = member.connection.take();
        if let Some(place) = member.place {
            self.tally.disconnect(place);
        } else if self.publishers.contains(&index) {
            return Err(LoadError::PublisherLost { reason: connection.and_then(|connection| connection.refusal) });
        }
        Ok(())
    }

    fn publisher(&self, topic: u32) -> usize {
        self.publishers.start + topic as usize % self.publishers.len()
    }
}

impl Member {
    fn publish(&mut self, wires: &[Wire], topic: u32, content: &[u8]) {
        if let Some(connection) = &mut self.connection {
            wires[self.wire].publish(topic, content, &mut connection.out);
        }
    }
}

/// Whether the scenario can be done.
fn check(scenario: &Scenario, wire: &Wire, content_bytes: usize) -> Result<(), LoadError> {
    let wrong = |text: String| Err(LoadError::Scenario(text));
    if content_bytes < STAMP_BYTES {
        let least = scenario.payload_bytes as usize + STAMP_BYTES - content_bytes;
        return wrong(format!("payloads need at least {least} bytes, for their number and time"));
    }
    if scenario.topics == 0 || scenario.subscribers == 0 || scenario.topics_per_connection == 0 {
        return wrong("there must be a topic, a subscriber and a topic per connection at least".to_owned());
    }
    if scenario.topics > TOPICS_MAX {
        return wrong(format!("at most {TOPICS_MAX} topics"));
    }
    if !wire.joins_topics() && (scenario.topics > PUBLISHERS_MAX || scenario.topics_per_connection > 1) {
        return wrong(format!(
            "this dialect has one topic per connection, and the load at most {PUBLISHERS_MAX} topics"
        ));
    }
    Ok(())
}

/// All connections of a scenario: subscribers, then those that stall, then publishers.
fn plans(scenario: &Scenario, wires: &[Wire]) -> Vec<Plan> {
    let mut plans = Vec::new();
    for start in (0..scenario.topics).step_by(scenario.topics_per_connection as usize) {
        let end = scenario.topics.min(start.saturating_add(scenario.topics_per_connection));
        for _ in 0..scenario.subscribers {
            plans.push(Plan { wire: plans.len() % wires.len(), role: Role::Subscriber(start..end), stalled: false });
        }
    }
    for index in 0..scenario.stalled {
        plans.push(Plan { wire: index as usize % wires.len(), role: Role::Subscriber(0..1), stalled: true });
    }
    let publishers = if wires[0].joins_topics() { 1 } else { scenario.topics };
    for index in 0..publishers {
        let topics = if publishers == 1 { 0..scenario.topics } else { index..index + 1 };
        plans.push(Plan { wire: 0, role: Role::Publisher(topics), stalled: false });
    }
    plans
}

/// The probe of each topic, where the dialect needs one.
fn probes(scenario: &Scenario, wire: &Wire, content_bytes: usize) -> Vec<Box<[u8]>> {
    let topics = if wire.needs_probe() { 0..scenario.topics } else { 0..0 };
    topics.map(|topic| payload::write(Stamp { topic, sequence: PROBE, time_ns: 0 }, content_bytes)).collect()
}
