//! A client that does random things and comes back whatever happens to it, going on where it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto::Codec;
use rialto_checker::Fact;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::follower::Follower;
use super::link::{Link, Over};
use super::outbound::Outbound;
use super::run::TOPICS;
use super::stage::{Phase, Stage};
use super::views::{View, position};
use crate::support::dice::Dice;

/// How long a client waits for anything at all: the broker pings far more often.
const SILENCE: Duration = Duration::from_millis(1_500);
/// Publishes that are under way at once.
const UNDER_WAY: usize = 6;

/// A request that waits for its answer.
#[derive(Debug)]
enum Asked {
    Subscribe(Vec<String>),
    Update(String),
    Unsubscribe(String),
}

/// One client.
pub(crate) struct Client {
    id: u64,
    codec: Codec,
    dice: Dice,
    stage: Arc<Stage>,
    follower: Follower,
    outbound: Outbound,
    asked: BTreeMap<u64, Asked>,
    next_id: u64,
}

/// Why a session ended that was not cut.
enum Leave {
    Politely,
    Rudely,
}

impl Client {
    pub(crate) fn new(id: u64, seed: u64, stage: Arc<Stage>) -> Self {
        let codec = Codec::ALL[id as usize % 2];
        let dice = Dice::new(seed, 1_000 + id);
        let (follower, outbound, asked) = (Follower::default(), Outbound::default(), BTreeMap::new());
        Self { id, codec, dice, stage, follower, outbound, asked, next_id: 1 }
    }

    /// Until the run is over.
    pub(crate) async fn live(mut self) {
        let mut phase = self.stage.phase.subscribe();
        while *phase.borrow() != Phase::Over {
            let instance = format!("a-client-with-the-number-{:04}", self.id);
            if let Ok((mut link, welcome)) = Link::open(self.stage.address, self.codec, &instance, SILENCE).await {
                self.follower.begin(self.id, &welcome, &self.stage.book);
                let ended = self.serve(&mut link, &mut phase).await;
                if let Ok(Leave::Politely) = ended {
                    link.close().await;
                }
                self.end();
            }
            let pause = Duration::from_millis(self.dice.within(5, 100));
            let _ = tokio::time::timeout(pause, phase.wait_for(|phase| *phase == Phase::Over)).await;
        }
    }

    fn end(&mut self) {
        self.follower.end(&self.stage.book);
        self.outbound.lose(&self.stage.book);
        self.asked.clear();
        self.post(false);
    }

    async fn serve(&mut self, link: &mut Link, phase: &mut watch::Receiver<Phase>) -> Result<Leave, Over> {
        self.restore(link).await?;
        let mut act = tokio::time::Instant::now();
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
                Phase::Calm => self.post(true),
                Phase::Over => return Ok(Leave::Politely),
            }
            tokio::select! {
                frame = link.next() => self.hear(frame?),
                _ = phase.changed() => {}
                () = tokio::time::sleep_until(act), if now == Phase::Wild => {
                    act = tokio::time::Instant::now() + Duration::from_millis(self.dice.within(20, 100));
                    if let Some(leave) = self.act(link).await? {
                        return Ok(leave);
                    }
                }
            }
        }
    }

    /// Tells how far it is.
    fn post(&self, is_connected: bool) {
        let is_open = self.outbound.open() > 0 || !self.asked.is_empty();
        self.stage.post(self.id, is_connected && !is_open, &self.follower);
    }

    /// Asks for everything again, at once or one after the other.
    async fn restore(&mut self, link: &mut Link) -> Result<(), Over> {
        let topics: Vec<String> = self.follower.views.keys().cloned().collect();
        if self.dice.percent(50) && !topics.is_empty() {
            return self.subscribe(link, topics).await;
        }
        for topic in topics {
            self.subscribe(link, vec![topic]).await?;
        }
        Ok(())
    }

    async fn subscribe(&mut self, link: &mut Link, topics: Vec<String>) -> Result<(), Over> {
        let request = self.follower.asks(&topics, &self.stage.book);
        self.ask(link, "subscribe", request, Asked::Subscribe(topics)).await
    }

    async fn ask(&mut self, link: &mut Link, kind: &str, mut request: Value, asked: Asked) -> Result<(), Over> {
        (request["type"], request["id"]) = (json!(kind), json!(self.next_id));
        self.asked.insert(self.next_id, asked);
        self.next_id += 1;
        link.send(&request).await
    }

    /// One random thing.
    async fn act(&mut self, link: &mut Link) -> Result<Option<Leave>, Over> {
        let (session, topic) = (self.follower.session, self.dice.pick(&TOPICS).0.to_owned());
        let is_idle = |view: &View| !view.is_pending && view.epoch.is_some();
        match self.dice.below(100) {
            // A client that is behind with its answers has enough to say.
            0..62 if self.outbound.open() < 4 * UNDER_WAY => {
                self.outbound.compose(&topic, self.codec, &self.stage.book, &mut self.dice);
            }
            62..72 if !self.follower.views.contains_key(&topic) => {
                let last = self.dice.within(1, 60);
                self.follower.views.insert(topic.clone(), View { last, ..View::default() });
                self.subscribe(link, vec![topic]).await?;
            }
            72..77 if self.follower.views.get(&topic).is_some_and(is_idle) => {
                let view = self.follower.views.get_mut(&topic).expect("it was there");
                (view.is_pending, view.is_leaving) = (true, true);
                self.stage.book.write(Fact::Unsubscribing { session, topic: topic.clone() });
                self.ask(link, "unsubscribe", json!({"topic": topic}), Asked::Unsubscribe(topic)).await?;
            }
            77..82 if self.follower.views.get(&topic).is_some_and(is_idle) => {
                self.follower.views.get_mut(&topic).expect("it was there").is_pending = true;
                self.stage.book.write(Fact::Subscribing { session, topic: topic.clone(), since: None, last: None });
                self.ask(link, "subscribe", json!({"topic": topic}), Asked::Update(topic)).await?;
            }
            82 => return Ok(Some(Leave::Politely)),
            83 => return Ok(Some(Leave::Rudely)),
            _ => {}
        }
        Ok(None)
    }

    fn hear(&mut self, frame: Value) {
        match frame["type"].as_str() {
            Some("ok" | "error") => self.hear_answer(&frame),
            Some("message" | "gap") => self.follower.push(frame, &self.stage.book),
            Some("closing") => {}
            _ => panic!("what is this? {frame}"),
        }
    }

    fn hear_answer(&mut self, reply: &Value) {
        let id = reply["id"].as_u64().expect("it is an answer to a request");
        if self.outbound.answered(id, reply, &self.stage.book) {
            return;
        }
        let asked = self.asked.remove(&id).unwrap_or_else(|| panic!("an answer to no request: {reply}"));
        assert_eq!(reply["type"], "ok", "{asked:?} got {reply}");
        match asked {
            Asked::Subscribe(topics) => self.follower.answered(topics, reply, &self.stage.book),
            Asked::Update(topic) => {
                self.follower.views.get_mut(&topic).expect("it is followed").is_pending = false;
                let position = position(&reply["position"]);
                let session = self.follower.session;
                self.stage.book.write(Fact::Subscribed { session, topic, position, recovered: None });
            }
            Asked::Unsubscribe(topic) => {
                self.follower.views.remove(&topic);
                self.stage.book.write(Fact::Unsubscribed { session: self.follower.session, topic });
            }
        }
    }
}
