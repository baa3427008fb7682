//! A client that comes again and again under new names, does a little of everything, and leaves each time in another way.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rialto_protocol::Codec;
use serde_json::json;

use super::leave::{self, Leave};
use super::{Ground, NEWS, room};
use crate::client::Client;
use rialto_load::LoadError;

/// Sessions that it has at a time, which read nothing while others are busy.
const HELD: usize = 16;
/// Sessions that sleep.
const ASLEEP: usize = 4;
/// Only each time when all ways were gone so often, one sleeps: so it sleeps for long.
const SLEEPS: u64 = 16;
/// The kernel's buffer of one that sleeps.
const ASLEEP_RECEIVE_BYTES: usize = 4096;
/// Topics of its own, used one after the other.
const TOPICS: u64 = 1_000;
/// Between one session and the next: a client, not a load.
const PAUSE: Duration = Duration::from_millis(1);

/// The client.
pub(super) struct Churner {
    name: char,
    number: u64,
    held: VecDeque<(Leave, Client)>,
    asleep: VecDeque<Client>,
    left: [u64; Leave::ALL.len()],
}

impl Churner {
    pub(super) fn new(name: char) -> Self {
        let (held, asleep) = (VecDeque::new(), VecDeque::new());
        Self { name, number: 0, held, asleep, left: [0; Leave::ALL.len()] }
    }

    /// Comes and goes until it is over; tells how often it left in which way, in the order of [`Leave::ALL`].
    pub(super) fn run(mut self, ground: &Ground) -> Result<[u64; Leave::ALL.len()], LoadError> {
        while ground.goes_on() {
            self.visit(ground)?;
            std::thread::sleep(PAUSE);
        }
        for client in std::mem::take(&mut self.asleep) {
            self.leave(Leave::Sleep, client)?;
        }
        for (leave, client) in std::mem::take(&mut self.held) {
            self.leave(leave, client)?;
        }
        Ok(self.left)
    }

    fn visit(&mut self, ground: &Ground) -> Result<(), LoadError> {
        let turns = Leave::ALL.len() as u64;
        let round = self.number / turns;
        let leave = match Leave::ALL[(self.number % turns) as usize] {
            Leave::Sleep if !round.is_multiple_of(SLEEPS) => Leave::Reset,
            leave => leave,
        };
        // Every way is gone in every codec: those that are rare change it with each of theirs.
        let codec = Codec::ALL[(round + round / SLEEPS) as usize % Codec::ALL.len()];
        self.number += 1;
        if leave == Leave::BeforeUpgrade {
            self.left[leave as usize] += 1;
            return leave::before_upgrade(ground.address);
        }
        let receive_bytes = (leave == Leave::Sleep).then_some(ASLEEP_RECEIVE_BYTES);
        let mut client = Client::connect(ground.address, codec, receive_bytes)?;
        ground.sessions.fetch_add(1, Relaxed);
        self.live(&mut client)?;
        match leave {
            Leave::Sleep => self.asleep.push_back(client),
            _ => self.held.push_back((leave, client)),
        }
        if self.asleep.len() > ASLEEP
            && let Some(client) = self.asleep.pop_front()
        {
            self.leave(Leave::Sleep, client)?;
        }
        if self.held.len() > HELD
            && let Some((leave, client)) = self.held.pop_front()
        {
            self.leave(leave, client)?;
        }
        Ok(())
    }

    fn leave(&mut self, leave: Leave, client: Client) -> Result<(), LoadError> {
        self.left[leave as usize] += 1;
        leave.go(client)
    }

    fn live(&self, client: &mut Client) -> Result<(), LoadError> {
        let own = format!("churn.{}.{}", self.name, self.number % TOPICS);
        let room = room(self.number);
        for topic in [NEWS, &own, &room] {
            client.subscribe(topic)?;
        }
        client.ok("publish", json!({"type": "publish", "topic": own, "data": {"number": self.number}}))?;
        let name = format!("{} {}", self.name, self.number);
        client.ok("call", json!({"type": "call", "topic": room, "method": "claim", "data": {"name": name}}))?;
        client.ok("publish", json!({"type": "publish", "topic": room, "data": {"text": "good morning"}}))?;
        client.ok("unsubscribe", json!({"type": "unsubscribe", "topic": own}))?;
        Ok(())
    }
}
