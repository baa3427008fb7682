//! The comparison: every server gets every load that is meant for it, one after the other, round by round.
//!
//! Each server is started afresh for each run and ended after it: sockets and memory of one run are never there in the
//! next, and no two servers share a core. What is divided by one another is measured within the same minute, several
//! times in turn, forwards and backwards.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rialto_protocol::Codec;

use crate::bystanders::Bystanders;
use crate::check::is_ours;
use crate::cores::Cores;
use crate::launch::LaunchError;
use crate::patience::Patience;
use crate::plan::{IDLE, Plan, Step};
use crate::report::{Failure, Found};
use crate::server::Server;
use rialto_load::LoadError;
use rialto_load::load::{self, Phase, Progress};
use rialto_load::number::count;
use rialto_load::scenario::{Scenario, Target};
use rialto_load::{floor, idle};

/// What is to be compared.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// Which loads, how often.
    pub plan: &'a Plan,
    /// Who gets them.
    pub servers: &'a [Server],
    /// Where they run.
    pub cores: &'a Cores,
    /// How long may be waited, over all runs, for a machine that does nothing else.
    pub patience: Duration,
}

/// How far a comparison is.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The round, from 0.
    pub round: u32,
    /// Runs that are over, of all rounds.
    pub runs_done: usize,
    /// All runs.
    pub runs: usize,
    /// The server that is measured.
    pub server: &'a str,
    /// With what.
    pub load: &'a str,
    /// How far that is.
    pub progress: Progress,
}

impl Moment<'_> {
    /// That as one line, `passed` after the beginning.
    pub fn line(&self, passed: Duration) -> String {
        let phase = match self.progress.phase {
            Phase::Connecting => "connecting",
            Phase::WarmingUp => "warming up",
            Phase::Counting => "counting",
            Phase::Draining => "waiting for the rest",
        };
        let left = match self.runs_done {
            0 => String::new(),
            done => {
                let seconds = passed.as_secs_f64() / done as f64 * (self.runs - done) as f64;
                format!(", {:.0} min left", (seconds / 60.0).ceil())
            }
        };
        format!(
            "{}/{} round {}: {}, {}: {phase} {:.0} %, {} deliveries/s{left}",
            self.runs_done + 1,
            self.runs,
            self.round + 1,
            self.load,
            self.server,
            self.progress.done * 100.0,
            count(self.progress.deliveries_per_second),
        )
    }
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// One server with one load.
#[derive(Clone, Copy, Debug)]
struct Run<'a> {
    round: u32,
    server: &'a Server,
    load: Load<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Load<'a> {
    Scenario(&'a Scenario),
    Idle(u32),
}

impl Comparison<'_> {
    /// Measures everything. What goes wrong in one run is told in what is found and keeps no other from being made.
    pub fn run(&self, tell: &mut dyn FnMut(&Moment<'_>)) -> Found {
        let runs: Vec<Run<'_>> = (0..self.plan.rounds).flat_map(|round| self.round(round)).collect();
        let mut found = Found::default();
        let mut given_up = HashSet::new();
        let mut patience = Patience::new(self.patience);
        for (place, run) in runs.iter().enumerate() {
            let server = run.server.name();
            if given_up.contains(server) {
                continue;
            }
            let mut told = |progress: &Progress| {
                let (round, load) = (run.round, run.load.name());
                tell(&Moment { round, runs_done: place, runs: runs.len(), server, load, progress: *progress });
            };
            if let Err(error) = run.make(self.cores, &mut patience, &mut told, &mut found) {
                if matches!(error, RunError::Launch(_)) && !is_ours(server) {
                    given_up.insert(server);
                }
                let (load, reason) = (run.load.name().to_owned(), error.to_string());
                found.failures.push(Failure { server: server.to_owned(), load, round: run.round, reason });
            }
        }
        found
    }

    /// Idle sessions first: a server that is not ours to start has then seen the least.
    fn round(&self, round: u32) -> Vec<Run<'_>> {
        let mut runs: Vec<Run<'_>> = self
            .servers
            .iter()
            .filter_map(|server| {
                let sessions = server.idle_sessions(self.plan.idle_sessions, round)?;
                Some(Run { round, server, load: Load::Idle(sessions) })
            })
            .filter(|_| self.plan.idle_sessions > 0)
            .collect();
        for block in &self.plan.blocks {
            for repeat in 0..block.repeats {
                let turn = block.steps.iter().flat_map(|step| self.asked(step, repeat));
                let mut turn: Vec<Run<'_>> =
                    turn.map(|(server, scenario)| Run { round, server, load: Load::Scenario(scenario) }).collect();
                if (round + repeat) % 2 == 1 {
                    turn.reverse();
                }
                runs.extend(turn);
            }
        }
        runs
    }

    /// Who gets a load when it is made for the `repeat`th time, from 0.
    fn asked<'a>(&'a self, step: &'a Step, repeat: u32) -> impl Iterator<Item = (&'a Server, &'a Scenario)> {
        let asked = self.servers.iter().filter(move |server| server.is_asked(step.who));
        asked.filter(move |server| repeat == 0 || server.is_of_a_row()).map(|server| (server, &step.scenario))
    }
}

