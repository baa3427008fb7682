//! One client of a reconnect storm: follows a shared topic and a room, and reconnects after a random pause.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rialto::Codec;
use serde_json::json;
use tokio::sync::{Semaphore, watch};

use super::super::follower::Follower;
use super::super::link::{Link, NoSession, Over};
use super::super::stage::{Phase, Stage};
use super::super::views::View;
use super::{ROOMS, Return, open, pause, room};
use crate::support::dice::Dice;

/// Past messages that a member asks for where there is nothing to go on from: all.
const LAST: u64 = 100_000;

/// What the members came to, all together.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Limits how many clients connect at once at the start, before the storm.
    initial: Semaphore,
    connected: watch::Sender<u64>,
    returned: watch::Sender<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    returns: Vec<Return>,
    turned_away: BTreeMap<u16, u64>,
    nobody: u64,
}

impl Tally {
    pub(crate) fn new(at_once: usize) -> Self {
        let (connected, returned) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { initial: Semaphore::new(at_once), connected, returned, state: Mutex::default() }
    }

    /// Until so many are connected for the first time.
    pub(crate) async fn connected(&self, members: u64) {
        let _ = self.connected.subscribe().wait_for(|count| *count >= members).await;
        // What was turned away until here is not of interest.
        *self.state.lock().unwrap() = State::default();
    }

    /// Until so many are back and have everything.
    pub(crate) async fn returned(&self, members: u64) {
        let _ = self.returned.subscribe().wait_for(|count| *count >= members).await;
    }

    /// From now on nobody waits for others.
    pub(crate) fn let_all_come(&self) {
        self.initial.add_permits(1 << 20);
    }

    pub(crate) fn take(&self) -> (Vec<Return>, BTreeMap<u16, u64>, u64) {
        let State { returns, turned_away, nobody } = std::mem::take(&mut *self.state.lock().unwrap());
        (returns, turned_away, nobody)
    }

    fn turned_away(&self, status: u16) {
        *self.state.lock().unwrap().turned_away.entry(status).or_default() += 1;
    }

    fn caught_up(&self, back: Instant, is_first: bool) {
        if is_first {
            self.connected.send_modify(|count| *count += 1);
        } else {
            self.state.lock().unwrap().returns.push(Return { back, caught_up: Instant::now() });
            self.returned.send_modify(|count| *count += 1);
        }
    }
}

/// One member.
pub(crate) struct Member {
    id: u64,
    codec: Codec,
    dice: Dice,
    stage: Arc<Stage>,
    tally: Arc<Tally>,
    follower: Follower,
    sessions: u64,
}

impl Member {
    pub(crate) fn new(id: u64, seed: u64, stage: Arc<Stage>, tally: Arc<Tally>) -> Self {
        let mut follower = Follower::default();
        for topic in ["all".to_owned(), room(id % ROOMS)] {
            follower.views.insert(topic, View { last: LAST, ..View::default() });
        }
        Self { id, codec: Codec::ALL[id as usize % 2], dice: Dice::new(seed, id), stage, tally, follower, sessions: 0 }
    }

    /// Until the run is over.
    pub(crate) async fn live(mut self) {
        let mut phase = self.stage.phase.subscribe();
        let mut attempt = 0;
        while *phase.borrow() != Phase::Over {
            let tally = Arc::clone(&self.tally);
            let place = tally.initial.acquire().await.expect("it is never closed");
            let mut hint = None;
            match open(self.stage.address, self.codec).await {
                Ok((mut link, welcome)) => {
                    self.follower.begin(self.id, &welcome, &self.stage.book);
                    attempt = 0;
                    drop(place);
                    if self.serve(&mut link, &mut phase).await.is_ok() {
                        link.close().await;
                    }
                    self.follower.end(&self.stage.book);
                    self.stage.post(self.id, false, &self.follower);
                }
                Err(NoSession::TurnedAway(status, seconds)) => {
                    self.tally.turned_away(status);
                    hint = Some(seconds);
                }
                Err(NoSession::Over) => self.tally.state.lock().unwrap().nobody += 1,
            }
            let pause: Duration = pause(&mut self.dice, attempt, hint);
            attempt += 1;
            let _ = tokio::time::timeout(pause, phase.wait_for(|phase| *phase == Phase::Over)).await;
        }
    }

    /// Until it is over, one way or the other.
    async fn serve(&mut self, link: &mut Link, phase: &mut watch::Receiver<Phase>) -> Result<(), Over> {
        let topics: Vec<String> = self.follower.views.keys().cloned().collect();
        let mut request = self.follower.asks(&topics, &self.stage.book);
        (request["type"], request["id"]) = (json!("subscribe"), json!(1));
        link.send(&request).await?;
        let (mut back, mut heads) = (None, Vec::new());
        loop {
            let now = *phase.borrow_and_update();
            match now {
                Phase::Wild => {}
                Phase::Calm => self.stage.post(self.id, back.is_some(), &self.follower),
                Phase::Over => return Ok(()),
            }
            let frame = tokio::select! {
                frame = link.next() => frame?,
                _ = phase.changed() => continue,
            };
            match frame["type"].as_str() {
                Some("ok") => {
                    back = Some(Instant::now());
                    let head = |item: &serde_json::Value| item["position"]["offset"].as_u64().expect("an offset");
                    heads = frame["topics"].as_array().expect("a list").iter().map(head).collect();
                    self.follower.answered(topics.clone(), &frame, &self.stage.book);
                }
                Some("message" | "gap") => self.follower.push(frame, &self.stage.book),
                Some("closing") => {}
                _ => panic!("what is this? {frame}"),
            }
            let mut reached = self.follower.views.values().map(|view| view.seen.as_ref().map_or(0, |seen| seen.offset));
            if let Some(back) = back
                && !heads.is_empty()
                && heads.iter().all(|head| reached.next().is_some_and(|own| own >= *head))
            {
                heads.clear();
                self.tally.caught_up(back, self.sessions == 0);
                self.sessions += 1;
            }
        }
    }
}
