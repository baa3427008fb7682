//! Sessions that come and go in every way for as long as one likes, with a line for every ten seconds, and whether anything
//! grows: `cargo bench --bench soak -- --seconds 600`. Broker and load share this process and its cores, so the times say
//! little; what is held says all.

#![allow(missing_docs, reason = "a bench is a program, not a library")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its figures")]

#[path = "../tests/soak"]
mod soak {
    pub(crate) mod soaked;
}
#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a bench uses a part of it")]
mod support;

use std::time::Duration;

use clap::Parser;
use rialto_comparison::soak::options::Options;
use rialto_comparison::soak::slope::slope;
use rialto_comparison::soak::{Sample, Toll};
use rialto_load::number::{bytes, micros};
use soak::soaked::{Soaked, is_given_back};

const WARM_UP: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_secs(10);

fn main() {
    soak(Duration::from_secs(Options::parse().seconds.into()));
}

/// Panics, as a test does, when something is not given back.
fn soak(time: Duration) {
    let soaked = Soaked::start();
    println!(
        "{:>8} {:>11} {:>11} {:>12} {:>12} {:>6} {:>12}",
        "seconds", "sessions/s", "messages/s", "witness p99", "max", "files", "resident"
    );
    let (_, before) = soaked.soak(WARM_UP, EVERY, &mut |_| {});
    println!("{:>8} {:>55} {:>12}", "warm", before.descriptors, bytes(before.resident_bytes as f64));
    let (toll, after) = soaked.soak(time, EVERY, &mut line);
    println!("{:>8} {:>55} {:>12}", "after", after.descriptors, bytes(after.resident_bytes as f64));
    total(&toll, soaked.slow());
    is_given_back(before, after);
    println!("holds: every gauge is 0 again, files and memory are as after the warm-up");
}

fn line(sample: &Sample) {
    println!(
        "{:>8.0} {:>11.0} {:>11.0} {:>12} {:>12} {:>6} {:>12}",
        sample.elapsed.as_secs_f64(),
        sample.sessions_per_second,
        sample.messages_per_second,
        micros(sample.witness_p99_micros),
        micros(sample.witness_max_micros),
        sample.holding.descriptors,
        bytes(sample.holding.resident_bytes as f64),
    );
}

fn total(toll: &Toll, slow: u64) {
    let left: Vec<String> = toll.left.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!("\n{} sessions; they left by: {}; {slow} were closed as slow", toll.sessions, left.join(", "));
    println!("{} messages were acked; the witnesses got {:?}, each once and in order", toll.acked, toll.witnessed);
    let readings = |held: fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        toll.samples.iter().map(|sample| (sample.elapsed.as_secs_f64() / 3_600.0, held(sample))).collect()
    };
    let resident = slope(&readings(|sample| sample.holding.resident_bytes as f64));
    let files = slope(&readings(|sample| sample.holding.descriptors as f64));
    println!("slope: {} an hour resident, {files:.1} files an hour", bytes(resident));
}
