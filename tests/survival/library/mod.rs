//! The same as the random clients, with the client library for Rust in their place: programs that only publish, subscribe and read,
//! and know nothing of connections. What the library hides is put together from what it says.

mod desk;
mod program;

use std::sync::Arc;
use std::time::Duration;

use rialto::Codec;
use rialto_checker::{Event, Fact};
use tokio::task::{JoinHandle, JoinSet};

use super::run::{KEYS_MS, TOPICS, WITHIN, broker, empty, kill};
use super::stage::{Phase, Stage};
use crate::support::Running;
use crate::support::dice::Dice;
use crate::support::fault::FaultProxy;
use desk::Desk;
use program::Program;

/// Programs of a run.
const PROGRAMS: u64 = 20;

/// The log of the run that a seed decides.
pub(crate) fn run(seed: u64) -> Vec<Event> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(story(seed))
}

async fn story(seed: u64) -> Vec<Event> {
    let mut dice = Dice::new(seed, 1);
    let mut running = broker();
    let proxy = FaultProxy::start(seed, running.address).await;
    // A program counts for each of its topics, and once as a publisher.
    let stage = Arc::new(Stage::new(proxy.address, PROGRAMS * (1 + TOPICS.len() as u64)));
    for (topic, keeps) in TOPICS {
        stage.book.write(Fact::Topic { topic: topic.to_owned(), keeps, keys_ms: KEYS_MS });
    }
    let desk = Arc::new(Desk::new(PROGRAMS));
    let mut witness = introduce(&running, &desk, &stage).await;
    let mut programs = JoinSet::new();
    for id in 0..PROGRAMS {
        programs.spawn(Program::new(id, seed, Arc::clone(&stage), Arc::clone(&desk)).live());
    }
    for _ in 0..dice.within(1, 2) {
        tokio::time::sleep(Duration::from_millis(dice.within(800, 1_500))).await;
        proxy.aim(None);
        kill(running, &stage.book).await;
        running = broker();
        witness = introduce(&running, &desk, &stage).await;
        proxy.aim(Some(running.address));
    }
    tokio::time::sleep(Duration::from_millis(dice.within(800, 1_500))).await;
    proxy.heal();
    stage.phase.send_replace(Phase::Calm);
    stage.book.write(Fact::Healed { within_ms: WITHIN.as_millis() as u64 });
    // Whoever is not back in time is named by the checker.
    let topics = TOPICS.map(|topic| topic.0.to_owned());
    let _ = tokio::time::timeout(WITHIN + Duration::from_secs(1), stage.converge(running.address, &topics)).await;
    stage.book.write(Fact::Ended);
    stage.phase.send_replace(Phase::Over);
    while let Some(ended) = programs.join_next().await {
        ended.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    witness.abort();
    empty(&running, &stage.book).await;
    stage.book.take()
}

/// Makes a broker known before anybody can meet it: its name, and the epochs of its topics. A topic of which nothing is kept yet
/// begins anew when nobody is subscribed to it, so somebody is, and reads, until the broker ends or this task is aborted.
async fn introduce(running: &Running, desk: &Desk, stage: &Stage) -> JoinHandle<()> {
    let mut witness = running.client(Codec::Json).await;
    let node = witness.welcome["node"].as_str().expect("a node").to_owned();
    stage.book.write(Fact::Started);
    for (topic, _) in TOPICS {
        let epoch = witness.subscribe(topic).await["epoch"].as_str().expect("an epoch").to_owned();
        desk.knows(&epoch, &node);
    }
    desk.moves_to(&node, &stage.book);
    tokio::spawn(async move {
        witness.closed().await;
    })
}
