//! What a client publishes: with a key until there is an answer, without one once.

use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rialto::Codec;
use rialto_checker::Fact;
use serde_json::{Value, json};

use super::book::Book;
use super::views::{payload, position};
use crate::support::dice::Dice;

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    topic: String,
    key: Option<String>,
    /// `data` or `bytes`, and the value.
    content: (&'static str, Value),
}

/// All that is to be published or under way.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    waiting: VecDeque<Message>,
    /// By the id of the request, with the number of the attempt.
    under_way: BTreeMap<u64, (u64, Message)>,
    /// A message that was acked, whose key may be tried for another payload.
    acked: Option<Message>,
}

impl Outbound {
    /// How many have no answer yet.
    pub(crate) fn open(&self) -> usize {
        self.waiting.len() + self.under_way.len()
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Thinks up a message.
    pub(crate) fn compose(&mut self, topic: &str, codec: Codec, book: &Book, dice: &mut Dice) {
        let number = book.number();
        let text = "x".repeat(dice.below(600) as usize);
        let content = match codec {
            _ if dice.percent(80) => ("data", json!({"number": number, "text": text})),
            Codec::Json => ("bytes", json!(BASE64.encode(format!("{number} {text}")))),
            Codec::MessagePack => ("bytes", json!({"$bin": BASE64.encode(format!("{number} {text}"))})),
        };
        let mut message = Message { topic: topic.to_owned(), key: None, content };
        match &self.acked {
            Some(acked) if dice.percent(5) => message = Message { content: message.content, ..acked.clone() },
            _ if dice.percent(75) => message.key = Some(format!("key {number}")),
            _ => {}
        }
        self.waiting.push_back(message);
    }

    /// The next request, written down as about to be sent.
    pub(crate) fn next(&mut self, id: u64, session: u64, book: &Book) -> Option<Value> {
        let message = self.waiting.pop_front()?;
        let attempt = book.number();
        let mut request = json!({"type": "publish", "id": id, "topic": message.topic});
        request[message.content.0] = message.content.1.clone();
        if let Some(key) = &message.key {
            request["key"] = json!(key);
        }
        let (topic, key) = (message.topic.clone(), message.key.clone());
        book.write(Fact::Publishing { attempt, session, topic, key, payload: payload(&request) });
        self.under_way.insert(id, (attempt, message));
        Some(request)
    }

    /// An answer came; gives whether it was one of these.
    pub(crate) fn answered(&mut self, id: u64, reply: &Value, book: &Book) -> bool {
        let Some((attempt, message)) = self.under_way.remove(&id) else { return false };
        if reply["type"] == "ok" {
            let duplicate = reply["duplicate"] == json!(true);
            book.write(Fact::Published { attempt, position: position(&reply["position"]), duplicate });
            self.acked = message.key.is_some().then_some(message);
        } else {
            let code = reply["code"].as_str().expect("a code").to_owned();
            assert_eq!(code, "key_reused", "{reply}");
            book.write(Fact::Refused { attempt, code });
        }
        true
    }

    /// The session is over: what has a key is tried again, first and in the same order.
    pub(crate) fn lose(&mut self, book: &Book) {
        for (_, (attempt, message)) in std::mem::take(&mut self.under_way).into_iter().rev() {
            book.write(Fact::Lost { attempt });
            if message.key.is_some() {
                self.waiting.push_front(message);
            }
        }
    }
}
