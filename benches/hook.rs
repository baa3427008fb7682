//! The cost of a hook: one Rust source that accepts every message unchanged, natively and as a component, beside a topic
//! without a plugin; and messages through the chat plugin. `cargo bench --bench hook`. Compare ratios within one run.

#![allow(missing_docs, reason = "a bench is a program, not a library")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench fails by panicking and prints its figures")]

mod plugins;
#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a bench uses a part of it")]
mod support;

use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::task::Poll;

use clap::Parser;
use criterion::{Criterion, Throughput};
use plugins::{AGREE, Kind};
use rialto::{Broker, Payload};
use rialto_comparison::options::FromCargo;
use rialto_comparison::pairs::{self, Better, Judgement, Paired};
use rialto_comparison::plugins::PluginRound;
use rialto_load::statistics::median;
use serde_json::json;
use tokio::runtime::Runtime;

/// Messages of each measurement in each round.
const MESSAGES: usize = 300_000;
const ROUNDS: usize = 5;

/// The cost of a hook, and messages through the chat plugin.
#[derive(Parser)]
#[command(name = "cargo bench --bench hook --")]
struct Options {
    /// Only the rounds, not publishes one by one
    #[arg(long)]
    rounds_only: bool,
    /// One round as JSON and nothing else
    #[arg(long)]
    json: bool,
    /// Measure this build and an earlier one in turn, and nothing else; fails if this one is slower. It is the program that
    /// `cargo bench --bench hook --no-run` named then
    #[arg(long, value_name = "PROGRAM")]
    before: Option<PathBuf>,
    /// How many pairs of rounds that takes; an interval needs six
    #[arg(long, value_name = "N", default_value_t = 7, requires = "before")]
    pairs: u32,
    #[command(flatten)]
    cargo: FromCargo,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.json {
        println!("{}", serde_json::to_string(&plugins::round(MESSAGES)).unwrap());
        return ExitCode::SUCCESS;
    }
    if let Some(before) = &options.before {
        return compare_builds(before, options.pairs);
    }
    if !options.rounds_only {
        let mut criterion = Criterion::default();
        publish(&mut criterion);
        criterion.final_summary();
    }
    let rounds: Vec<PluginRound> = (0..ROUNDS).map(|_| plugins::round(MESSAGES)).collect();
    let row = |name: &str, figure: fn(&PluginRound) -> f64| {
        let values: Vec<f64> = rounds.iter().map(figure).collect();
        let (least, most) =
            (values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(0.0, f64::max));
        println!("{name:56} {:>12.3} {least:>12.3} {most:>12.3}", median(&values).unwrap());
    };
    println!("{:56} {:>12} {:>12} {:>12}", "", "median", "least", "most");
    row("publish accepted as is, native, µs", |round| round.native_hook_micros);
    row("publish accepted as is, component, µs", |round| round.component_hook_micros);
    row("native ÷ component", |round| round.native_hook_micros / round.component_hook_micros);
    row("chat, native, messages/s", |round| round.native_chat_messages_per_second);
    row("chat, component, messages/s", |round| round.component_chat_messages_per_second);
    ExitCode::SUCCESS
}

/// Rounds of this program and of an earlier one in turn, each in a process of its own.
fn compare_builds(before: &Path, pairs: u32) -> ExitCode {
    let after = std::env::current_exe().unwrap();
    let round = |program: &Path| -> PluginRound {
        let output = Command::new(program).arg("--json").output().unwrap();
        assert!(output.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    type Figure = (&'static str, Better, fn(&PluginRound) -> f64);
    let figures: [Figure; 4] = [
        ("publish accepted as is, native: µs", Better::Less, |round| round.native_hook_micros),
        ("publish accepted as is, component: µs", Better::Less, |round| round.component_hook_micros),
        ("chat, native: messages/s", Better::More, |round| round.native_chat_messages_per_second),
        ("chat, component: messages/s", Better::More, |round| round.component_chat_messages_per_second),
    ];
    let mut paired: Vec<Paired> = figures.iter().map(|(name, better, _)| Paired::new(*name, *better)).collect();
    for pair in 0..pairs {
        let [old, new] = if pair.is_multiple_of(2) {
            let old = round(before);
            [old, round(&after)]
        } else {
            let new = round(&after);
            [round(before), new]
        };
        for (one, (_, _, figure)) in paired.iter_mut().zip(&figures) {
            one.push(Some(figure(&old)), Some(figure(&new)));
        }
    }
    print!("{}", pairs::text(&paired));
    let is_slower = paired.iter().any(|one| one.judgement() == Judgement::Slower);
    if is_slower { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn publish(criterion: &mut Criterion) {
    let brokers = [Kind::Native, Kind::Component].map(plugins::agreeing_broker);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let payload = Payload::json(&json!({"text": "x".repeat(100)})).unwrap();
    for (name, at_once) in [("publish_one_by_one", 1), ("publish_64_at_once", 64)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(at_once));
        let [native, component] = &brokers;
        for (name, broker, topic) in
            [("open", native, "open.a"), ("native", native, AGREE), ("component", component, AGREE)]
        {
            group.bench_function(name, |bencher| {
                bencher.iter(|| publish_all(&runtime, broker, topic, &payload, at_once));
            });
        }
    }
    for broker in brokers {
        runtime.block_on(broker.shutdown(std::time::Duration::ZERO));
    }
}

/// Publishes so many messages at once and waits until all have their position.
fn publish_all(runtime: &Runtime, broker: &Broker, topic: &str, payload: &Payload, count: u64) {
    let mut open: Vec<_> = (0..count).map(|_| Box::pin(broker.publish(topic, payload.clone()))).collect();
    runtime.block_on(poll_fn(|context| {
        open.retain_mut(|publish| match publish.as_mut().poll(context) {
            Poll::Ready(position) => {
                assert!(position.unwrap().is_some());
                false
            }
            Poll::Pending => true,
        });
        if open.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }));
}
