//! `rialto bench fanout`: the fan-out throughput and latency of a running server.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;
use rialto_load::chart;
use rialto_load::load::{self, Phase, Progress};
use rialto_load::machine::Machine;
use rialto_load::scenario::{Codecs, Measurement, Pace, Scenario};
use serde::Serialize;

use super::progress::ProgressLine;
use super::server::{ServerArgs, Speaks};
use super::{outcome, say};

/// Arguments of `rialto bench fanout`.
#[derive(Debug, clap::Args)]
pub(crate) struct FanoutArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Subscribers of each topic
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    subscribers: u32,
    /// Topics; each message goes to one of them at random
    #[arg(long, value_name = "N", default_value_t = 1)]
    topics: u32,
    /// Topics that one connection subscribes to
    #[arg(long, value_name = "N", default_value_t = 1)]
    topics_per_connection: u32,
    /// Bytes of each payload
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    payload_bytes: u32,
    /// The codec of Rialto's subscribers
    #[arg(long, default_value = "json")]
    codec: CodecArg,
    /// Closed loop: keep so many messages in flight, as fast as the server can
    #[arg(long, value_name = "N", default_value_t = 32, conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// Open loop: publish so many messages per second, whether or not they are delivered
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Measured time of each round
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Time before that which is not measured
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    warm_up_seconds: f64,
    /// Number of rounds
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Further subscribers of the first topic that never read
    #[arg(long, value_name = "N", default_value_t = 0)]
    stalled: u32,
    /// The delivery policy of Rialto's subscribers, for instance '"latest"'
    #[arg(long, value_name = "JSON", value_parser = json)]
    delivery: Option<String>,
    /// Request an ack of every message from Rialto, each with its own idempotency key
    #[arg(long)]
    acks: bool,
    /// Process id of the server; without it, processor time and memory are not measured
    #[arg(long)]
    pid: Option<u32>,
    /// Write all results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a chart to this file, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Codecs, as they are named on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum CodecArg {
    Json,
    Msgpack,
    /// Every second subscriber MessagePack
    Both,
}

/// The content of the JSON file.
#[derive(Serialize)]
struct Results<'a> {
    machine: &'a Machine,
    measurements: &'a [Measurement],
}

/// Measures and prints. Fails if a message was lost, duplicated, altered or reordered.
pub(crate) fn run(args: &FanoutArgs) -> Result<ExitCode> {
    let scenario = args.scenario();
    let target = args.server.target(args.pid)?;
    // First, so that a missing folder is reported before minutes of measurement.
    let [json, svg] = [&args.json, &args.svg].map(|path| path.as_deref().map(create).transpose());
    let (json, svg) = (json?, svg?);
    let machine = Machine::this();
    let mut head = Some(outcome::head(&scenario, &args.server.describe(), args.rounds, &machine));
    let line = ProgressLine::new();
    let mut measurements = Vec::new();
    for round in 0..args.rounds {
        let what = format!("round {}/{}", round + 1, args.rounds);
        let mut show = |progress: &Progress| {
            // Not before the server is reached: an error may be all that is printed.
            if let Some(head) = head.take_if(|_| progress.phase != Phase::Connecting) {
                line.clear();
                say(&head);
            }
            line.show(&what, progress);
        };
        measurements.push(load::run(&target, &args.server.name(), &scenario, round, &mut show)?);
    }
    drop(line);
    say(&head.unwrap_or_default());
    say(&outcome::tables(&measurements));
    if let Some(file) = json {
        let results = Results { machine: &machine, measurements: &measurements };
        write(file, &(serde_json::to_string_pretty(&results)? + "\n"))?;
    }
    if let Some(file) = svg {
        let load = outcome::load(&scenario, &args.server.describe());
        write(file, &chart::single(&load, &machine.to_string(), &measurements))?;
    }
    let faultless = measurements.iter().all(|measurement| measurement.faults.none());
    Ok(if faultless { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl FanoutArgs {
    fn scenario(&self) -> Scenario {
        let rialto = matches!(self.server.speaks, Speaks::Rialto);
        Scenario {
            name: if self.rate.is_some() { "rate" } else { "saturated" }.to_owned(),
            topics: self.topics,
            subscribers: self.subscribers,
            topics_per_connection: self.topics_per_connection,
            payload_bytes: self.payload_bytes,
            codecs: match self.codec {
                CodecArg::Json => Codecs::Json,
                CodecArg::Msgpack => Codecs::Msgpack,
                CodecArg::Both => Codecs::Both,
            },
            delivery: self.delivery.clone().filter(|_| rialto),
            acks: self.acks && rialto,
            pace: self.rate.map_or(Pace::Window(self.window), Pace::PerSecond),
            stalled: self.stalled,
            warm_up_seconds: self.warm_up_seconds,
            seconds: self.seconds,
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("must be a number of seconds up to a day".to_owned()),
    }
}

fn json(text: &str) -> Result<String, String> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("must be JSON ({error}); a string has quotes, for instance '\"latest\"'")),
    }
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

fn write(mut file: File, text: &str) -> Result<()> {
    file.write_all(text.as_bytes()).context("cannot write the results")
}
