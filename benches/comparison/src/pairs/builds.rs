//! Two builds of the broker in turn, each started afresh for every run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rialto_load::load::Progress;
use rialto_load::scenario::{Idle, Measurement, Pace, Scenario, Target};
use rialto_load::{LoadError, idle, load};

use super::{Better, Paired};
use crate::bystanders::Bystanders;
use crate::cores::Cores;
use crate::launch::LaunchError;
use crate::patience::Patience;
use crate::plan::{CALM, IDLE, Plan, SATURATED};
use crate::server::Server;

/// Messages in flight of the saturated loads.
const WINDOWS: [u32; 3] = [1, 32, 256];

/// Two builds to be compared.
#[derive(Debug)]
pub struct Builds<'a> {
    /// The binary of the earlier build.
    pub before: &'a Path,
    /// The binary of this build.
    pub after: &'a Path,
    /// Where they run.
    pub cores: &'a Cores,
    /// How many pairs of runs each load gets.
    pub pairs: u32,
    /// Whether only to see that everything works.
    pub quick: bool,
    /// Only loads with one of these texts in their name; all if there is none.
    pub only: &'a [String],
    /// How long may be waited, over all runs, for a machine that does nothing else.
    pub patience: Duration,
}

/// How far a comparison is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair<'a> {
    /// The pair, from 0.
    pub pair: u32,
    /// Of how many.
    pub pairs: u32,
    /// The load.
    pub load: &'a str,
    /// Whether the later build is measured.
    pub after: bool,
    /// How much of the run is over, from 0 to 1.
    pub done: f64,
}

impl fmt::Display for Pair<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let build = if self.after { "this build" } else { "the one before" };
        let percent = self.done * 100.0;
        write!(formatter, "pair {}/{}: {}, {build}: {percent:.0} %", self.pair + 1, self.pairs, self.load)
    }
}

/// Why a build could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// It does not start.
    #[error("{}: {source}", program.display())]
    Launch {
        /// The binary.
        program: PathBuf,
        /// Why.
        source: LaunchError,
    },
    /// The load fails.
    #[error("{}: {source}", program.display())]
    Load {
        /// The binary.
        program: PathBuf,
        /// Why.
        source: LoadError,
    },
    /// Messages got lost, and then no figure counts.
    #[error("{}: {count} deliveries of \"{load}\" were wrong", program.display())]
    Faults {
        /// The binary.
        program: PathBuf,
        /// The load.
        load: String,
        /// How many.
        count: u64,
    },
}

