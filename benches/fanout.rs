//! Compares Rialto's fan-out with a baseline and with other servers: `benches/run`, or `cargo bench --bench fanout` if the
//! others are installed. It only prints and writes; all else is in `benches/comparison` and `benches/load`.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its figures")]

mod plugins;
#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a bench uses a part of it")]
mod support;

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use rialto_comparison::compare::Comparison;
use rialto_comparison::cores::Cores;
use rialto_comparison::field::Field;
use rialto_comparison::options::{Floor, Options, Role};
use rialto_comparison::pairs::{self, Builds, Judgement};
use rialto_comparison::places::Places;
use rialto_comparison::plan::Plan;
use rialto_comparison::plugins::PluginRound;
use rialto_comparison::report::{Circumstances, Report};
use rialto_comparison::today::today;
use rialto_comparison::{chart, listing};
use rialto_load::machine::Machine;
use rialto_load::{floor, process};

/// Messages of each measurement of plugins in each round.
const PLUGIN_MESSAGES: usize = 500_000;

const RIALTO: &str = env!("CARGO_BIN_EXE_rialto");
/// The folder of results and of installed peers.
const TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target");

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    match (&options.role, &options.before) {
        (Some(Role::Floor { kind, address }), _) => {
            floor::serve(TcpListener::bind(address)?, *kind == Floor::Batched)?;
            Ok(ExitCode::SUCCESS)
        }
        (None, Some(before)) => compare_builds(before, &options),
        (None, None) => compare(&options),
    }
}

/// This build with an earlier one.
fn compare_builds(before: &Path, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let places = Places::new(Path::new(TARGET).join("peers"));
    let cores = Cores::share(std::thread::available_parallelism()?.get(), &places);
    for note in &cores.notes {
        eprintln!("{note}");
    }
    if let Some(core) = cores.load {
        process::pin_self(core)?;
    }
    let builds = Builds {
        before: &before.canonicalize().map_err(|error| format!("{}: {error}", before.display()))?,
        after: Path::new(RIALTO),
        cores: &cores,
        pairs: if options.quick { 1 } else { options.pairs },
        quick: options.quick,
        only: &options.only,
        patience: Duration::from_secs(options.patience.into()),
    };
    let mut ticker = Ticker::new();
    let paired = builds.run(&mut |pair| ticker.tell(|_| pair.to_string()));
    ticker.end();
    let paired = paired?;
    let folder = Path::new(TARGET).join("bench");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("pairs.json"), serde_json::to_vec_pretty(&paired)?)?;
    println!("Made {} on {}\nwith: {}\n", today(), Machine::this(), command());
    print!("{}", pairs::text(&paired));
    eprintln!("\nAll of it: {}/pairs.json", folder.display());
    let is_slower = paired.iter().any(|one| one.judgement() == Judgement::Slower);
    Ok(if is_slower { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn compare(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let places = Places::new(Path::new(TARGET).join("peers"));
    let plan = if options.quick { Plan::quick() } else { Plan::full(options.rounds) }.only(&options.only);
    let field = Field::gather(options, Path::new(RIALTO), &std::env::current_exe()?, &places);
    let cores = Cores::share(std::thread::available_parallelism()?.get(), &places);
    for line in field.skipped.iter().map(ToString::to_string).chain(cores.notes.iter().cloned()) {
        eprintln!("{line}");
    }
    let plugins = measure_plugins(options, plan.rounds);
    if let Some(core) = cores.load {
        process::pin_self(core)?;
    }
    let mut ticker = Ticker::new();
    let patience = Duration::from_secs(options.patience.into());
    let comparison = Comparison { plan: &plan, servers: &field.servers, cores: &cores, patience };
    let mut found = comparison.run(&mut |moment| ticker.tell(|passed| moment.line(passed)));
    ticker.end();
    found.plugins = plugins;
    let circumstances = Circumstances {
        date: today(),
        command: command(),
        machine: Machine::this(),
        quick: plan.quick,
        rounds: plan.rounds,
        two_shards_apart: cores.two_shards_apart,
        notes: cores.notes,
        servers: field.contenders(),
        skipped: field.skipped,
    };
    publish(&Report::new(circumstances, found), options.markdown)
}

/// Before this process binds itself to one core: brokers of its own run in it.
fn measure_plugins(options: &Options, rounds: u32) -> Vec<PluginRound> {
    let messages = if options.quick { PLUGIN_MESSAGES / 10 } else { PLUGIN_MESSAGES };
    let rounds = if options.only.is_empty() { rounds } else { 0 };
    (0..rounds).map(|_| plugins::round(messages)).collect()
}

/// The command as typed, without what cargo adds.
fn command() -> String {
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    ["benches/run".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

fn publish(report: &Report, markdown: bool) -> Result<ExitCode, Box<dyn Error>> {
    let folder = Path::new(TARGET).join("bench");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("fanout.json"), serde_json::to_vec_pretty(report)?)?;
    std::fs::write(folder.join("fanout.svg"), chart::svg(report))?;
    print!("{}", if markdown { listing::markdown(report) } else { listing::text(report) });
    eprintln!("\nAll of it: {0}/fanout.json, {0}/fanout.svg", folder.display());
    let reasons = report.reasons_to_fail();
    for reason in &reasons {
        eprintln!("FAILED: {reason}");
    }
    Ok(if reasons.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The progress line on a terminal.
struct Ticker {
    is_terminal: bool,
    begun: Instant,
    told: Option<Instant>,
}

impl Ticker {
    fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), begun: Instant::now(), told: None }
    }

    fn tell(&mut self, line: impl FnOnce(Duration) -> String) {
        let is_time = self.told.is_none_or(|told| told.elapsed() > Duration::from_millis(100));
        if self.is_terminal && is_time {
            self.told = Some(Instant::now());
            eprint!("\r\x1b[K{}", line(self.begun.elapsed()));
            // A progress line that cannot be written is no error.
            let _ = std::io::stderr().flush();
        }
    }

    fn end(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}
