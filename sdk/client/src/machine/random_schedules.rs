//! Random lives: a broker that loses connections, history and itself, and a machine that must hand out every message once
//! and in order, report every gap, and get every publish done once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;
use rialto_protocol::{GapReason, Operation, Payload, Position, Request};

use super::model_broker::Broker;
use super::simulation::{Simulation, settings};
use super::*;
use crate::topic::Topic;

const TOPICS: [&str; 3] = ["a", "b", "c"];

/// One step of a life.
#[derive(Clone, Debug)]
enum Step {
    /// Other clients publish so many messages.
    Others { topic: usize, count: u64 },
    /// The machine's program publishes.
    Own { topic: usize },
    /// So many frames reach the broker, and so many the machine.
    Pass { up: usize, down: usize },
    /// The connection is lost, with everything on its way.
    Cut,
    /// The broker forgets all but the newest messages.
    Trim { topic: usize, keep: u64 },
    /// The broker is killed and started again, with nothing.
    Restart,
    /// Time passes.
    Time { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let topic = || 0..TOPICS.len();
    prop_oneof![
        4 => (topic(), 1_u64..6).prop_map(|(topic, count)| Step::Others { topic, count }),
        3 => topic().prop_map(|topic| Step::Own { topic }),
        8 => (0_usize..6, 0_usize..12).prop_map(|(up, down)| Step::Pass { up, down }),
        2 => Just(Step::Cut),
        1 => (topic(), 0_u64..4).prop_map(|(topic, keep)| Step::Trim { topic, keep }),
        1 => Just(Step::Restart),
        2 => (1_u64..500).prop_map(|ms| Step::Time { ms }),
    ]
}

/// What the reader of one topic has seen.
#[derive(Debug, Default)]
struct Reader {
    epoch: Option<Arc<str>>,
    offset: u64,
}

/// A machine, its broker and everything that is checked.
struct Life {
    simulation: Simulation,
    broker: Broker,
    up: VecDeque<Request<'static>>,
    is_connected: bool,
    readers: HashMap<String, Reader>,
    next_value: u64,
    answers: HashMap<Ticket, Result<Position, Error>>,
    /// What was published under each life and topic, for later comparison.
    past: HashMap<(Arc<str>, String), Vec<u64>>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut simulation = Simulation::new(settings(), seed);
        simulation.subscribe(900, [Topic::new(TOPICS[0]).last(3), Topic::new(TOPICS[1])]);
        simulation.subscribe(901, [Topic::new(TOPICS[2]).resume_last(2)]);
        let (broker, up, readers) = (Broker::default(), VecDeque::new(), HashMap::new());
        let (answers, past) = (HashMap::new(), HashMap::new());
        let mut life = Self { simulation, broker, up, is_connected: false, readers, next_value: 1, answers, past };
        life.collect();
        life
    }

    fn act(&mut self, step: &Step) {
        match step {
            Step::Others { topic, count } => {
                for _ in 0..*count {
                    self.next_value += 1;
                    self.broker.publish(TOPICS[*topic], self.next_value);
                }
            }
            Step::Own { topic } => self.publish(TOPICS[*topic]),
            Step::Pass { up, down } => self.pass(*up, *down),
            Step::Cut => self.cut(),
            Step::Trim { topic, keep } => {
                let order = self.broker.orders.entry(TOPICS[*topic].to_owned()).or_default();
                order.trimmed = order.trimmed.max((order.published.len() as u64).saturating_sub(*keep));
            }
            Step::Restart => {
                self.cut();
                self.remember();
                self.broker = Broker { life: self.broker.life + 1, ..Broker::default() };
            }
            Step::Time { ms } => {
                self.simulation.ms += ms;
                self.simulation.tick();
                self.collect();
            }
        }
    }

    fn publish(&mut self, topic: &str) {
        self.next_value += 1;
        let ticket = self.next_value;
        let publish = rialto_protocol::Publish {
            topic: topic.to_owned().into(),
            payload: Payload::json(&ticket).unwrap(),
            key: Some(format!("key{ticket}").into()),
            echo: true,
        };
        let (operation, within) = (Operation::Publish(publish), Duration::from_secs(3_600));
        let request = NewRequest { ticket, operation, within, retry: Retry::Allowed };
        self.simulation.machine.ask(self.simulation.now(), request);
        self.collect();
    }

    fn pass(&mut self, up: usize, down: usize) {
        for _ in 0..up {
            let Some(request) = self.up.pop_front() else { break };
            self.broker.obey(&request);
        }
        for _ in 0..down {
            let Some(frame) = self.broker.down.pop_front() else { break };
            self.simulation.machine.receive(self.simulation.now(), &frame.into());
            self.collect();
        }
    }

    fn cut(&mut self) {
        if self.is_connected {
            self.is_connected = false;
            self.up.clear();
            self.broker.down.clear();
            self.broker.subscribed.clear();
            self.simulation.closed(None);
            self.collect();
        }
    }

    fn remember(&mut self) {
        let epoch = self.broker.epoch();
        for (topic, order) in &self.broker.orders {
            self.past.insert((Arc::clone(&epoch), topic.clone()), order.published.clone());
        }
    }

