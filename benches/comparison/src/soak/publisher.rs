//! Publishes numbered messages, each when the one before is acked, whoever comes or goes meanwhile.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rialto_protocol::Codec;
use serde_json::json;

use super::{Ground, NEWS};
use crate::client::{self, Client};
use rialto_load::LoadError;

/// Most texts are short…
const SHORT: usize = 60;
/// … and one in so many…
const LONG_ONE_IN: u64 = 10;
/// … is long, so that those who do not read have something not to read.
const LONG: usize = 4_000;
const PAUSE: Duration = Duration::from_millis(1);

/// A session that publishes.
pub(super) struct Publisher {
    name: &'static str,
    session: Client,
}

impl Publisher {
    pub(super) fn connect(ground: &Ground, codec: Codec) -> Result<Self, LoadError> {
        Ok(Self { name: codec.name(), session: Client::connect(ground.address, codec, None)? })
    }

    /// Publishes until it is over; tells how many messages were acked.
    pub(super) fn run(mut self, ground: &Ground) -> Result<u64, LoadError> {
        let (mut number, mut last) = (0, 0);
        while ground.goes_on() {
            number += 1;
            let text = "x".repeat(if number % LONG_ONE_IN == 0 { LONG } else { SHORT });
            let data = json!({"by": self.name, "number": number, "text": text});
            let reply = self.session.ok("publish", json!({"type": "publish", "topic": NEWS, "data": data}))?;
            match reply["position"]["offset"].as_u64() {
                Some(offset) if offset > last => last = offset,
                _ => return Err(client::strange(Some(reply))),
            }
            ground.messages.fetch_add(1, Relaxed);
            std::thread::sleep(PAUSE);
        }
        self.session.close()?;
        Ok(number)
    }
}
