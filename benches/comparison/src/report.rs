//! Everything that one comparison found out, as it is written to `fanout.json`.

use serde::{Deserialize, Serialize};

use crate::check::{self, Check, Outcome};
use crate::figure;
use crate::peer::Absent;
use crate::plugins::PluginRound;
use crate::row::{Row, Verdict};
use crate::server::{FLOOR_BATCHED, RIALTO_TWO};
use crate::summary::{Measured, Summary};
use rialto_load::machine::Machine;
use rialto_load::scenario::{Idle, Measurement};

/// One comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The day it was made, in UTC.
    pub date: String,
    /// The command that made it.
    pub command: String,
    /// What it was made on.
    pub machine: Machine,
    /// How cores were shared out, and what else a reader must know.
    pub notes: Vec<String>,
    /// Whether its figures are not to be judged.
    pub quick: bool,
    /// How many rounds were asked for.
    pub rounds: u32,
    /// What was compared.
    pub servers: Vec<Contender>,
    /// What was not, and why.
    pub skipped: Vec<Absent>,
    /// Runs that came to nothing.
    pub failures: Vec<Failure>,
    /// The figures to reach.
    pub rows: Vec<Row>,
    /// What must be so besides.
    pub checks: Vec<Check>,
    /// All runs under load.
    pub measurements: Vec<Measurement>,
    /// All idle runs.
    pub idle: Vec<Idle>,
    /// Of plugins, one for each round.
    pub plugins: Vec<PluginRound>,
}

/// A server that was compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contender {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A run that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{server}, {load}, round {}: {reason}", round + 1)]
pub struct Failure {
    /// The server.
    pub server: String,
    /// The load.
    pub load: String,
    /// Which repetition, from 0.
    pub round: u32,
    /// Why.
    pub reason: String,
}

/// What is known before anything is judged.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// All runs under load.
    pub measurements: Vec<Measurement>,
    /// All idle runs.
    pub idle: Vec<Idle>,
    /// Of plugins, one for each round.
    pub plugins: Vec<PluginRound>,
    /// Runs that came to nothing.
    pub failures: Vec<Failure>,
    /// How many cores others kept busy in each of the runs under load.
    pub bystanders: Vec<f64>,
}

/// What a comparison was made of.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// The day, in UTC.
    pub date: String,
    /// The command.
    pub command: String,
    /// The machine.
    pub machine: Machine,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// Whether the figures are not to be judged.
    pub quick: bool,
    /// How many rounds were asked for.
    pub rounds: u32,
    /// Whether two shards and the load had cores of their own.
    pub two_shards_apart: bool,
    /// What was compared.
    pub servers: Vec<Contender>,
    /// What was not, and why.
    pub skipped: Vec<Absent>,
}

impl Report {
    /// Judges what was found.
    pub fn new(circumstances: Circumstances, found: Found) -> Self {
        let Circumstances { date, command, machine, notes, quick, rounds, two_shards_apart, servers, skipped } =
            circumstances;
        let Found { measurements, idle, plugins, failures, bystanders } = found;
        let measured = Measured { rounds, measurements: &measurements, idle: &idle, plugins: &plugins };
        let rows = figure::rows(&measured, two_shards_apart);
        let rows = if quick { rows.into_iter().map(Row::unjudged).collect() } else { rows };
        let mut checks = check::checks(&measured);
        checks.push(check::alone(&bystanders));
        Self {
            date,
            command,
            machine,
            notes,
            quick,
            rounds,
            servers,
            skipped,
            failures,
            rows,
            checks,
            measurements,
            idle,
            plugins,
        }
    }

    /// The figures of each server, in the order in which they were compared; Rialto with two shards has only a row.
    pub fn summaries(&self) -> Vec<Summary> {
        let measured = Measured {
            rounds: self.rounds,
            measurements: &self.measurements,
            idle: &self.idle,
            plugins: &self.plugins,
        };
        let servers = self.servers.iter().filter(|server| server.name != RIALTO_TWO);
        servers.map(|server| measured.summary(&server.name, &server.version, FLOOR_BATCHED)).collect()
    }

    /// Why the bench fails; empty if it does not. A peer's failures and faults are its own.
    pub fn reasons_to_fail(&self) -> Vec<String> {
        let rows = self.rows.iter().filter(|row| row.verdict == Verdict::Broken);
        let checks = self.checks.iter().filter(|check| check.outcome == Outcome::Broken);
        let failures = self.failures.iter().filter(|failure| check::is_ours(&failure.server));
        let rows = rows.map(|row| format!("{}: not in every round as it must be", row.figure));
        let checks = checks.map(|check| format!("{}: {}", check.what, check.seen));
        rows.chain(checks).chain(failures.map(Failure::to_string)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn fails_for_what_is_ours() {
        let report = sample::report();
        // The made-up processor time at 50 messages a second is 1.2 times the floor's.
        assert_eq!(
            report.reasons_to_fail(),
            ["CPU per delivery at 50 msg/s ÷ floor: not in every round as it must be"]
        );
        let mut found = sample::found();
        found.failures[0].server = crate::server::RIALTO.to_owned();
        let reasons = Report::new(sample::circumstances(), found).reasons_to_fail();
        assert!(reasons[1].starts_with("Rialto, 50 messages/s, round 2: "), "{reasons:?}");
    }

    #[test]
    fn a_quick_run_is_not_judged() {
        let report = Report::new(Circumstances { quick: true, ..sample::circumstances() }, sample::found());
        assert_eq!(report.reasons_to_fail(), Vec::<String>::new());
    }

    #[test]
    fn is_the_same_after_it_was_written() {
        let report = sample::report();
        let json = serde_json::to_string(&report).expect("it can be written");
        assert_eq!(serde_json::from_str::<Report>(&json).expect("it can be read"), report);
    }
}
