//! Thousands of subscribed clients whose broker is killed while publishers go on, and is started again: when each of them is
//! back and has everything, what that takes of the broker, and the log for the checker.

mod member;
mod publisher;
mod told;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_checker::Fact;
use tokio::task::JoinSet;

use super::stage::{Phase, Stage};
use crate::support::process::Process;
use member::{Member, Tally};
use publisher::Publisher;
pub(crate) use told::{Return, Told};

/// Topics besides the one that all follow; each member follows one of them.
const ROOMS: u64 = 100;
const PUBLISHERS: u64 = 8;
const KEYS_MS: u64 = 600_000;
/// Everybody must be back and have everything within this time.
const WITHIN: Duration = Duration::from_secs(120);
/// Clients that connect at once in the beginning.
const AT_ONCE: usize = 64;

/// What is to happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) members: u64,
    /// The broker's limit on sessions that begin in a second.
    pub(crate) admissions_per_s: u32,
    /// How long publishers go on before the kill and after all are back.
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
}

fn room(number: u64) -> String {
    format!("room.{number}")
}

fn config(listen: &str, plan: &Plan) -> String {
    format!(
        "[server]\nlisten = \"{listen}\"\n[limits]\nadmissions_per_s = {}\n\
         [[topic]]\npattern = \">\"\nkeys_ms = {KEYS_MS}\nhistory = {{ messages = 100_000, bytes = 1_073_741_824 }}\n",
        plan.admissions_per_s
    )
}

/// Does all of it.
pub(crate) fn run(plan: &Plan) -> Told {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(story(*plan))
}

async fn start(listen: String, plan: Plan) -> Process {
    let started = tokio::task::spawn_blocking(move || Process::start(&config(&listen, &plan), None));
    started.await.expect("the broker starts")
}

async fn story(plan: Plan) -> Told {
    let mut process = start("127.0.0.1:0".to_owned(), plan).await;
    let address = process.address;
    let everybody = plan.members + PUBLISHERS;
    let stage = Arc::new(Stage::new(address, everybody));
    let topics: Vec<String> = (0..ROOMS).map(room).chain(["all".to_owned()]).collect();
    for topic in &topics {
        stage.book.write(Fact::Topic { topic: topic.clone(), keeps: 100_000, keys_ms: KEYS_MS });
    }
    stage.book.write(Fact::Started);
    let tally = Arc::new(Tally::new(AT_ONCE));
    let mut clients = JoinSet::new();
    for id in 0..plan.members {
        clients.spawn(Member::new(id, plan.seed, Arc::clone(&stage), Arc::clone(&tally)).live());
    }
    tally.connected(plan.members).await;
    for id in plan.members..everybody {
        clients.spawn(Publisher::new(id, plan.seed, Arc::clone(&stage)).live());
    }
    tokio::time::sleep(Duration::from_secs(plan.seconds)).await;
    let before_bytes = memory(&process, "VmRSS:");
    stage.book.write(Fact::Killed);
    let killed = Instant::now();
    process.signal("KILL");
    process.ends().await;
    drop(process);
    tally.let_all_come();
    let process = start(address.to_string(), plan).await;
    let listens = Instant::now();
    stage.book.write(Fact::Started);
    stage.book.write(Fact::Healed { within_ms: WITHIN.as_millis() as u64 });
    let _ = tokio::time::timeout(WITHIN, tally.returned(plan.members)).await;
    tokio::time::sleep(Duration::from_secs(plan.seconds)).await;
    stage.phase.send_replace(Phase::Calm);
    // Whoever is not back in time is named by the checker.
    let _ = tokio::time::timeout(WITHIN, stage.converge(address, &topics)).await;
    let peak_bytes = memory(&process, "VmHWM:");
    stage.book.write(Fact::Ended);
    stage.phase.send_replace(Phase::Over);
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client does not fail");
    }
    let (returns, turned_away, nobody) = tally.take();
    let log = stage.book.take();
    Told { log, killed, listens, returns, turned_away, nobody, before_bytes, peak_bytes }
}

/// A figure of /proc/PID/status, in bytes.
fn memory(process: &Process, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells it");
    1_024 * line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("KiB")
}

/// Where clients connect to, and how long they wait for a word: longer than between two pings of the broker.
const PATIENCE: Duration = Duration::from_secs(40);

/// The time to wait before the next attempt: anything up to a bound that doubles, or the hint and a second of that.
fn pause(dice: &mut crate::support::dice::Dice, attempt: u32, hint: Option<u64>) -> Duration {
    let most = match hint {
        Some(_) => 1_000,
        None => (100 << attempt.min(6)).min(5_000),
    };
    Duration::from_secs(hint.unwrap_or(0)) + Duration::from_millis(dice.within(0, most))
}

/// The secret of all members: none of them uses a key twice.
const INSTANCE: &str = "the-members-of-the-storm";

/// Where a session is to be had.
async fn open(
    address: SocketAddr,
    codec: rialto::Codec,
) -> Result<(super::link::Link, serde_json::Value), super::link::NoSession> {
    super::link::Link::open(address, codec, INSTANCE, PATIENCE).await
}