impl Run<'_> {
    fn make(
        &self,
        cores: &Cores,
        patience: &mut Patience,
        told: &mut dyn FnMut(&Progress),
        found: &mut Found,
    ) -> Result<(), RunError> {
        match self.load {
            Load::Idle(sessions) => {
                let idle = self.with_server(cores, told, |target, name, told| idle::run(target, name, sessions, told));
                found.idle.push(idle?.0);
            }
            Load::Scenario(scenario) => {
                let scenario = self.fitted(scenario);
                let (measurement, others) = loop {
                    patience.wait();
                    let begun = Instant::now();
                    let (measurement, others) = self.with_server(cores, told, |target, name, told| {
                        load::run(target, name, &scenario, self.round, told)
                    })?;
                    if !patience.wants_again(others, begun.elapsed()) {
                        break (measurement, others);
                    }
                };
                found.measurements.push(measurement);
                found.bystanders.push(others);
            }
        }
        Ok(())
    }

    /// Does something with the server, started for it, and tells how many cores others kept busy meanwhile.
    fn with_server<T>(
        &self,
        cores: &Cores,
        told: &mut dyn FnMut(&Progress),
        measure: impl FnOnce(&Target, &str, &mut dyn FnMut(&Progress)) -> Result<T, LoadError>,
    ) -> Result<(T, f64), RunError> {
        let mut ready = self.server.start(cores)?;
        let target = ready.target();
        let bystanders = Bystanders::since_now(target.pid.unwrap_or_else(std::process::id));
        let mut told = |progress: &Progress| {
            if progress.phase != Phase::Connecting {
                ready.connected();
            }
            told(progress);
        };
        let measured = measure(&target, self.server.name(), &mut told)?;
        Ok((measured, bystanders.cores()))
    }

    /// The floor has no envelope: its payload is as long as Rialto's message in JSON, so that both write as many bytes.
    fn fitted(&self, scenario: &Scenario) -> Scenario {
        let mut scenario = scenario.clone();
        if matches!(self.server, Server::Floor { .. }) {
            scenario.payload_bytes = floor::payload_bytes_like_rialto(scenario.payload_bytes, Codec::Json);
        }
        scenario
    }
}

impl Load<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Scenario(scenario) => &scenario.name,
            Self::Idle(_) => IDLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::field::Field;
    use crate::options::Options;
    use crate::places::Places;
    use crate::plan::{SATURATED, SATURATED_WIDE};

    #[test]
    fn compared_rows_are_measured_in_turn_and_others_once() {
        let nowhere = Places { path: vec!["/nowhere".into()], peers: "/nowhere".into() };
        let peers = ["uWS=plain:exec:/uws {port}", "other=mqtt:ws://127.0.0.1:1/#2"];
        let also = peers.iter().map(|text| text.parse().expect("it is well formed")).collect();
        let options = Options { also, ..Options::default() };
        let field = Field::gather(&options, Path::new("/rialto"), Path::new("/bench"), &nowhere);
        let plan = Plan::full(2).only(&[SATURATED.to_owned()]);
        let cores = Cores::share(2, &nowhere);
        let comparison = Comparison { plan: &plan, servers: &field.servers, cores: &cores, patience: Duration::ZERO };
        let order = |round: u32, load: &str| -> Vec<String> {
            let runs = comparison.round(round).into_iter().filter(|run| run.load.name() == load);
            runs.map(|run| run.server.name().to_owned()).collect()
        };
        let first = order(0, SATURATED);
        assert_eq!(first[..5], ["floor, batched", "Rialto", "uWS", "other", "floor, unbatched"]);
        assert_eq!(first[5..10], ["floor, unbatched", "other", "uWS", "Rialto", "floor, batched"]);
        assert_eq!(first.len(), 15);
        assert_eq!(order(1, SATURATED)[0], "floor, unbatched");
        assert_eq!(order(0, SATURATED_WIDE)[..3], ["Rialto", "Rialto, two shards", "Rialto, two shards"]);
        assert_eq!(order(0, IDLE), Vec::<String>::new());
    }
}
