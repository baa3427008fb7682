//! One run: a broker that goes away and comes back, clients behind the fault proxy, a calm end in which all must have
//! everything, and nothing left when they have gone. Gives the log.

use std::sync::Arc;
use std::time::Duration;

use rialto::config::{Config, History, TopicRule};
use rialto::topic::Pattern;
use rialto_checker::{Event, Fact};
use tokio::task::JoinSet;

use super::book::Book;
use super::client::Client;
use super::stage::{Phase, Stage};
use crate::support::Running;
use crate::support::dice::Dice;
use crate::support::fault::FaultProxy;

/// Clients of a run.
const CLIENTS: u64 = 50;
/// When the faults are over, everybody must have everything within this time.
pub(crate) const WITHIN: Duration = Duration::from_secs(10);
/// Topics with the number of messages that they keep: all, hardly any, none.
pub(crate) const TOPICS: [(&str, u64); 6] =
    [("deep.a", DEEP), ("deep.b", DEEP), ("shallow.a", 20), ("shallow.b", 20), ("none.a", 0), ("none.b", 0)];
const DEEP: u64 = 100_000;
pub(crate) const KEYS_MS: u64 = 120_000;

/// The log of the run that a seed decides.
pub(crate) fn run(seed: u64) -> Vec<Event> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(story(seed))
}

pub(crate) fn broker() -> Running {
    Running::with(|config: &mut Config| {
        let rule = |(pattern, keeps): (&str, u64)| TopicRule {
            pattern: Pattern::parse(pattern).expect("a pattern"),
            history: (keeps > 0).then(|| History { messages: keeps as usize, bytes: 1 << 30, ..History::default() }),
            keys_ms: KEYS_MS,
            ..TopicRule::default()
        };
        config.topics = TOPICS.into_iter().map(rule).collect();
        let limits = &mut config.limits;
        // Small, so that stalls make sessions slow and broken connections are noticed within the run.
        (limits.message_bytes, limits.outbox_bytes, limits.unsent_bytes) = (4_096, 24_576, 4_096);
        (limits.ping_ms, limits.pong_ms, limits.write_ms, limits.frame_ms) = (300, 500, 1_000, 1_000);
        (limits.close_ms, limits.header_ms, limits.topic_idle_ms) = (200, 1_000, 300);
    })
}

async fn story(seed: u64) -> Vec<Event> {
    let mut dice = Dice::new(seed, 0);
    let mut running = broker();
    let proxy = FaultProxy::start(seed, running.address).await;
    let stage = Arc::new(Stage::new(proxy.address, CLIENTS));
    for (topic, keeps) in TOPICS {
        stage.book.write(Fact::Topic { topic: topic.to_owned(), keeps, keys_ms: KEYS_MS });
    }
    stage.book.write(Fact::Started);
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        clients.spawn(Client::new(id, seed, Arc::clone(&stage)).live());
    }
    for _ in 0..dice.within(1, 2) {
        tokio::time::sleep(Duration::from_millis(dice.within(600, 1_500))).await;
        proxy.aim(None);
        kill(running, &stage.book).await;
        tokio::time::sleep(Duration::from_millis(dice.below(200))).await;
        running = broker();
        stage.book.write(Fact::Started);
        proxy.aim(Some(running.address));
    }
    tokio::time::sleep(Duration::from_millis(dice.within(600, 1_500))).await;
    proxy.heal();
    stage.phase.send_replace(Phase::Calm);
    stage.book.write(Fact::Healed { within_ms: WITHIN.as_millis() as u64 });
    // Whoever is not back in time is named by the checker.
    let _ = tokio::time::timeout(
        WITHIN + Duration::from_secs(1),
        stage.converge(running.address, &TOPICS.map(|topic| topic.0.to_owned())),
    )
    .await;
    stage.book.write(Fact::Ended);
    stage.phase.send_replace(Phase::Over);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    empty(&running, &stage.book).await;
    drop(proxy);
    drop(running);
    stage.book.take()
}

/// Waits until nobody is left, and writes down what is held then.
pub(crate) async fn empty(running: &Running, book: &Book) {
    let emptied = async {
        while gauges(&running.broker).iter().any(|(_, value)| *value != 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(WITHIN, emptied).await;
    for (name, value) in gauges(&running.broker) {
        book.write(Fact::Gauge { name: name.to_owned(), value });
    }
}

/// Stops a broker; nothing that it knew is known any more, and it holds nobody.
pub(crate) async fn kill(running: Running, book: &Book) {
    book.write(Fact::Killed);
    let broker = running.broker.clone();
    tokio::task::spawn_blocking(move || drop(running)).await.expect("it stops");
    let held = gauges(&broker).into_iter().filter(|(name, _)| *name != "topics");
    held.for_each(|(name, value)| book.write(Fact::Gauge { name: name.to_owned(), value }));
}

fn gauges(broker: &rialto::Broker) -> [(&'static str, u64); 6] {
    let counted = broker.metrics();
    [
        ("connections", counted.connections),
        ("sessions", counted.sessions),
        ("topics", counted.topics),
        ("subscriptions", counted.subscriptions),
        ("patterns", counted.patterns),
        ("outbox_bytes", counted.outbox_bytes),
    ]
}
