//! A client that does random things and comes back whatever happens to it, going on where it was.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rialto::Codec;
use rialto_checker::Fact;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::book::Book;
use super::dice::Dice;
use super::link::{Link, Over};
use super::outbound::Outbound;
use super::run::TOPICS;
use super::views::{View, Views, payload, position, reason};

/// Publishes that are under way at once.
const UNDER_WAY: usize = 6;

/// What clients are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Random things.
    Wild,
    /// Nothing new: come back, finish, listen.
    Calm,
    /// Say goodbye.
    Over,
}

/// How far a client is, in the calm.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    /// Whether it is connected and all that it asked for was answered.
    pub(crate) is_settled: bool,
    /// Where it is in each topic that it follows.
    pub(crate) reached: BTreeMap<String, u64>,
}

/// What all clients share.
pub(crate) struct Stage {
    pub(crate) book: Book,
    pub(crate) address: SocketAddr,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) board: Mutex<Vec<Status>>,
}

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
    views: Views,
    outbound: Outbound,
    asked: BTreeMap<u64, Asked>,
    next_id: u64,
    session: u64,
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
        let (views, outbound, asked) = (Views::new(), Outbound::default(), BTreeMap::new());
        Self { id, codec, dice, stage, views, outbound, asked, next_id: 1, session: 0 }
    }

    /// Until the run is over.
    pub(crate) async fn live(mut self) {
        let mut phase = self.stage.phase.subscribe();
        while *phase.borrow() != Phase::Over {
            if let Ok((mut link, welcome)) = Link::open(self.stage.address, self.codec).await {
                self.begin(&welcome);
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

    fn begin(&mut self, welcome: &Value) {
        self.session = self.stage.book.number();
        let node = welcome["node"].as_str().expect("a node").to_owned();
        self.stage.book.write(Fact::Connected { session: self.session, client: self.id, node });
    }

    fn end(&mut self) {
        self.stage.book.write(Fact::Disconnected { session: self.session });
        self.outbound.lose(&self.stage.book);
        self.asked.clear();
        self.views.retain(|_, view| !view.is_leaving);
        self.views.values_mut().for_each(View::lose);
        self.post(false);
    }

    async fn serve(&mut self, link: &mut Link, phase: &mut watch::Receiver<Phase>) -> Result<Leave, Over> {
        self.restore(link).await?;
        let mut act = tokio::time::Instant::now();
        loop {
            while self.outbound.under_way() < UNDER_WAY
                && let Some(request) = self.outbound.next(self.next_id, self.session, &self.stage.book)
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
        let reached = self.views.iter().map(|(topic, view)| {
            let offset = view.seen.as_ref().map_or(0, |seen| seen.offset);
            (topic.clone(), offset)
        });
        let status = Status { is_settled: is_connected && !is_open, reached: reached.collect() };
        self.stage.board.lock().unwrap()[self.id as usize] = status;
    }

    /// Asks for everything again, at once or one after the other.
    async fn restore(&mut self, link: &mut Link) -> Result<(), Over> {
        let topics: Vec<String> = self.views.keys().cloned().collect();
        if self.dice.percent(50) && !topics.is_empty() {
            return self.subscribe(link, topics).await;
        }
        for topic in topics {
            self.subscribe(link, vec![topic]).await?;
        }
        Ok(())
    }

    async fn subscribe(&mut self, link: &mut Link, topics: Vec<String>) -> Result<(), Over> {
        let mut requests = Vec::new();
        for topic in &topics {
            let view = self.views.get_mut(topic).expect("it is followed");
            view.is_pending = true;
            requests.push(view.request(topic));
            let (topic, since, last) = (topic.clone(), view.seen.clone(), Some(view.last));
            self.stage.book.write(Fact::Subscribing { session: self.session, topic, since, last });
        }
        let request = if requests.len() == 1 { requests.remove(0) } else { json!({"topics": requests}) };
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
        let (session, topic) = (self.session, self.dice.pick(&TOPICS).0.to_owned());
        let is_idle = |view: &View| !view.is_pending && view.epoch.is_some();
        match self.dice.below(100) {
            0..62 => {
                // A client that is behind with its answers has enough to say.
                if self.outbound.open() < 4 * UNDER_WAY {
                    self.outbound.compose(&topic, self.codec, &self.stage.book, &mut self.dice);
                }
            }
            62..72 if !self.views.contains_key(&topic) => {
                let last = self.dice.within(1, 60);
                self.views.insert(topic.clone(), View { last, ..View::default() });
                self.subscribe(link, vec![topic]).await?;
            }
            72..77 if self.views.get(&topic).is_some_and(is_idle) => {
                let view = self.views.get_mut(&topic).expect("it was there");
                (view.is_pending, view.is_leaving) = (true, true);
                self.stage.book.write(Fact::Unsubscribing { session, topic: topic.clone() });
                self.ask(link, "unsubscribe", json!({"topic": topic}), Asked::Unsubscribe(topic)).await?;
            }
            77..82 if self.views.get(&topic).is_some_and(is_idle) => {
                self.views.get_mut(&topic).expect("it was there").is_pending = true;
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
            Some("message" | "gap") => self.hear_push(frame),
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
            Asked::Subscribe(topics) => {
                for (index, topic) in topics.into_iter().enumerate() {
                    let item = reply.get("topics").map_or(reply, |items| &items[index]);
                    assert_eq!(item["topic"], json!(topic), "{reply}");
                    self.subscribed(topic, item);
                }
            }
            Asked::Update(topic) => {
                self.views.get_mut(&topic).expect("it is followed").is_pending = false;
                let position = position(&reply["position"]);
                let session = self.session;
                self.stage.book.write(Fact::Subscribed { session, topic, position, recovered: None });
            }
            Asked::Unsubscribe(topic) => {
                self.views.remove(&topic);
                self.stage.book.write(Fact::Unsubscribed { session: self.session, topic });
            }
        }
    }

    fn subscribed(&mut self, topic: String, item: &Value) {
        let (position, recovered) = (position(&item["position"]), item["recovered"].as_bool());
        let view = self.views.get_mut(&topic).expect("it is followed");
        view.begin(&position, recovered);
        let early = std::mem::take(&mut view.early);
        self.stage.book.write(Fact::Subscribed { session: self.session, topic, position, recovered });
        early.into_iter().for_each(|frame| self.hear_push(frame));
    }

    fn hear_push(&mut self, frame: Value) {
        let session = self.session;
        let topic = frame["topic"].as_str().expect("a topic").to_owned();
        let number = |name: &str| frame[name].as_u64().unwrap_or_else(|| panic!("no {name} in {frame}"));
        let mut nobodys = View { epoch: Some("none".to_owned()), ..View::default() };
        // That it is nobody's is for the checker to say.
        let view = self.views.get_mut(&topic).unwrap_or(&mut nobodys);
        if view.epoch.is_none() {
            view.early.push(frame);
            return;
        }
        if frame["type"] == "gap" {
            let (from, to, reason) = (number("from"), number("to"), reason(&frame["reason"]));
            view.reach(to);
            self.stage.book.write(Fact::Gap { session, topic, from, to, reason });
        } else {
            let (position, payload) = (view.reach(number("offset")), payload(&frame));
            self.stage.book.write(Fact::Delivered { session, topic, position, payload });
        }
    }
}
