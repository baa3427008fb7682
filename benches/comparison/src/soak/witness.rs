//! A healthy session that reads all the time: it must get every message once and in order, and its pings are answered.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rialto_protocol::Codec;
use serde_json::{Value, json};

use super::{Ground, NEWS};
use crate::client::{self, Client};
use rialto_load::LoadError;

const PAUSE: Duration = Duration::from_millis(2);
/// How long the last messages may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The session and what it got.
pub(super) struct Witness {
    session: Client,
    account: Account,
}

/// What a witness can swear to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Testimony {
    /// Messages, each once and in order.
    pub(super) messages: u64,
    /// Pings that were answered.
    pub(super) round_trips: u64,
}

/// Where the topic and each publisher are.
#[derive(Debug)]
struct Account {
    begin: u64,
    offset: u64,
    numbers: HashMap<String, u64>,
}

impl Witness {
    pub(super) fn connect(ground: &Ground, codec: Codec) -> Result<Self, LoadError> {
        let mut session = Client::connect(ground.address, codec, None)?;
        let offset = session.subscribe(NEWS)?;
        Ok(Self { session, account: Account { begin: offset, offset, numbers: HashMap::new() } })
    }

    /// Reads until it has got all that will ever be published.
    pub(super) fn run(mut self, ground: &Ground) -> Result<Testimony, LoadError> {
        let (mut round_trips, mut ends) = (0, None);
        loop {
            let begun = Instant::now();
            let id = self.session.ask(json!({"type": "ping"}))?;
            loop {
                let frame = self.session.expect()?;
                if frame["id"] == id {
                    break;
                }
                self.account.take(frame)?;
            }
            ground.waited(begun.elapsed());
            round_trips += 1;
            let (messages, all) = (self.account.messages(), ground.all.load(Relaxed));
            if messages == all {
                self.session.close()?;
                return Ok(Testimony { messages, round_trips });
            }
            if messages > all || (!ground.goes_on() && ends.get_or_insert_with(Instant::now).elapsed() > PATIENCE) {
                let what = format!("{messages} messages to a witness where {all} were acked");
                return Err(LoadError::Strange { what });
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Account {
    fn messages(&self) -> u64 {
        self.offset - self.begin
    }

    fn take(&mut self, frame: Value) -> Result<(), LoadError> {
        let follows = frame["type"] == "message" && frame["topic"] == NEWS && frame["offset"] == self.offset + 1;
        let data = &frame["data"];
        let (Some(by), Some(number), true) = (data["by"].as_str(), data["number"].as_u64(), follows) else {
            return Err(client::strange(Some(frame)));
        };
        let last = self.numbers.entry(by.to_owned()).or_default();
        if number != *last + 1 {
            return Err(client::strange(Some(frame)));
        }
        *last = number;
        self.offset += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offset: u64, by: &str, number: u64) -> Value {
        json!({"type": "message", "topic": NEWS, "offset": offset, "data": {"by": by, "number": number}})
    }

    #[test]
    fn only_consecutive_messages_are_accepted() {
        let account = || {
            let mut account = Account { begin: 7, offset: 7, numbers: HashMap::new() };
            for (offset, by, number) in [(8, "json", 1), (9, "msgpack", 1), (10, "json", 2)] {
                account.take(message(offset, by, number)).expect("it follows");
            }
            account
        };
        assert_eq!(account().messages(), 3);
        for (what, frame) in [
            ("twice", message(10, "json", 2)),
            ("a hole", message(12, "json", 3)),
            ("a publisher's message is missing", message(11, "json", 4)),
            ("a gap", json!({"type": "gap", "topic": NEWS, "from": 11, "to": 12, "reason": "slow"})),
            (
                "another topic",
                json!({"type": "message", "topic": "other", "offset": 11, "data": {"by": "json", "number": 3}}),
            ),
        ] {
            assert!(account().take(frame).is_err(), "{what}");
        }
    }
}
