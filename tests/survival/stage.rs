//! What all clients of a run share: the log, what they are to do now, and how far each of them is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use rialto::Codec;
use rialto_checker::Fact;
use serde_json::json;
use tokio::sync::watch;

use super::book::Book;
use super::follower::Follower;
use super::views::{payload, position};
use crate::support::Client;

/// What clients are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Random things.
    Wild,
    /// Nothing new: come back, finish, listen.
    Calm,
    /// Say goodbye.
    Over,
}

/// How far a client is, in the calm.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    /// Whether it is connected and all that it asked for was answered.
    pub(crate) is_settled: bool,
    /// Where it is in each topic that it follows.
    pub(crate) reached: BTreeMap<String, u64>,
}

/// What all clients share.
pub(crate) struct Stage {
    pub(crate) book: Book,
    /// Where they connect to.
    pub(crate) address: SocketAddr,
    pub(crate) phase: watch::Sender<Phase>,
    board: Mutex<Vec<Status>>,
}

impl Stage {
    /// For clients with the ids from 0 on.
    pub(crate) fn new(address: SocketAddr, clients: u64) -> Self {
        let board = Mutex::new(vec![Status::default(); clients as usize]);
        Self { book: Book::new(), address, phase: watch::Sender::new(Phase::Wild), board }
    }

    /// A client tells how far it is.
    pub(crate) fn post(&self, client: u64, is_settled: bool, follower: &Follower) {
        let reached = follower.views.iter().map(|(topic, view)| {
            let offset = view.seen.as_ref().map_or(0, |seen| seen.offset);
            (topic.clone(), offset)
        });
        self.board.lock().unwrap()[client as usize] = Status { is_settled, reached: reached.collect() };
    }

    /// Until all clients have settled, and have all seen one last message of each topic, which is published at this address.
    pub(crate) async fn converge(&self, address: SocketAddr, topics: &[String]) {
        self.becomes(|status| status.is_settled).await;
        let mut client = Client::connect(address, Codec::Json).await;
        let session = self.book.number();
        let node = client.welcome["node"].as_str().expect("a node").to_owned();
        let id = self.board.lock().unwrap().len() as u64;
        self.book.write(Fact::Connected { session, client: id, node });
        let mut last = Vec::new();
        for topic in topics {
            let attempt = self.book.number();
            let request =
                json!({"type": "publish", "topic": topic, "data": {"number": attempt, "text": "the last one"}});
            let name = topic.clone();
            self.book.write(Fact::Publishing { attempt, session, topic: name, key: None, payload: payload(&request) });
            let position = position(&client.ok(request).await["position"]);
            last.push((topic.as_str(), position.offset));
            self.book.write(Fact::Published { attempt, position, duplicate: false });
        }
        let has_all = |status: &Status| {
            let mut all = last.iter();
            status.is_settled && all.all(|(topic, offset)| status.reached.get(*topic).is_none_or(|own| own >= offset))
        };
        self.becomes(has_all).await;
    }

    async fn becomes(&self, holds: impl Fn(&Status) -> bool) {
        while !self.board.lock().unwrap().iter().all(&holds) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
