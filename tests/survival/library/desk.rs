//! Puts together what a library hides: of which broker an epoch is, and at which brokers a publish may have been tried.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rialto_checker::{Fact, Position};

use super::super::book::Book;
use super::PROGRAMS;

/// A publish without an answer yet.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) program: u64,
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) payload: u64,
    /// An attempt at each broker that there was since.
    attempts: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct State {
    node: String,
    nodes: BTreeMap<String, String>,
    /// The sessions at the broker that there is now, of each program as a publisher.
    sessions: BTreeMap<u64, u64>,
    open: BTreeMap<u64, Open>,
}

/// All of it. Programs are publishers under the ids from 0 on.
#[derive(Debug)]
pub(crate) struct Desk {
    programs: u64,
    state: Mutex<State>,
}

impl Desk {
    pub(crate) fn new(programs: u64) -> Self {
        Self { programs, state: Mutex::default() }
    }

    /// An epoch is of a broker.
    pub(crate) fn knows(&self, epoch: &str, node: &str) {
        self.state.lock().unwrap().nodes.insert(epoch.to_owned(), node.to_owned());
    }

    /// The broker of an epoch; where it is of none that there was, the checker will say so.
    pub(crate) fn node(&self, epoch: &str) -> String {
        self.state.lock().unwrap().nodes.get(epoch).cloned().unwrap_or_default()
    }

    /// From now on this broker is met: what is open may be tried there.
    pub(crate) fn moves_to(&self, node: &str, book: &Book) {
        let mut state = self.state.lock().unwrap();
        node.clone_into(&mut state.node);
        for program in 0..self.programs {
            let session = book.number();
            if let Some(earlier) = state.sessions.insert(program, session) {
                book.write(Fact::Disconnected { session: earlier });
            }
            book.write(Fact::Connected { session, client: program, node: node.to_owned() });
        }
        let State { sessions, open, .. } = &mut *state;
        open.values_mut().for_each(|open| open.begin(node, sessions[&open.program], book));
    }

    /// A publish is about to begin; gives its number.
    pub(crate) fn begin(&self, program: u64, topic: &str, key: &str, payload: u64, book: &Book) -> u64 {
        let mut state = self.state.lock().unwrap();
        let number = book.number();
        let (topic, key) = (topic.to_owned(), key.to_owned());
        let mut open = Open { program, topic, key, payload, attempts: BTreeMap::new() };
        open.begin(&state.node, state.sessions[&program], book);
        state.open.insert(number, open);
        number
    }

    /// It was acked: at the broker whose epoch this is. Whether an earlier attempt of the library's was the one that counted is
    /// its own affair.
    pub(crate) fn acked(&self, number: u64, position: Position, book: &Book) {
        let node = self.node(&position.epoch);
        let open = self.state.lock().unwrap().open.remove(&number).expect("it was begun");
        let attempt = *open.attempts.get(&node).unwrap_or_else(|| panic!("{open:?} was acked by {node}"));
        book.write(Fact::Published { attempt, position, duplicate: false });
    }

    /// How many publishes of a program have no answer.
    pub(crate) fn open(&self, program: u64) -> usize {
        self.state.lock().unwrap().open.values().filter(|open| open.program == program).count()
    }
}

impl Open {
    fn begin(&mut self, node: &str, session: u64, book: &Book) {
        let attempt = book.number();
        let (topic, key) = (self.topic.clone(), Some(self.key.clone()));
        book.write(Fact::Publishing { attempt, session, topic, key, payload: self.payload });
        self.attempts.insert(node.to_owned(), attempt);
    }
}

/// The id under which a program follows one of its topics.
pub(crate) fn reader(program: u64, topic: usize) -> u64 {
    PROGRAMS * (1 + topic as u64) + program
}
