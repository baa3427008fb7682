//! A reconnect storm: thousands of subscribed clients whose broker is killed during publishes and restarted. Measures the time
//! until all have reconnected and recovered: `cargo bench --bench reconnect_storm -- --members 5000`. The history checker judges
//! the run; exit code 1 if it finds a fault. Clients and broker share the machine's cores.

#![allow(missing_docs, reason = "a bench is a program, not a library")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its figures")]
#![allow(clippy::unwrap_used, reason = "a bench ends by panicking")]

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a bench uses a part of it")]
mod support;
#[path = "../tests/survival"]
mod survival {
    pub(crate) mod book;
    pub(crate) mod follower;
    pub(crate) mod link;
    pub(crate) mod outbound;
    pub(crate) mod reconnect_storm;
    pub(crate) mod stage;
    pub(crate) mod views;
}

use std::process::ExitCode;

use clap::Parser;
use rialto_checker::check;
use rialto_comparison::door;
use rialto_comparison::reconnect_storm::Options;
use rialto_comparison::today::today;
use rialto_load::machine::Machine;
use survival::reconnect_storm::{self, Plan};

fn main() -> ExitCode {
    kill(&Options::parse())
}

fn kill(options: &Options) -> ExitCode {
    let Options { members, admissions: admissions_per_s, seconds, seed, .. } = *options;
    if let Err(error) = door::make_room(members as usize + 100) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    println!("Made {} on {}", today(), Machine::this());
    println!(
        "{members} members, {admissions_per_s} admissions a second, {seconds} s before the kill and after all are back\n"
    );
    let told = reconnect_storm::run(&Plan {
        members: members.into(),
        admissions_per_s,
        seconds: seconds.into(),
        seed: seed.into(),
    });
    print!("{}", told.text());
    match check(&told.log) {
        Ok(summary) if told.returns.len() == members as usize => {
            println!("the checker finds nothing: {summary}");
            ExitCode::SUCCESS
        }
        Ok(_) => {
            eprintln!("FAILED: {} members came back", told.returns.len());
            ExitCode::FAILURE
        }
        Err(found) => {
            found.iter().take(10).for_each(|violation| eprintln!("FAILED: {violation}"));
            eprintln!("FAILED: {} violations", found.len());
            ExitCode::FAILURE
        }
    }
}
