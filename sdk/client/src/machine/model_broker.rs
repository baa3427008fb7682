//! A broker as the protocol says it is, in a few lines: topics with positions and history, keys, and one connection.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rialto_protocol::{
    Codec, Frame, Gap, GapReason, Operation, Payload, Position, Published, Reply, Request, Subscribe, Subscribed,
};

/// A topic of the broker: all that was ever published in this epoch, and what of it is kept.
#[derive(Debug, Default)]
pub(super) struct Order {
    pub(super) published: Vec<u64>,
    pub(super) trimmed: u64,
}

/// A broker as protocol.md says it is, with one connection.
#[derive(Default)]
pub(super) struct Broker {
    pub(super) life: u64,
    pub(super) orders: HashMap<String, Order>,
    pub(super) keys: HashMap<String, Position>,
    /// The topics of the session.
    pub(super) subscribed: Vec<String>,
    /// What is on its way to the machine.
    pub(super) down: VecDeque<Vec<u8>>,
}

impl Broker {
    pub(super) fn epoch(&self) -> Arc<str> {
        format!("epoch{}", self.life).into()
    }

    fn say(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(Codec::Json, &mut bytes);
        self.down.push_back(bytes);
    }

    pub(super) fn publish(&mut self, topic: &str, value: u64) -> Position {
        let order = self.orders.entry(topic.to_owned()).or_default();
        order.published.push(value);
        let offset = order.published.len() as u64;
        if self.subscribed.iter().any(|subscribed| subscribed == topic) {
            self.message(topic, offset, value);
        }
        Position { epoch: self.epoch(), offset }
    }

    fn message(&mut self, topic: &str, offset: u64, value: u64) {
        let payload = Payload::json(&value).unwrap();
        self.say(&Frame::Message { topic, offset, time: 0, from: None, payload: &payload });
    }

    pub(super) fn obey(&mut self, request: &Request<'_>) {
        let Some(id) = request.id else { return };
        match &request.operation {
            Operation::Publish(publish) => {
                let key = publish.key.clone().unwrap().into_owned();
                let known = self.keys.get(&key).cloned();
                let duplicate = known.is_some();
                let value = String::from_utf8(publish.payload.content().to_vec()).unwrap().parse().unwrap();
                let position = known.unwrap_or_else(|| self.publish(&publish.topic, value));
                self.keys.insert(key, position.clone());
                let reply = Reply::Published(Published { position: Some(position), duplicate });
                self.say(&Frame::Ok { id, reply: &reply });
            }
            Operation::Subscribe(topics) => self.subscribe(id, topics),
            other => panic!("{other:?}"),
        }
    }

    fn subscribe(&mut self, id: u64, topics: &[Subscribe<'_>]) {
        let (mut outcomes, mut after) = (Vec::new(), Vec::new());
        for wanted in topics {
            let order = self.orders.entry(wanted.topic.to_string()).or_default();
            let (head, trimmed) = (order.published.len() as u64, order.trimmed);
            let position = Position { epoch: self.epoch(), offset: head };
            let tail = |last: u64| trimmed.max(head.saturating_sub(last));
            let (recovered, gap, start) = match &wanted.since {
                None => (None, None, wanted.last.map_or(head, tail)),
                Some(since) if since.epoch == position.epoch && since.offset >= trimmed => {
                    (Some(true), None, since.offset)
                }
                Some(since) => {
                    let is_same = since.epoch == position.epoch;
                    let from = if is_same { since.offset + 1 } else { 1 };
                    let reason = if is_same { GapReason::Expired } else { GapReason::Reset };
                    let start = wanted.last.map_or(head, tail);
                    (Some(false), (from <= start).then_some((from, start, reason)), start)
                }
            };
            outcomes.push(Ok(Subscribed {
                topic: (*wanted.topic).into(),
                position: Some(position),
                recovered,
                more: None,
                present: None,
            }));
            after.push((wanted.topic.to_string(), gap, start, head));
            self.subscribed.push(wanted.topic.to_string());
        }
        let reply =
            if let [Ok(one)] = &outcomes[..] { Reply::Subscribed(one.clone()) } else { Reply::SubscribedAll(outcomes) };
        self.say(&Frame::Ok { id, reply: &reply });
        for (topic, gap, start, head) in after {
            if let Some((from, to, reason)) = gap {
                self.say(&Frame::Gap(&Gap { topic: topic.as_str().into(), from, to, reason }));
            }
            for offset in start + 1..=head {
                let value = self.orders[&topic].published[offset as usize - 1];
                self.message(&topic, offset, value);
            }
        }
    }
}
