//! The effect of misbehaving plugins on the latency of unrelated sessions: one row for each kind of fault that the tests know,
//! for invalid versions that are reloaded repeatedly, and for a component that keeps the compiler busy.
//! `cargo bench --bench isolation`, or `… -- compiler` for the rows that have this word. Each row has its own idle time just
//! before it; compare the two, since the absolute times are the machine's.

#![allow(missing_docs, reason = "a bench is a program, not a library")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench fails by panicking and prints its figures")]

#[path = "../tests/plugins"]
#[allow(dead_code, reason = "the bench needs the letters, not the kinds of failure")]
mod plugins {
    pub(crate) mod hosted;
    pub(crate) mod letters;
}
#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a bench uses a part of it")]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use plugins::hosted::{Hosted, call};
use plugins::letters::{ANYWHERE, RETURNED};
use rialto::Codec;
use serde_json::json;
use support::{Client, component};

/// How long a session is measured while idle, and during the faults.
const WATCHED: Duration = Duration::from_millis(2_500);

/// Between two calls of the plugin: few enough that it is not quarantined, which would end the row.
const PAUSE: Duration = Duration::from_millis(30);

/// How long the compiler is kept busy: longer than that.
const COMPILE_MS: u64 = 10_000;

const BROKEN: &str = "a broken version is loaded again and again";
const COMPILER: &str = "a component keeps the compiler busy";

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let word = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    println!(
        "{:44} {:>6} {:>9} {:>9} {:>9} {:>9} {:>6}",
        "the other session, milliseconds", "times", "median", "p99", "idle", "idle p99", "p99 ÷"
    );
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    for (letter, _, what) in ANYWHERE.into_iter().chain(RETURNED).filter(|(_, _, what)| what.contains(&word)) {
        let row = misbehave(letter).await;
        row.print(what);
        idle.extend(row.idle);
        busy.extend(row.busy);
    }
    if !busy.is_empty() {
        Row { idle, busy }.print("all of these");
    }
    if BROKEN.contains(&word) {
        broken_versions().await.print(BROKEN);
    }
    if COMPILER.contains(&word) {
        compiled_for_long().await.print(COMPILER);
    }
}

/// Calls the plugin so that it misbehaves, and again, while another session publishes.
async fn misbehave(letter: char) -> Row {
    let hosted = Hosted::start();
    let mut caller = hosted.client(Codec::Json).await;
    let calls = async {
        let mut told = 0;
        loop {
            caller.refused(call(letter), "plugin_failed").await;
            told += 1;
            tokio::time::sleep(PAUSE).await;
            assert!(told < 500, "a plugin that fails so often is quarantined");
        }
    };
    watch(&hosted, calls).await
}

/// Reloads a plugin whose file is a version that cannot start.
async fn broken_versions() -> Row {
    let hosted = Hosted::compiled_by(compiler(), |_, _| {});
    hosted.replace(&component::empty("(func $trap unreachable) (start $trap)"));
    let reloads = async {
        loop {
            hosted.broker.reload_plugin("hostile").await.expect_err("this version does not start");
            tokio::time::sleep(PAUSE).await;
        }
    };
    watch(&hosted, reloads).await
}

/// Reloads a plugin whose file is a component that takes too long to compile.
async fn compiled_for_long() -> Row {
    let hosted = Hosted::compiled_by(compiler(), |config, plugin| {
        (config.sandbox.compile_ms, plugin.component_bytes) = (COMPILE_MS, 256 << 20);
    });
    hosted.replace(&bomb());
    let reload = async {
        let told = hosted.broker.reload_plugin("hostile").await.expect_err("it is given up").to_string();
        panic!("it ends while it is watched: {told}");
    };
    watch(&hosted, reload).await
}

/// The latencies of a session while idle, and then during faults.
async fn watch(hosted: &Hosted, trouble: impl Future<Output = ()>) -> Row {
    let mut other = hosted.client(Codec::Json).await;
    other.subscribe("open").await;
    round_trips(&mut other, WATCHED / 5).await;
    let idle = round_trips(&mut other, WATCHED).await;
    let busy = tokio::select! {
        times = round_trips(&mut other, WATCHED) => times,
        () = trouble => unreachable!("trouble does not end"),
    };
    Row { idle, busy }
}

/// The binary, which compiles in a process of its own.
fn compiler() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_rialto"))
}

/// A component with so much code that the compiler is busy for longer.
fn bomb() -> Vec<u8> {
    let body = "local.get 0 local.get 1 i32.mul local.set 0 ".repeat(600);
    let function = |number| format!("(func (export \"f{number}\") (param i32 i32) (result i32) {body} local.get 0)");
    component::empty(&(0..10_000).map(function).collect::<String>())
}

/// Publishes and receives on an open topic; a pause between two makes it a client, not a load.
async fn round_trips(client: &mut Client, time: Duration) -> Vec<Duration> {
    let (mut times, begun) = (Vec::new(), Instant::now());
    while begun.elapsed() < time {
        let started = Instant::now();
        client.publish("open", json!(1)).await;
        client.message().await;
        times.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times
}

/// The latencies of one session while idle, and during faults.
struct Row {
    idle: Vec<Duration>,
    busy: Vec<Duration>,
}

impl Row {
    fn print(&self, what: &str) {
        let [(idle, idle_p99), (median, p99)] = [&self.idle, &self.busy].map(|times| {
            let mut times = times.clone();
            times.sort();
            let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1_000.0;
            (at(0.5), at(0.99))
        });
        let times = self.busy.len();
        println!("{what:44} {times:>6} {median:>9.3} {p99:>9.3} {idle:>9.3} {idle_p99:>9.3} {:>6.2}", p99 / idle_p99);
    }
}
