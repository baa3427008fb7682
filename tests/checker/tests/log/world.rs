//! A broker and clients that do everything right, in memory: a source of logs that hold.

use std::collections::{BTreeMap, VecDeque};

use rialto_checker::{Event, Fact, Position, Reason};

pub(crate) const CLIENTS: u64 = 4;
pub(crate) const KEEPS: u64 = 6;
const TOPIC: &str = "t";

/// One thing that happens to a client, or to all.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Publishes; the answer may get lost, and then it is tried again.
    Publish(u64, bool),
    Leave(u64),
    /// Comes back and goes on where it was, or else with so many of the last messages.
    Come(u64, u64),
    Kill,
}

#[derive(Debug, Default)]
struct Client {
    session: Option<u64>,
    seen: Option<Position>,
}

/// All of it, and the log that it makes.
#[derive(Debug, Default)]
pub(crate) struct World {
    log: Vec<Event>,
    clients: BTreeMap<u64, Client>,
    numbers: u64,
    node: u64,
    head: u64,
    kept: VecDeque<(u64, u64)>,
}

/// The log of these steps, with everybody back in the end.
pub(crate) fn log_of(steps: &[Step]) -> Vec<Event> {
    let mut world = World::default();
    world.write(Fact::Topic { topic: TOPIC.to_owned(), keeps: KEEPS, keys_ms: 1_000_000 });
    world.write(Fact::Started);
    for step in steps {
        world.step(*step);
    }
    world.write(Fact::Healed { within_ms: 100_000 });
    (0..CLIENTS).for_each(|client| world.come(client, KEEPS));
    world.write(Fact::Ended);
    world.write(Fact::Gauge { name: "sessions".to_owned(), value: 0 });
    world.log
}

impl World {
    fn write(&mut self, fact: Fact) {
        self.log.push(Event { at_ms: self.log.len() as u64, fact });
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn position(&self, offset: u64) -> Position {
        Position { epoch: format!("epoch {}", self.node), offset }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish(client, is_lost) => self.publish(client, is_lost),
            Step::Leave(client) => self.leave(client),
            Step::Come(client, last) => self.come(client, last),
            Step::Kill => {
                self.write(Fact::Killed);
                (0..CLIENTS).for_each(|client| self.leave(client));
                self.node += 1;
                self.head = 0;
                self.kept.clear();
                self.write(Fact::Started);
            }
        }
    }

    fn leave(&mut self, client: u64) {
        if let Some(session) = self.clients.entry(client).or_default().session.take() {
            self.write(Fact::Disconnected { session });
        }
    }

    fn publish(&mut self, client: u64, is_lost: bool) {
        self.come(client, KEEPS);
        let payload = self.number();
        let attempt = self.ask(client, payload);
        self.head += 1;
        let position = self.position(self.head);
        self.kept.push_back((self.head, payload));
        if self.kept.len() as u64 > KEEPS {
            self.kept.pop_front();
        }
        for reader in 0..CLIENTS {
            self.deliver(reader, self.head, payload);
        }
        if is_lost {
            self.write(Fact::Lost { attempt });
            self.leave(client);
            self.come(client, 1);
            let attempt = self.ask(client, payload);
            self.write(Fact::Published { attempt, position, duplicate: true });
        } else {
            self.write(Fact::Published { attempt, position, duplicate: false });
        }
    }

    fn ask(&mut self, client: u64, payload: u64) -> u64 {
        let attempt = self.number();
        let session = self.clients[&client].session.unwrap();
        let key = Some(payload.to_string());
        self.write(Fact::Publishing { attempt, session, topic: TOPIC.to_owned(), key, payload });
        attempt
    }

    fn deliver(&mut self, client: u64, offset: u64, payload: u64) {
        let position = self.position(offset);
        let reader = self.clients.entry(client).or_default();
        let Some(session) = reader.session else { return };
        reader.seen = Some(position.clone());
        self.write(Fact::Delivered { session, topic: TOPIC.to_owned(), position, payload });
    }

    fn come(&mut self, client: u64, last: u64) {
        if self.clients.entry(client).or_default().session.is_some() {
            return;
        }
        let session = self.number();
        self.write(Fact::Connected { session, client, node: format!("node {}", self.node) });
        let since = self.clients[&client].seen.clone();
        let topic = TOPIC.to_owned();
        self.write(Fact::Subscribing { session, topic: topic.clone(), since: since.clone(), last: Some(last) });
        let head = self.position(self.head);
        let is_known = since.as_ref().is_some_and(|since| since.epoch == head.epoch);
        let first = self.head + 1 - self.kept.len() as u64;
        let recovered = since.as_ref().map(|since| is_known && since.offset + 1 >= first);
        let past = self.head - last.min(self.kept.len() as u64);
        self.write(Fact::Subscribed { session, topic: topic.clone(), position: head, recovered });
        let start = match (&since, recovered) {
            (Some(since), Some(true)) => since.offset,
            (Some(since), _) => {
                let (from, reason) = if is_known { (since.offset + 1, Reason::Expired) } else { (1, Reason::Reset) };
                if from <= past {
                    self.write(Fact::Gap { session, topic, from, to: past, reason });
                }
                past
            }
            (None, _) => past,
        };
        let at = self.position(start);
        let reader = self.clients.entry(client).or_default();
        (reader.session, reader.seen) = (Some(session), Some(at));
        for (offset, payload) in self.kept.clone().into_iter().filter(|(offset, _)| *offset > start) {
            self.deliver(client, offset, payload);
        }
    }
}
