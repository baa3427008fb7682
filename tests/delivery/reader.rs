//! A subscriber that reads on request and checks that every offset of a topic is delivered or reported as skipped, once and
//! in order.

use std::collections::BTreeMap;
use std::time::Duration;

use rialto::{Codec, Payload};
use serde_json::{Value, json};

use crate::support::raw::CLOSE;
use crate::support::{Raw, Running, decode, within};

const BUFFER_BYTES: u32 = 16 * 1024;

/// What a subscriber has received of one topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Account {
    /// The last offset, delivered or skipped.
    pub(crate) last: u64,
    pub(crate) delivered: Vec<u64>,
    /// First and last offset and the reason of each gap.
    pub(crate) gaps: Vec<(u64, u64, String)>,
}

pub(crate) struct Reader {
    pub(crate) raw: Raw,
    pub(crate) accounts: BTreeMap<String, Account>,
    /// The code of the Close, if there was one.
    pub(crate) closed: Option<u16>,
    /// The offsets of the messages that were removed, of any topic.
    pub(crate) removed: Vec<u64>,
    answers: Vec<Value>,
    next_id: u64,
}

impl Account {
    /// The account of a subscription that begins after this offset.
    pub(crate) fn from(offset: u64) -> Self {
        Self { last: offset, ..Self::default() }
    }

    pub(crate) fn skipped(&self) -> u64 {
        self.gaps.iter().map(|(from, to, _)| to - from + 1).sum()
    }

    /// Adds a message or a gap. Anything but the next one fails the test.
    pub(crate) fn take(&mut self, push: &Value) {
        let number = |name: &str| push[name].as_u64().unwrap_or_else(|| panic!("no {name} in {push}"));
        if push["type"] == "message" {
            assert_eq!(number("offset"), self.last + 1, "{push} after {:?}", self.gaps.last());
            self.last += 1;
            self.delivered.push(self.last);
        } else {
            assert_eq!(push["type"], "gap", "{push}");
            let (from, to) = (number("from"), number("to"));
            assert_eq!(from, self.last + 1, "{push}");
            assert!(to >= from, "{push}");
            self.gaps.push((from, to, push["reason"].as_str().unwrap().to_owned()));
            self.last = to;
        }
    }
}

impl Reader {
    /// A session whose receive buffer is small, but not so small that reading what was sent takes long.
    pub(crate) async fn narrow(running: &Running, codec: Codec) -> Self {
        Self::over(Raw::connect_sized(running.address, codec, BUFFER_BYTES).await)
    }

    pub(crate) async fn wide(running: &Running, codec: Codec) -> Self {
        Self::over(Raw::connect(running.address, codec).await)
    }

    fn over(raw: Raw) -> Self {
        Self { raw, accounts: BTreeMap::new(), closed: None, removed: Vec::new(), answers: Vec::new(), next_id: 1 }
    }

    /// Subscribes with a delivery policy, null for the topic's own.
    pub(crate) async fn subscribe(&mut self, topic: &str, delivery: Value) {
        let reply = self.request(json!({"type": "subscribe", "topic": topic, "delivery": delivery})).await;
        assert_eq!(reply["type"], "ok", "{reply}");
        let offset = reply["position"]["offset"].as_u64().unwrap();
        if let Some(account) = self.accounts.get(topic) {
            assert_eq!(account.last, offset, "the reply is where the subscription changes");
        }
        self.accounts.entry(topic.to_owned()).or_insert_with(|| Account::from(offset));
    }

    /// Sends a request, and reads until the reply.
    pub(crate) async fn request(&mut self, mut request: Value) -> Value {
        let id = self.ask(&mut request).await;
        self.answer(id).await
    }

    /// Sends a request and reads nothing.
    pub(crate) async fn ask(&mut self, request: &mut Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        request["id"] = id.into();
        if request["delivery"].is_null() {
            request.as_object_mut().unwrap().remove("delivery");
        }
        self.raw.request(request).await;
        id
    }

    /// Reads until the reply to an earlier request.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        loop {
            if let Some(place) = self.answers.iter().position(|answer| answer["id"] == id) {
                return self.answers.remove(place);
            }
            assert!(self.step().await, "closed with {:?} before the answer", self.closed);
        }
    }

    /// Reads until everything up to an offset of a topic was delivered or reported.
    pub(crate) async fn reads_to(&mut self, topic: &str, offset: u64) {
        while self.account(topic).last < offset {
            assert!(self.step().await, "closed with {:?} at {:?}", self.closed, self.account(topic));
        }
    }

    /// Reads until the broker closes the connection.
    pub(crate) async fn reads_to_the_end(&mut self) {
        while self.step().await {}
    }

    pub(crate) fn account(&self, topic: &str) -> &Account {
        &self.accounts[topic]
    }

    /// Reads one frame. False at the end.
    pub(crate) async fn step(&mut self) -> bool {
        let Some(frame) = self.raw.frame().await else { return false };
        if frame.opcode == CLOSE {
            self.closed = Some(frame.code());
        } else if frame.opcode == self.raw.data_opcode() {
            let value = decode(self.raw.codec, &frame.payload);
            match value["type"].as_str().unwrap() {
                "message" | "gap" => {
                    let topic = value["topic"].as_str().unwrap();
                    self.accounts.get_mut(topic).unwrap_or_else(|| panic!("{value} of no subscription")).take(&value);
                }
                "closing" | "x-snapshot" => {}
                "removed" => self.removed.push(value["offset"].as_u64().unwrap()),
                _ => self.answers.push(value),
            }
        }
        true
    }
}

/// Publishes so many messages of about so many bytes, with the keys 0 to 9 in turn. Returns the last offset.
pub(crate) async fn publish(running: &Running, topic: &str, count: u64, bytes: usize) -> u64 {
    let mut offset = 0;
    for index in 0..count {
        let data = json!({"key": index % 10, "text": "x".repeat(bytes)});
        let position = within("the publish", running.broker.publish(topic, Payload::json(&data).unwrap())).await;
        offset = position.unwrap().unwrap().offset;
    }
    offset
}

/// Publishes until bytes stay in an outbox: until a socket that is not read is full, and the system does not enlarge its
/// buffers any more.
pub(crate) async fn fill(running: &Running, topic: &str) -> u64 {
    let mut waited = 0;
    for _ in 0..2_000 {
        let offset = publish(running, topic, 10, 4_000).await;
        // The shard needs a moment to write.
        tokio::time::sleep(Duration::from_millis(1)).await;
        waited = if running.broker.metrics().outbox_bytes > 0 { waited + 1 } else { 0 };
        if waited == 50 {
            return offset;
        }
    }
    panic!("80 MB do not fill a socket that is not read");
}
