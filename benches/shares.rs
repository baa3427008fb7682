//! What hostile clients cost a neighbour: for each way of taking more than one's share, by one client and by ten, the neighbour's
//! 99th percentile beside them, divided by that beside as many well-behaved requests. `cargo bench --bench shares`, with
//! `-- --seconds 30` for each measurement and `-- --only WORD` for the rows with this word. The broker has one shard on one core;
//! attackers and the neighbour have the other, the neighbour first. Exit code 1 if a ratio is above 2, or the broker's memory
//! above its budget.

#![allow(missing_docs, reason = "a bench is a program, not a library")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its figures")]
#![allow(clippy::unwrap_used, reason = "a bench ends by panicking")]

#[path = "shares/attack.rs"]
mod attack;
#[path = "shares/neighbour.rs"]
mod neighbour;
#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a bench uses a part of it")]
mod support;

use std::process::{Command, ExitCode};
use std::time::Duration;

use attack::{Attack, Crowd};
use clap::Parser;
use neighbour::Neighbour;
use rialto_comparison::today::today;
use rialto_load::machine::Machine;
use rialto_load::process::Family;
use rialto_load::table::{Side, Table};
use support::process::Process;
use support::root;

/// A neighbour may not wait longer than so many times what it waits beside well-behaved clients.
const RATIO_MAX: f64 = 2.0;

/// What the limits below allow together, the rest of a broker included.
const BUDGET_MIB: u64 = 512;

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
shards = 1

[limits]
history_bytes = 67_108_864
keys_bytes = 16_777_216
outboxes_bytes = 67_108_864

[[topic]]
pattern = "room.*"
plugin = "chat"

[[topic]]
pattern = "market.*"
plugin = "market"

[[topic]]
pattern = ">"
history = { messages = 100 }

[plugin.chat]
path = "CHAT"
grants = ["sessions", "state"]

[plugin.market]
path = "MARKET"
"#;

#[derive(Parser)]
#[command(about = "What hostile clients cost a neighbour")]
struct Options {
    /// How long each measurement takes, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Only rows with this word.
    #[arg(long, default_value = "")]
    only: String,
    /// Cargo passes it to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    println!("Made {} on {}\n", today(), Machine::this());
    let columns = [
        ("what they do", Side::Left),
        ("clients", Side::Right),
        ("requests/s", Side::Right),
        ("p99 ms", Side::Right),
        ("beside as many good ones", Side::Right),
        ("ratio", Side::Right),
        ("MiB", Side::Right),
    ];
    let (mut table, mut is_good) = (Table::new(&columns), true);
    for attack in Attack::ALL.into_iter().filter(|attack| attack.text().contains(&options.only)) {
        for clients in [1, 10] {
            let found = measure(attack, clients, Duration::from_secs(options.seconds));
            let ratio = found.hostile.as_secs_f64() / found.good.as_secs_f64();
            is_good &= ratio <= RATIO_MAX && found.mib <= BUDGET_MIB;
            let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1_000.0);
            let row = vec![
                attack.text().to_owned(),
                clients.to_string(),
                found.per_s.to_string(),
                ms(found.hostile),
                ms(found.good),
                format!("{ratio:.2}"),
                found.mib.to_string(),
            ];
            eprintln!("{}", row.join("  "));
            table.push(row);
        }
    }
    println!("{}", table.text(60));
    println!("At most {RATIO_MAX} and {BUDGET_MIB} MiB.");
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a neighbour met.
struct Found {
    per_s: u64,
    hostile: Duration,
    good: Duration,
    mib: u64,
}

/// Measures a neighbour beside attackers, and beside as many well-behaved requests, in a broker of its own each.
fn measure(attack: Attack, clients: usize, time: Duration) -> Found {
    let broker = start();
    let crowd = Crowd::begin(broker.address, clients, attack, None);
    let hostile = Neighbour::p99(broker.address, attack.neighbour(), time);
    let per_s = crowd.end();
    let mib = Family::of(broker.child.id()).unwrap().resident_bytes().unwrap() >> 20;
    drop(broker);
    let broker = start();
    let crowd = Crowd::begin(broker.address, clients, Attack::Nothing, Some(per_s));
    let good = Neighbour::p99(broker.address, attack.neighbour(), time);
    crowd.end();
    Found { per_s, hostile, good, mib }
}

fn start() -> Process {
    let path = |name: &str| root().join("plugins/dist").join(name).display().to_string();
    let config = CONFIG.replace("CHAT", &path("chat.wasm")).replace("MARKET", &path("market.wasm"));
    let process = Process::start(&config, None);
    let pinned = Command::new("taskset").args(["-apc", "0", &process.child.id().to_string()]).output();
    assert!(pinned.unwrap().status.success(), "taskset is part of util-linux");
    process
}
