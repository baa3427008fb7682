//! What a client knows of its topics: where it is in each, and what it has asked for.

use std::collections::BTreeMap;

use rialto_checker::{Position, Reason};
use serde_json::{Value, json};

use crate::support::plain;

/// How a client follows one topic.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// How many past messages it wants where there is nothing to go on from.
    pub(crate) last: u64,
    /// The last position that it has seen, over all its sessions.
    pub(crate) seen: Option<Position>,
    /// The epoch of its subscription in this session.
    pub(crate) epoch: Option<String>,
    /// Whether an answer about it is due.
    pub(crate) is_pending: bool,
    /// Whether that answer is the end of it.
    pub(crate) is_leaving: bool,
    /// What came before the answer, which in a bulk may happen.
    pub(crate) early: Vec<Value>,
}

/// All that a client follows.
pub(crate) type Views = BTreeMap<String, View>;

impl View {
    /// The subscription that goes on from where this is.
    pub(crate) fn request(&self, topic: &str) -> Value {
        let mut request = json!({"topic": topic, "last": self.last});
        if let Some(Position { epoch, offset }) = &self.seen {
            request["since"] = json!({"epoch": epoch, "offset": offset});
        }
        request
    }

    /// The session is over: it will have to be asked for again.
    pub(crate) fn lose(&mut self) {
        (self.epoch, self.is_pending) = (None, false);
        self.early.clear();
    }

    /// Where a client is when its subscription was answered: where it was, unless the order is another one.
    pub(crate) fn begin(&mut self, head: &Position, recovered: Option<bool>) {
        self.is_pending = false;
        self.epoch = Some(head.epoch.clone());
        match (&self.seen, recovered) {
            (Some(seen), Some(_)) if seen.epoch == head.epoch => {}
            (Some(_), Some(_)) => self.seen = Some(Position { epoch: head.epoch.clone(), offset: 0 }),
            // Which of the last messages come first, the first one tells.
            _ => self.seen = None,
        }
    }

    /// A message or the end of a gap was seen; gives its position.
    pub(crate) fn reach(&mut self, offset: u64) -> Position {
        let epoch = self.epoch.clone().expect("it is subscribed");
        let position = Position { epoch, offset };
        self.seen = Some(position.clone());
        position
    }
}

/// A position as the broker writes it.
pub(crate) fn position(value: &Value) -> Position {
    let epoch = value["epoch"].as_str().expect("an epoch").to_owned();
    Position { epoch, offset: value["offset"].as_u64().expect("an offset") }
}

pub(crate) fn reason(word: &Value) -> Reason {
    match word.as_str() {
        Some("expired") => Reason::Expired,
        Some("reset") => Reason::Reset,
        Some("slow") => Reason::Slow,
        Some("conflated") => Reason::Conflated,
        _ => panic!("no reason: {word}"),
    }
}

/// The hash of what a frame carries, the same in both codecs (FNV-1a).
pub(crate) fn payload(frame: &Value) -> u64 {
    let text = match (frame.get("data"), frame.get("bytes")) {
        (Some(data), None) => format!("data {}", plain(data)),
        (None, Some(bytes)) => format!("bytes {}", plain(bytes)),
        _ => panic!("neither data nor bytes: {frame}"),
    };
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
