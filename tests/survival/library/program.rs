//! One program: publishes random messages, reads some topics, and writes down what the library tells it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto::Codec;
use rialto_checker::Fact;
use rialto_client::{Client, GapReason, Item, Position, Resumed, Subscription};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::super::follower::Follower;
use super::super::run::TOPICS;
use super::super::stage::{Phase, Stage};
use super::super::views::{View, payload};
use super::desk::{Desk, reader};
use crate::support::dice::Dice;

/// Publishes that are under way at once.
const UNDER_WAY: usize = 6;

/// One program.
pub(crate) struct Program {
    id: u64,
    codec: Codec,
    dice: Dice,
    stage: Arc<Stage>,
    desk: Arc<Desk>,
    /// For each topic that it reads the client that it counts as.
    readers: BTreeMap<String, (u64, Follower)>,
}

impl Program {
    pub(crate) fn new(id: u64, seed: u64, stage: Arc<Stage>, desk: Arc<Desk>) -> Self {
        let mut dice = Dice::new(seed, 5_000 + id);
        let mut readers = BTreeMap::new();
        for (place, (topic, _)) in TOPICS.into_iter().enumerate() {
            let id = reader(id, place);
            if dice.percent(50) {
                readers.insert(topic.to_owned(), (id, Follower::default()));
            } else {
                // Who reads nothing has everything.
                stage.post(id, true, &Follower::default());
            }
        }
        Self { id, codec: Codec::ALL[id as usize % 2], dice, stage, desk, readers }
    }

    /// Until the run is over.
    pub(crate) async fn live(mut self) {
        let url = format!("ws://{}", self.stage.address);
        let client = loop {
            let builder = Client::builder(&url).codec(self.codec).deadline(Duration::from_secs(60));
            let quick = builder.pauses(Duration::from_millis(20), Duration::from_millis(200));
            if let Ok(client) = quick.attempt_timeout(Duration::from_secs(2)).connect().await {
                break client;
            }
        };
        let publishing = tokio::spawn(self.publish(client.clone()));
        let names: Vec<&str> = self.readers.keys().map(String::as_str).collect();
        let mut phase = self.stage.phase.subscribe();
        if !names.is_empty() {
            let subscription = client.subscribe_all(names).await.expect("it is answered in the end");
            assert!(subscription.refused().is_empty(), "{:?}", subscription.refused());
            self.read(subscription).await;
        }
        let _ = phase.wait_for(|phase| *phase == Phase::Over).await;
        publishing.await.expect("publishing does not fail");
        for (_, follower) in self.readers.values() {
            self.stage.book.write(Fact::Disconnected { session: follower.session });
        }
        client.close().await;
    }

    /// Publishes, a few at once, and in the end waits for all answers.
    fn publish(&mut self, client: Client) -> impl Future<Output = ()> + 'static {
        let (id, stage, desk) = (self.id, Arc::clone(&self.stage), Arc::clone(&self.desk));
        let mut dice = self.dice.clone();
        async move {
            let mut phase = stage.phase.subscribe();
            let places = Arc::new(Semaphore::new(UNDER_WAY));
            while *phase.borrow() == Phase::Wild {
                let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
                let (topic, number) = (dice.pick(&TOPICS).0, stage.book.number());
                let data = json!({"number": number, "text": "x".repeat(dice.below(600) as usize)});
                let key = format!("key {number}");
                let open = desk.begin(id, topic, &key, payload(&json!({"data": data})), &stage.book);
                let sent = client.publish(topic, &data).key(key).send().await.expect("there is room");
                let (desk, stage) = (Arc::clone(&desk), Arc::clone(&stage));
                tokio::spawn(async move {
                    let published = sent.await.expect("it is acked in the end");
                    desk.acked(open, position(&published.position.expect("no plugin")), &stage.book);
                    drop(place);
                });
                let pause = Duration::from_millis(dice.within(20, 100));
                let _ = tokio::time::timeout(pause, phase.wait_for(|phase| *phase != Phase::Wild)).await;
            }
            let _all = places.acquire_many(UNDER_WAY as u32).await.expect("it is never closed");
            assert_eq!(desk.open(id), 0);
            stage.post(id, true, &Follower::default());
        }
    }

    async fn read(&mut self, mut subscription: Subscription) {
        for begun in subscription.topics().to_vec() {
            let (topic, head) = (begun.topic, begun.position.expect("a topic has a position"));
            self.begin(&topic, &head, None);
        }
        let mut phase = self.stage.phase.subscribe();
        while *phase.borrow_and_update() != Phase::Over {
            if *phase.borrow() == Phase::Calm {
                self.readers.values().for_each(|(id, follower)| self.stage.post(*id, true, follower));
            }
            tokio::select! {
                item = subscription.next() => self.take(item.expect("the client has not ended")),
                _ = phase.changed() => {}
            }
        }
    }

    fn take(&mut self, item: Item) {
        let frame = match item {
            Item::Resumed(Resumed { topic, position, recovered }) => {
                return self.begin(&topic, &position.expect("a topic has a position"), Some(recovered));
            }
            Item::Message(message) => {
                let data: Value = message.payload.parse().expect("it is a value");
                json!({"type": "message", "topic": &*message.topic, "offset": message.offset, "data": data})
            }
            Item::Gap(gap) => {
                let reason = match gap.reason {
                    GapReason::Expired => "expired",
                    GapReason::Reset => "reset",
                    GapReason::Slow => "slow",
                    GapReason::Conflated => "conflated",
                    GapReason::Removed => "removed",
                    GapReason::Unknown => "unknown",
                };
                json!({"type": "gap", "topic": &*gap.topic, "from": gap.from, "to": gap.to, "reason": reason})
            }
            other => panic!("what is this? {other:?}"),
        };
        let topic = frame["topic"].as_str().expect("a topic");
        let (_, follower) = self.readers.get_mut(topic).unwrap_or_else(|| panic!("nobody reads {topic}"));
        follower.push(frame, &self.stage.book);
    }

    /// A topic goes on in a new session, or begins.
    fn begin(&mut self, topic: &str, head: &Position, recovered: Option<bool>) {
        let book = &self.stage.book;
        let (id, follower) = self.readers.get_mut(topic).unwrap_or_else(|| panic!("nobody reads {topic}"));
        if recovered.is_some() {
            book.write(Fact::Disconnected { session: follower.session });
        }
        let head = position(head);
        follower.begin(*id, &json!({"node": self.desk.node(&head.epoch)}), book);
        let view = follower.views.entry(topic.to_owned()).or_default();
        view.begin(&head, recovered);
        if recovered.is_none() {
            *view = View { seen: Some(head.clone()), epoch: view.epoch.take(), ..View::default() };
        }
        let (session, topic) = (follower.session, topic.to_owned());
        book.write(Fact::Resumed { session, topic, position: head, recovered });
    }
}

fn position(position: &Position) -> rialto_checker::Position {
    rialto_checker::Position { epoch: position.epoch.to_string(), offset: position.offset }
}
