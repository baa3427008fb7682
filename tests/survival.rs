//! Random clients through a proxy that delays, cuts and resets, to a broker that goes away and comes back with nothing in
//! memory: whatever happens, the history checker finds nothing. A program of its own, because it takes both cores.
//!
//! `RIALTO_SURVIVAL_SEED=n` runs one seed, `RIALTO_SURVIVAL_SEEDS=n` so many, from `RIALTO_SURVIVAL_FIRST` on; `tests/soak/run`
//! and `tests/survival/run` do it.

mod book;
mod client;
mod follower;
mod library;
mod link;
mod outbound;
mod proxy;
#[cfg(target_os = "linux")]
mod reconnect_storm;
mod run;
mod stage;
mod views;

use std::path::PathBuf;

use rialto_checker::{Event, Summary, check};

use crate::support::root;

/// Where the log of a run that failed is left.
fn folder() -> PathBuf {
    let folder = root().join("target/survival");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// Leaves the whole log in a file; gives its path.
fn keep(name: &str, seed: u64, log: &[Event]) -> String {
    let path = folder().join(format!("{name}-{seed}.log")).display().to_string();
    let lines = log.iter().enumerate().map(|(index, event)| format!("{index} {} ms {:?}\n", event.at_ms, event.fact));
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    path
}

/// Runs a seed and judges what happened.
fn judge(name: &str, seed: u64, run: fn(u64) -> Vec<Event>) -> Summary {
    let log = run(seed);
    match check(&log) {
        Ok(summary) => {
            assert!(summary.caught_up_ms.is_some() && summary.gauges > 0, "the run has an end");
            summary
        }
        Err(found) => {
            let shown: Vec<String> = found.iter().take(10).map(ToString::to_string).collect();
            let path = keep(name, seed, &log);
            panic!("{name}, seed {seed}: {} violations, the log is {path}:\n{}", found.len(), shown.join("\n"));
        }
    }
}

fn judge_all(name: &str, run: fn(u64) -> Vec<Event>) {
    let seeds = match number("RIALTO_SURVIVAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("RIALTO_SURVIVAL_FIRST").unwrap_or(1);
            first..first + number("RIALTO_SURVIVAL_SEEDS").unwrap_or(5)
        }
    };
    let count = seeds.end - seeds.start;
    let mut total = Summary::default();
    for seed in seeds {
        total += judge(name, seed, run);
    }
    // Of so much that holds; a run in which little happened says little.
    let Summary { kills, recovered, unrecovered, gaps, .. } = total;
    let least = [kills, recovered, unrecovered, gaps].into_iter().min();
    assert!(least >= Some(count), "{name}, {count} seeds: {total}");
    let text = format!("{name}, {count} seeds, the checker finds nothing: {total}\n");
    std::fs::write(folder().join(format!("{name}.txt")), text).unwrap();
}

#[test]
fn whatever_happens_the_promises_hold() {
    judge_all("clients", run::run);
}

#[test]
fn whatever_happens_the_promises_hold_for_programs_that_use_the_library() {
    judge_all("library", library::run);
}

/// `cargo bench --bench reconnect_storm` does the same with 5,000.
#[cfg(target_os = "linux")]
#[test]
fn a_small_reconnect_storm_after_a_kill_recovers_everything() {
    let told =
        reconnect_storm::run(&reconnect_storm::Plan { members: 300, admissions_per_s: 200, seconds: 1, seed: 1 });
    let found = check(&told.log);
    assert!(found.is_ok(), "{:#?}", found.err());
    assert_eq!(told.returns.len(), 300, "each came back once");
    assert!(told.turned_away.values().sum::<u64>() > 0, "300 at once are more than 200 a second:\n{}", told.text());
    assert!(told.peak_bytes > 0 && told.caught_up_ms().2 > 0, "{}", told.text());
}
