//! What a plugin that loops for ever costs: its caller, and a session on another topic; and what a component costs that
//! keeps the compiler busy. `cargo bench --bench isolation`.
//! Compare the two rows of the other session with each other; the absolute times are the machine's.

#![allow(missing_docs, reason = "a bench is a program, not a library")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench fails by panicking and prints its figures")]

#[path = "../tests/support/component.rs"]
mod component;
#[path = "../tests/plugins/hosted.rs"]
#[allow(dead_code, reason = "this uses a part of it")]
mod hosted;
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use hosted::{Hosted, call, start_with};
use rialto::Codec;
use serde_json::json;
use support::Client;
use tokio::sync::oneshot;

const LOOPS: usize = 100;

/// How long the compiler is kept busy.
const COMPILE_MS: u64 = 3_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let hosted = Hosted::start();
    let mut caller = hosted.client(Codec::Json).await;
    let mut other = hosted.client(Codec::Json).await;
    other.subscribe("open").await;
    println!("{:34} {:>7} {:>9} {:>9} {:>9} {:>9}", "milliseconds", "times", "min", "median", "p99", "max");
    let (end_warm_up, warm_up) = oneshot::channel();
    let (end_idle, idle) = oneshot::channel();
    let pause = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        end_warm_up.send(()).unwrap();
        tokio::time::sleep(Duration::from_secs(6)).await;
        end_idle.send(()).unwrap();
    };
    let quiet = async {
        round_trips(&mut other, warm_up).await;
        round_trips(&mut other, idle).await
    };
    let ((), idle_times) = tokio::join!(pause, quiet);
    row("other session, nothing loops", idle_times);
    let (end, done) = oneshot::channel();
    let looping = async {
        let mut times = Vec::new();
        for _ in 0..LOOPS {
            let started = Instant::now();
            caller.refused(call('l'), "plugin_failed").await;
            times.push(started.elapsed());
        }
        end.send(()).unwrap();
        times
    };
    let (loops, busy_times) = tokio::join!(looping, round_trips(&mut other, done));
    row("other session, a plugin loops", busy_times);
    row("caller of the loop, until its error", loops);
    let (end, done) = oneshot::channel();
    let bomb = bomb();
    std::thread::spawn(move || {
        compile_for_long(&bomb);
        end.send(()).unwrap();
    });
    row("other session, a bomb is compiled", round_trips(&mut other, done).await);
}

/// Lets a broker compile a component that takes too long, in a process of its own as the binary does it.
fn compile_for_long(bomb: &[u8]) {
    let compiler = std::path::Path::new(env!("CARGO_BIN_EXE_rialto"));
    let refused = start_with(
        bomb,
        |config, plugin| (config.sandbox.compile_ms, plugin.component_bytes) = (COMPILE_MS, 256 << 20),
        Some(compiler),
    );
    assert!(refused.err().unwrap().contains("compile_ms"));
}

/// A component with so much code that the compiler is busy for longer.
fn bomb() -> Vec<u8> {
    let body = "local.get 0 local.get 1 i32.mul local.set 0 ".repeat(600);
    let function = |number| format!("(func (export \"f{number}\") (param i32 i32) (result i32) {body} local.get 0)");
    component::empty(&(0..10_000).map(function).collect::<String>())
}

/// Publishes and receives on an open topic until told to stop; a pause between two makes it a client, not a load.
async fn round_trips(client: &mut Client, mut stop: oneshot::Receiver<()>) -> Vec<Duration> {
    let mut times = Vec::new();
    while stop.try_recv().is_err() {
        let started = Instant::now();
        client.publish("open", json!(1)).await;
        client.message().await;
        times.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times
}

fn row(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1_000.0;
    let (min, median, p99, max) = (at(0.0), at(0.5), at(0.99), at(1.0));
    println!("{name:34} {:>7} {min:>9.3} {median:>9.3} {p99:>9.3} {max:>9.3}", times.len());
}
