//! Publishes to rooms and to the topic that all follow, with keys, for as long as the run goes on.

use std::sync::Arc;
use std::time::Duration;

use rialto::Codec;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::follower::Follower;
use super::super::link::{Link, NoSession, Over};
use super::super::outbound::Outbound;
use super::super::stage::{Phase, Stage};
use super::{ROOMS, open, pause, room};
use crate::support::dice::Dice;

/// Between two messages.
const PACE: Duration = Duration::from_millis(80);
/// Publishes that are under way at once.
const UNDER_WAY: usize = 32;
/// So many of a hundred go to the topic that all follow.
const TO_ALL: u64 = 4;

/// One publisher.
pub(crate) struct Publisher {
    id: u64,
    codec: Codec,
    dice: Dice,
    stage: Arc<Stage>,
    /// It follows nothing.
    follower: Follower,
    outbound: Outbound,
    next_id: u64,
    rooms: Vec<String>,
}

impl Publisher {
    pub(crate) fn new(id: u64, seed: u64, stage: Arc<Stage>) -> Self {
        let (codec, dice) = (Codec::ALL[id as usize % 2], Dice::new(seed, id));
        let rooms = (0..ROOMS).map(room).collect();
        Self { rooms, id, codec, dice, stage, follower: Follower::default(), outbound: Outbound::default(), next_id: 1 }
    }

    /// Until the run is over.
    pub(crate) async fn live(mut self) {
        let mut phase = self.stage.phase.subscribe();
        let mut attempt = 0;
        while *phase.borrow() != Phase::Over {
            let mut hint = None;
            match open(self.stage.address, self.codec).await {
                Ok((mut link, welcome)) => {
                    attempt = 0;
                    self.follower.begin(self.id, &welcome, &self.stage.book);
                    if self.serve(&mut link, &mut phase).await.is_ok() {
                        link.close().await;
                    }
                    self.follower.end(&self.stage.book);
                    self.outbound.lose(&self.stage.book);
                    self.stage.post(self.id, false, &self.follower);
                }
                Err(NoSession::TurnedAway(_, seconds)) => hint = Some(seconds),
                Err(NoSession::Over) => {}
            }
            let pause = pause(&mut self.dice, attempt, hint);
            attempt += 1;
            let _ = tokio::time::timeout(pause, phase.wait_for(|phase| *phase == Phase::Over)).await;
        }
    }

    async fn serve(&mut self, link: &mut Link, phase: &mut watch::Receiver<Phase>) -> Result<(), Over> {
        let mut next = Instant::now();
        loop {
            while self.outbound.under_way() < UNDER_WAY
                && let Some(request) = self.outbound.next(self.next_id, self.follower.session, &self.stage.book)
            {
                self.next_id += 1;
                link.send(&request).await?;
            }
            let now = *phase.borrow_and_update();
            match now {
                Phase::Wild => {}
                Phase::Calm => self.stage.post(self.id, self.outbound.open() == 0, &self.follower),
                Phase::Over => return Ok(()),
            }
            tokio::select! {
                frame = link.next() => {
                    let frame = frame?;
                    if frame["type"] != json!("closing") {
                        let id = frame["id"].as_u64().unwrap_or_else(|| panic!("what is this? {frame}"));
                        assert!(self.outbound.answered(id, &frame, &self.stage.book), "{frame}");
                    }
                }
                _ = phase.changed() => {}
                () = tokio::time::sleep_until(next), if now == Phase::Wild => {
                    next = Instant::now() + PACE;
                    let is_for_all = self.dice.percent(TO_ALL);
                    let topic = if is_for_all { "all" } else { self.dice.pick(&self.rooms) }.to_owned();
                    self.outbound.compose(&topic, self.codec, &self.stage.book, &mut self.dice);
                }
            }
        }
    }
}
