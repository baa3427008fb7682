//! The latency of a healthy client while thousands of hostile connections are open, and after they are closed. During the
//! measurement hostile connections that the broker closes are replaced; then they are not.

mod attacker;
mod caller;
mod exhaustion;
pub mod hostile;
pub mod listing;
pub mod options;
pub mod outcome;
mod ring;
mod thread_time;

use std::path::Path;
use std::time::{Duration, Instant};

pub use caller::{Act, Waits};
pub use exhaustion::AttackOutcome;

use crate::bystanders::Bystanders;
use crate::holding::Holding;
use crate::launch::Launch;
use crate::patience::Patience;
use caller::Caller;
use exhaustion::{Attack, Plan};
use hostile::{Deadlines, Kind};
use rialto_load::LoadError;
use rialto_load::descriptors;
use rialto_load::process::Family;
use rialto_load::scenario::Target;

/// What every deadline may be late by: those who watch over them look now and then.
pub const SLACK: Duration = Duration::from_millis(1_500);

const CONFIG: &str = "rialto.toml";
/// The first calls are not counted.
const WARM_UP: Duration = Duration::from_secs(1);
/// Hostile sockets do not come all at once, so they are not gone all at once either.
const COMING: Duration = Duration::from_secs(4);
/// All hostile sockets have to be open within this.
const GATHER: Duration = Duration::from_secs(30);
/// Descriptors of the last ones may be closed a little later than their peers notice.
const SETTLE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Door<'d> {
    /// The broker, which somebody has started.
    pub target: &'d Target,
    /// Its process.
    pub pid: u32,
    /// Length of each phase.
    pub phase: Duration,
    /// How often both are measured.
    pub rounds: u32,
    /// Hostile sockets that are kept open.
    pub sockets: usize,
    /// What its configuration says.
    pub deadlines: Deadlines,
    /// The core of the hostile ones; none means wherever the system likes.
    pub core: Option<usize>,
    /// How long may be waited, and rounds be repeated, for a machine that does nothing else.
    pub patience: Duration,
}

/// What a phase showed.
#[derive(Clone, Debug)]
pub struct Phase {
    /// What the healthy client waited for.
    pub waits: Waits,
    /// Cores that the broker kept busy.
    pub server_cores: f64,
    /// Cores that this program kept busy.
    pub load_cores: f64,
}

/// An idle phase and a hostile one.
#[derive(Clone, Debug)]
pub struct Round {
    /// Cores that others kept busy in both phases: from some on, the waits say nothing.
    pub others_cores: f64,
    /// Nobody else is there.
    pub idle: Phase,
    /// They are.
    pub hostile: Phase,
    /// Cores that the hostile sockets kept busy, which is part of what this program did.
    pub attack_cores: f64,
    /// What became of them.
    pub outcome: AttackOutcome,
    /// Before they came.
    pub before: Holding,
    /// At the end of the hostile phase.
    pub during: Holding,
    /// When they were gone, or should have been.
    pub after: Holding,
}

/// The broker as an operator starts it who sets nothing: the defaults are what is measured.
pub fn launch(program: &Path, address: std::net::SocketAddr, folder: &Path) -> Launch {
    Launch {
        program: program.to_owned(),
        arguments: vec!["--config".into(), folder.join(CONFIG).into()],
        files: vec![(CONFIG.to_owned(), format!("[server]\nlisten = \"{address}\"\n"))],
        ..Launch::default()
    }
}

/// Lets this process, and those that it starts from now on, have so many sockets.
///
/// # Errors
/// When the system does not allow it.
pub fn make_room(sockets: usize) -> Result<(), LoadError> {
    descriptors::allow(sockets as u64)
}

impl Door<'_> {
    /// Measures all rounds and tells what it is doing.
    ///
    /// # Errors
    /// When a healthy client is refused or not answered, or when the broker is gone.
    pub fn measure(&self, tell: &mut dyn FnMut(&str)) -> Result<Vec<Round>, LoadError> {
        let family = Family::of(self.pid)?;
        let load = Family::of(std::process::id())?;
        tell("warming up");
        Caller::connect(self.target.address)?.call_for(WARM_UP)?;
        let mut patience = Patience::new(self.patience);
        let mut rounds = Vec::new();
        while rounds.len() < self.rounds as usize {
            tell("waiting for a machine that does nothing else");
            patience.wait();
            let begun = Instant::now();
            let number = rounds.len() + 1;
            let round =
                self.round(&family, &load, &mut |what| tell(&format!("round {number}/{}: {what}", self.rounds)))?;
            if !patience.wants_again(round.others_cores, begun.elapsed()) {
                rounds.push(round);
            }
        }
        Ok(rounds)
    }

    fn round(&self, family: &Family, load: &Family, tell: &mut dyn FnMut(&str)) -> Result<Round, LoadError> {
        let bystanders = Bystanders::since_now(self.pid);
        tell("idle");
        let idle = self.phase(family, load)?;
        let before = Holding::of(self.pid)?;
        tell("hostile sockets come");
        let mut attack =
            Attack::lay(Plan { address: self.target.address, sockets: self.sockets, coming: COMING, core: self.core })?;
        attack.gather(GATHER)?;
        tell("hostile");
        attack.watch();
        let used = attack.used();
        let begun = Instant::now();
        let hostile = self.phase(family, load)?;
        let attack_cores = attack.used().saturating_sub(used).as_secs_f64() / begun.elapsed().as_secs_f64();
        let others_cores = bystanders.cores();
        let during = Holding::of(self.pid)?;
        tell("nobody comes any more");
        let longest = Kind::ALL.iter().map(|kind| kind.deadline(&self.deadlines)).max().unwrap_or_default();
        let outcome = attack.end(longest + SLACK)?;
        let after = self.settled(before)?;
        Ok(Round { others_cores, idle, hostile, attack_cores, outcome, before, during, after })
    }

    fn phase(&self, family: &Family, load: &Family) -> Result<Phase, LoadError> {
        let mut caller = Caller::connect(self.target.address)?;
        let begun = Instant::now();
        let (server_before, load_before) = (family.processor()?, load.processor()?);
        let waits = caller.call_for(self.phase)?;
        let seconds = begun.elapsed().as_secs_f64();
        let server_cores = family.processor()?.since(&server_before).as_secs_f64() / seconds;
        // The broker is a child of this program and was counted with it.
        let load_cores = load.processor()?.since(&load_before).as_secs_f64() / seconds - server_cores;
        Ok(Phase { waits, server_cores, load_cores })
    }

    fn settled(&self, before: Holding) -> Result<Holding, LoadError> {
        let begun = Instant::now();
        loop {
            let holding = Holding::of(self.pid)?;
            if holding.descriptors <= before.descriptors || begun.elapsed() > SETTLE {
                return Ok(holding);
            }
            std::thread::sleep(LOOK);
        }
    }
}
