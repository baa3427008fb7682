//! A healthy client that repeats a few operations in turn and records the latency of each.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rialto_protocol::Codec;
use serde_json::json;

use crate::client::{self, Client};
use rialto_load::LoadError;

const TOPIC: &str = "door";
/// Waits are noted in nanoseconds, up to a minute.
const HIGHEST_NS: u64 = 60_000_000_000;
const DIGITS: u8 = 3;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// From before the TCP connection to the welcome of a new session.
    Handshake,
    /// From `ping` to `pong`, on a session that has been there all the time.
    Ping,
    /// From publishing to its own message, on that session.
    Publish,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Handshake, Self::Ping, Self::Publish];

    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Handshake => "connect, upgrade, welcome",
            Self::Ping => "ping → pong",
            Self::Publish => "publish → own message",
        }
    }
}

/// How long it waited.
#[derive(Clone, Debug)]
pub struct Waits {
    acts: [Histogram<u64>; Act::ALL.len()],
}

impl Waits {
    pub(super) fn new() -> Self {
        let empty = || Histogram::new_with_bounds(1, HIGHEST_NS, DIGITS).expect("the bounds are in order");
        Self { acts: [empty(), empty(), empty()] }
    }

    pub(super) fn note(&mut self, act: Act, wait: Duration) {
        self.acts[act as usize].saturating_record(wait.as_nanos() as u64);
    }

    /// How often it did this.
    pub fn count(&self, act: Act) -> u64 {
        self.acts[act as usize].len()
    }

    /// Microseconds within which this part of all waits was over; 1 is the longest.
    pub fn micros(&self, act: Act, part: f64) -> f64 {
        self.acts[act as usize].value_at_quantile(part) as f64 / 1_000.0
    }
}

/// A client with a session.
#[derive(Debug)]
pub(super) struct Caller {
    address: SocketAddr,
    session: Client,
    number: u64,
}

impl Caller {
    pub(super) fn connect(address: SocketAddr) -> Result<Self, LoadError> {
        let mut session = Client::connect(address, Codec::Json, None)?;
        session.subscribe(TOPIC)?;
        Ok(Self { address, session, number: 0 })
    }

    /// Does all acts in turn for so long.
    pub(super) fn call_for(&mut self, time: Duration) -> Result<Waits, LoadError> {
        let mut waits = Waits::new();
        let begun = Instant::now();
        while begun.elapsed() < time {
            for act in Act::ALL {
                waits.note(act, self.call(act)?);
            }
        }
        Ok(waits)
    }

    fn call(&mut self, act: Act) -> Result<Duration, LoadError> {
        let begun = Instant::now();
        match act {
            Act::Handshake => {
                let client = Client::connect(self.address, Codec::Json, None)?;
                let waited = begun.elapsed();
                client.close()?;
                return Ok(waited);
            }
            Act::Ping => drop(self.session.request(json!({"type": "ping"}))?),
            Act::Publish => self.publish()?,
        }
        Ok(begun.elapsed())
    }

    fn publish(&mut self) -> Result<(), LoadError> {
        self.number += 1;
        self.session.ask(json!({"type": "publish", "topic": TOPIC, "data": self.number}))?;
        loop {
            let frame = self.session.expect()?;
            match frame["type"].as_str() {
                Some("message") if frame["data"] == self.number => return Ok(()),
                Some("ok") => {}
                Some("error") => return Err(client::refused("publish", &frame)),
                _ => return Err(client::strange(Some(frame))),
            }
        }
    }
}