impl Builds<'_> {
    /// Measures both with every load, pair by pair, the order changing from pair to pair.
    ///
    /// # Errors
    /// When one of them does not start, cannot be measured, or loses messages.
    pub fn run(&self, tell: &mut dyn FnMut(&Pair<'_>)) -> Result<Vec<Paired>, BuildError> {
        let scenarios = self.scenarios();
        let idle_sessions = if self.quick { 500 } else { 5_000 };
        let idle_is_wanted = self.is_wanted(IDLE);
        let mut all: Vec<Paired> = scenarios.iter().flat_map(figures).collect();
        let mut memory = Paired::new(format!("{IDLE}: bytes each"), Better::Less);
        let mut patience = Patience::new(self.patience);
        for pair in 0..self.pairs {
            for (place, scenario) in scenarios.iter().enumerate() {
                let mut told = |after, done| tell(&Pair { pair, pairs: self.pairs, load: &scenario.name, after, done });
                let [before, after] = self
                    .both(pair, |after| self.measured(after, scenario, &mut patience, &mut |done| told(after, done)))?;
                let figures = &mut all[2 * place..2 * place + 2];
                figures[0].push(before.deliveries_per_second(), after.deliveries_per_second());
                figures[1].push(before.cpu_micros(), after.cpu_micros());
            }
            if idle_is_wanted {
                let mut told = |after, done| tell(&Pair { pair, pairs: self.pairs, load: IDLE, after, done });
                let [before, after] =
                    self.both(pair, |after| self.idle(after, idle_sessions, &mut |done| told(after, done)))?;
                memory.push(Some(before.bytes_per_session), Some(after.bytes_per_session));
            }
        }
        // An open loop delivers what is published: its rate says nothing of the server.
        let mut all: Vec<Paired> =
            all.into_iter().filter(|one| !one.figure.starts_with(CALM) || one.better == Better::Less).collect();
        all.extend(idle_is_wanted.then_some(memory));
        Ok(all)
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| name.contains(text.as_str()))
    }

    /// The loads of the plan that say most of fan-out, the saturated one with several windows.
    fn scenarios(&self) -> Vec<Scenario> {
        let plan = if self.quick { Plan::quick() } else { Plan::full(1) };
        let steps = plan.blocks.into_iter().flat_map(|block| block.steps).map(|step| step.scenario);
        let [mut saturated, mut calm] = [None, None];
        for scenario in steps {
            match scenario.name.as_str() {
                SATURATED => saturated = Some(scenario),
                CALM => calm = Some(scenario),
                _ => {}
            }
        }
        let windows = saturated.iter().flat_map(|saturated| {
            WINDOWS.map(|window| Scenario {
                name: format!("{SATURATED}, {window} in flight"),
                pace: Pace::Window(window),
                ..saturated.clone()
            })
        });
        windows.chain(calm.clone()).filter(|scenario| self.is_wanted(&scenario.name)).collect()
    }

    /// What `measure` makes of the build before and of the one after, which changes who is first.
    fn both<T>(&self, pair: u32, mut measure: impl FnMut(bool) -> Result<T, BuildError>) -> Result<[T; 2], BuildError> {
        if pair.is_multiple_of(2) {
            let before = measure(false)?;
            Ok([before, measure(true)?])
        } else {
            let after = measure(true)?;
            Ok([measure(false)?, after])
        }
    }

    fn measured(
        &self,
        after: bool,
        scenario: &Scenario,
        patience: &mut Patience,
        told: &mut dyn FnMut(f64),
    ) -> Result<Measurement, BuildError> {
        loop {
            patience.wait();
            let begun = Instant::now();
            let mut others = 0.0;
            let measurement = self.with_server(after, |target| {
                let bystanders = Bystanders::since_now(target.pid.unwrap_or_else(std::process::id));
                let mut told = |progress: &Progress| told(progress.done);
                let measurement = load::run(target, &scenario.name, scenario, 0, &mut told)?;
                others = bystanders.cores();
                Ok(measurement)
            })?;
            let count = measurement.faults.count();
            if count > 0 {
                let program = self.program(after).to_owned();
                return Err(BuildError::Faults { program, load: scenario.name.clone(), count });
            }
            if !patience.wants_again(others, begun.elapsed()) {
                return Ok(measurement);
            }
        }
    }

    fn idle(&self, after: bool, sessions: u32, told: &mut dyn FnMut(f64)) -> Result<Idle, BuildError> {
        self.with_server(after, |target| {
            idle::run(target, IDLE, sessions, &mut |progress: &Progress| told(progress.done))
        })
    }

    fn with_server<T>(
        &self,
        after: bool,
        measure: impl FnOnce(&Target) -> Result<T, LoadError>,
    ) -> Result<T, BuildError> {
        let program = || self.program(after).to_owned();
        let server = Server::Rialto { program: program(), shards: 1, wide: false, keeps: false };
        let ready = server.start(self.cores).map_err(|source| BuildError::Launch { program: program(), source })?;
        measure(&ready.target()).map_err(|source| BuildError::Load { program: program(), source })
    }

    fn program(&self, after: bool) -> &Path {
        if after { self.after } else { self.before }
    }
}

/// The figures of one load: its rate and what each delivery costs.
fn figures(scenario: &Scenario) -> [Paired; 2] {
    [
        Paired::new(format!("{}: deliveries/s", scenario.name), Better::More),
        Paired::new(format!("{}: CPU µs/delivery", scenario.name), Better::Less),
    ]
}