    fn collect(&mut self) {
        self.simulation.collect();
        let mut connects = false;
        for action in std::mem::take(&mut self.simulation.actions) {
            match action {
                Action::Connect(_) => connects = true,
                Action::Send(frame) => {
                    let request = Request::decode(Codec::Json, Vec::leak(frame)).unwrap();
                    self.up.push_back(request);
                }
                Action::Deliver { item, .. } => self.deliver(item),
                Action::Complete { ticket, outcome } => self.answered(ticket, *outcome),
                Action::Emit(_) | Action::Probe => {}
                other => panic!("{other:?}"),
            }
        }
        if connects {
            self.is_connected = true;
            self.simulation.begin();
            self.collect();
        }
    }

    fn answered(&mut self, ticket: Ticket, outcome: Result<Reply, Error>) {
        match outcome {
            Ok(Reply::Published(published)) => {
                let position = published.position.unwrap();
                assert!(self.answers.insert(ticket, Ok(position)).is_none(), "answered twice");
            }
            Ok(Reply::Subscribed(outcomes)) => {
                for subscribed in outcomes.into_iter().map(Result::unwrap) {
                    // A connection may have been lost between the first answers of one subscription.
                    self.readers.entry(subscribed.topic.to_string()).or_default();
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// The reader's own judgement: no double, no hole, nothing altered.
    fn deliver(&mut self, item: Item) {
        let topic = item.topic().to_string();
        let epoch = self.broker.epoch();
        let reader = self.readers.entry(topic.clone()).or_default();
        match item {
            Item::Message(message) => {
                if reader.epoch.as_ref() != Some(&epoch) {
                    *reader = Reader { epoch: Some(Arc::clone(&epoch)), offset: message.offset - 1 };
                }
                assert_eq!(message.offset, reader.offset + 1, "{topic} in {epoch}");
                reader.offset += 1;
                let value: u64 = message.payload.parse().unwrap();
                assert_eq!(value, self.broker.orders[&topic].published[message.offset as usize - 1]);
            }
            Item::Gap(gap) => {
                if reader.epoch.as_ref() != Some(&epoch) {
                    *reader = Reader { epoch: Some(Arc::clone(&epoch)), offset: gap.from - 1 };
                }
                assert_eq!(gap.from, reader.offset + 1, "{topic} in {epoch}: {gap:?}");
                assert!(gap.to >= gap.from && gap.reason != GapReason::Unknown, "{topic} in {epoch}: {gap:?}");
                reader.offset = gap.to;
            }
            Item::Resumed(resumed) => {
                let position = resumed.position.unwrap();
                if reader.epoch.as_ref().is_some_and(|known| *known != position.epoch) {
                    // Everything in the new epoch is new.
                    assert!(!resumed.recovered);
                    *reader = Reader { epoch: Some(position.epoch), offset: 0 };
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Everything gets through from here on.
    fn heal(&mut self) {
        for _ in 0..1_000 {
            while !self.up.is_empty() || !self.broker.down.is_empty() {
                self.pass(usize::MAX, usize::MAX);
            }
            if self.simulation.machine.phase == Phase::Open && self.simulation.machine.requests.unsent().is_empty() {
                break;
            }
            self.simulation.wait();
            self.collect();
        }
        for topic in TOPICS {
            self.broker.publish(topic, 0);
        }
        self.pass(usize::MAX, usize::MAX);
    }

    fn judge(mut self, asked: u64) {
        self.remember();
        for topic in TOPICS {
            let reader = &self.readers[topic];
            let head = self.broker.orders[topic].published.len() as u64;
            assert_eq!(
                (reader.epoch.clone(), reader.offset),
                (Some(self.broker.epoch()), head),
                "{topic} has caught up"
            );
        }
        assert_eq!(self.answers.len() as u64, asked, "every publish has an answer");
        let mut times: HashMap<u64, u64> = HashMap::new();
        for values in self.past.values() {
            for value in values {
                *times.entry(*value).or_default() += 1;
            }
        }
        for (ticket, position) in &self.answers {
            let position = position.as_ref().unwrap();
            let kept = self.past.iter().find_map(|((epoch, _), values)| {
                (*epoch == position.epoch)
                    .then(|| values.get(position.offset as usize - 1))
                    .flatten()
                    .filter(|value| *value == ticket)
            });
            assert!(kept.is_some(), "{ticket} is where its answer says");
            let lives: Vec<usize> =
                self.past.values().map(|values| values.iter().filter(|value| *value == ticket).count()).collect();
            assert!(lives.iter().all(|count| *count <= 1), "{ticket} was published twice in one life");
            // A broker that forgot its keys cannot know a retry.
            assert!(times[ticket] <= self.broker.life + 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_is_lost_doubled_or_left_unreported(
        seed: u64, steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut life = Life::new(seed);
        for step in &steps {
            life.act(step);
        }
        life.heal();
        let asked = steps.iter().filter(|step| matches!(step, Step::Own { .. })).count() as u64;
        life.judge(asked);
    }
}
