//! Holds the broker's WebSocket code against the Autobahn test suite: starts the echo, lets Autobahn talk to it, compares
//! each verdict with the one expected. `run` beside this crate finds what it needs.

mod section;
mod suite;
mod verdict;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context as _, Result, bail, ensure};
use rialto::Broker;
use rialto::config::{Config, Limits, Server};
use tokio::sync::oneshot;

use section::{SECTIONS, count, page};
use suite::Suite;
use verdict::{Case, Verdict, Verdicts};

/// What was asked for.
struct Task {
    suite: Suite,
    record: bool,
    sections: Vec<u32>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let task = Task::read(env::args().skip(1))?;
    let verdicts = judged(&task).await?;
    for counted in count(&verdicts) {
        println!("  {:<26} {:>4} cases: {}", counted.section, counted.cases, counted.behaviors);
    }
    let expected_file = Path::new(env!("CARGO_MANIFEST_DIR")).join("expected.json");
    if task.record {
        fs::write(&expected_file, verdict::write(&verdicts)?)?;
        let results = page(&verdicts, &task.suite.versions().await?);
        fs::write(expected_file.with_file_name("RESULTS.md"), results)?;
        println!("{} cases recorded", verdicts.len());
        return Ok(());
    }
    let expected = verdict::read(&fs::read_to_string(&expected_file)?)?;
    compare(&verdicts, &expected, &task.sections)
}

impl Task {
    /// Reads `PYTHON SITE REPORTS [--record] [SECTION…]`.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut place = |what: &str| arguments.next().map(PathBuf::from).with_context(|| format!("{what} is missing"));
        let suite = Suite { python: place("PYTHON")?, site: place("SITE")?, reports: place("REPORTS")? };
        let (mut record, mut sections) = (false, Vec::new());
        for argument in arguments {
            if argument == "--record" {
                record = true;
                continue;
            }
            let known = |number: &u32| SECTIONS.iter().any(|(section, _)| section == number);
            let section = argument.parse().ok().filter(known);
            sections.push(section.with_context(|| format!("\"{argument}\" is no section of Autobahn's"))?);
        }
        ensure!(!record || sections.is_empty(), "only all sections together are recorded");
        if sections.is_empty() {
            sections.extend(SECTIONS.map(|(section, _)| section));
        }
        Ok(Self { suite, record, sections })
    }
}

/// Lets Autobahn judge an echo of ours, which ends with it.
async fn judged(task: &Task) -> Result<Verdicts> {
    let broker =
        Broker::builder().config(Config { limits: limits(), server: server(), ..Config::default() }).start()?;
    let (tell, told) = oneshot::channel();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let echo = rialto::fuzzing::serve_echo(&broker, anywhere, |address| {
        let _ = tell.send(address);
    });
    let run = async {
        let address = told.await.context("the echo does not listen")?;
        task.suite.run(address, &task.sections).await
    };
    tokio::select! {
        ended = echo => bail!("the echo ended: {ended:?}"),
        verdicts = run => verdicts,
    }
}

fn server() -> Server {
    Server { shards: 1, ..Server::default() }
}

/// Section 9 sends messages of 16 MiB, some in fragments of 64 bytes, and takes its time about it.
fn limits() -> Limits {
    let message_bytes = 16 << 20;
    Limits {
        message_bytes,
        outbox_bytes: 4 * message_bytes,
        fragments: 1 << 20,
        control_frames_per_s: 1_000_000,
        frame_ms: 600_000,
        write_ms: 600_000,
        ..Limits::default()
    }
}

/// Fails with every case that is not as expected.
fn compare(verdicts: &Verdicts, expected: &Verdicts, sections: &[u32]) -> Result<()> {
    let wanted = |case: &&Case| sections.contains(&case.section());
    let say = |verdict: Option<&Verdict>| verdict.map_or("not run".to_owned(), Verdict::to_string);
    let mut differences = Vec::new();
    let mut cases: Vec<&Case> = expected.keys().chain(verdicts.keys()).filter(wanted).collect();
    cases.sort();
    cases.dedup();
    for case in &cases {
        let (got, want) = (verdicts.get(case), expected.get(case));
        if got != want {
            differences.push(format!("{case}: {}; expected: {}", say(got), say(want)));
        }
    }
    if differences.is_empty() {
        println!("{} cases, each as expected", cases.len());
        return Ok(());
    }
    bail!("{} of {} cases differ:\n  {}", differences.len(), cases.len(), differences.join("\n  "))
}
