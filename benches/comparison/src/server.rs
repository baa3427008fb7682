//! The servers that are compared: ours, the floor and other people's; how each is started for one run.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::cores::Cores;
use crate::launch::{Launch, LaunchError, Running};
use crate::options::Floor;
use crate::peer::Peer;
use crate::peer::also::Elsewhere;
use crate::peer::nudge::Nudge;
use crate::plan::Who;
use rialto_load::scenario::{Dialect, Target};

/// Rialto with one shard.
pub const RIALTO: &str = "Rialto";
/// Rialto with two shards.
pub const RIALTO_TWO: &str = "Rialto, two shards";
/// Rialto with one shard and a history for every topic.
pub const RIALTO_KEEPING: &str = "Rialto, history";
/// The floor that writes once per turn and socket.
pub const FLOOR_BATCHED: &str = "floor, batched";
/// The floor that writes once per message and socket.
pub const FLOOR_UNBATCHED: &str = "floor, unbatched";

/// Idle sessions of a server that is not known.
const ELSEWHERE_SESSIONS: u32 = 2_000;
const CONFIG: &str = "rialto.toml";

/// A server to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// Ours.
    Rialto {
        /// The binary.
        program: PathBuf,
        /// Its number of shards: one or two.
        shards: u32,
        /// Whether it may use two cores.
        wide: bool,
        /// Whether every topic has a history.
        keeps: bool,
    },
    /// What a server costs that does nothing but write.
    Floor {
        /// This program, which is the floor when it is told so.
        program: PathBuf,
        /// Whether all frames of a turn go out in one write per socket.
        batched: bool,
    },
    /// Somebody else's.
    Peer(Peer),
    /// Somebody else's that runs already.
    Elsewhere(Elsewhere),
}

/// A server that can be measured now, until this is dropped.
#[derive(Debug)]
pub struct Ready {
    target: Target,
    nudge: Option<Nudge>,
    /// Ends the server if it was started for this run.
    _running: Option<Running>,
}

impl Ready {
    /// Where it listens, and its process.
    pub fn target(&self) -> Target {
        self.target.clone()
    }

    /// To be told when all sessions are open.
    pub fn connected(&mut self) {
        self.nudge = None;
    }
}

impl Server {
    /// Its name in tables.
    pub fn name(&self) -> &str {
        match self {
            Self::Rialto { keeps: true, .. } => RIALTO_KEEPING,
            Self::Rialto { shards: 1, .. } => RIALTO,
            Self::Rialto { .. } => RIALTO_TWO,
            Self::Floor { batched: true, .. } => FLOOR_BATCHED,
            Self::Floor { batched: false, .. } => FLOOR_UNBATCHED,
            Self::Peer(peer) => &peer.name,
            Self::Elsewhere(server) => &server.name,
        }
    }

    /// Its version.
    pub fn version(&self) -> &str {
        match self {
            Self::Rialto { .. } | Self::Floor { .. } => env!("CARGO_PKG_VERSION"),
            Self::Peer(peer) => &peer.version,
            Self::Elsewhere(_) => "unknown",
        }
    }

    /// Whether a load is meant for it.
    pub fn is_asked(&self, who: Who) -> bool {
        match self {
            Self::Rialto { keeps: true, .. } => who == Who::RialtoKeeping,
            Self::Rialto { shards, wide, .. } => match who {
                Who::All | Who::Rialto => !wide,
                Who::RialtoKeeping => false,
                Who::OneAndTwoShards => *wide,
                Who::TwoShards => *wide && *shards == 2,
            },
            _ => who == Who::All,
        }
    }

    /// Whether a row divides by it or what it shows.
    pub fn is_of_a_row(&self) -> bool {
        match self {
            Self::Rialto { .. } | Self::Floor { .. } | Self::Elsewhere(_) => true,
            Self::Peer(peer) => peer.is_given(),
        }
    }

    /// How many idle sessions its memory is divided by in this round, of `wanted` ones; none where it is not measured
    /// then. A peer's memory is measured once: it is of no row.
    pub fn idle_sessions(&self, wanted: u32, round: u32) -> Option<u32> {
        match self {
            Self::Rialto { shards: 1, wide: false, keeps: false, .. } => Some(wanted),
            Self::Rialto { .. } | Self::Floor { .. } => None,
            Self::Peer(peer) => (round == 0).then(|| wanted.min(peer.idle_sessions)),
            Self::Elsewhere(_) => (round == 0).then(|| wanted.min(ELSEWHERE_SESSIONS)),
        }
    }

    /// Starts it for one run and waits until it accepts sessions; dropping the result ends it.
    ///
    /// # Errors
    /// When it does not start or does not answer.
    pub fn start(&self, cores: &Cores) -> Result<Ready, LaunchError> {
        let (dialect, pin) = match self {
            Self::Rialto { wide, .. } => (Dialect::Rialto, if *wide { &cores.two_shards } else { &cores.server }),
            Self::Floor { .. } => (Dialect::Plain, &cores.server),
            Self::Peer(peer) => (peer.dialect, &cores.server),
            Self::Elsewhere(server) => return Ok(Ready { target: server.target(), nudge: None, _running: None }),
        };
        let running = Running::start(dialect, pin, |address, folder| self.launch(address, folder))?;
        let nudge = if let Self::Peer(peer) = self { peer.nudge(running.folder()) } else { None };
        Ok(Ready { target: running.target().clone(), nudge, _running: Some(running) })
    }

    fn launch(&self, address: SocketAddr, folder: &Path) -> Launch {
        match self {
            Self::Rialto { program, shards, keeps, .. } => Launch {
                program: program.clone(),
                arguments: vec!["--config".into(), folder.join(CONFIG).into()],
                files: vec![(CONFIG.to_owned(), rialto_config(address, *shards, *keeps))],
                ..Launch::default()
            },
            Self::Floor { program, batched } => Launch {
                program: program.clone(),
                arguments: vec!["floor".into(), Floor::new(*batched).word().into(), address.to_string().into()],
                ..Launch::default()
            },
            Self::Peer(peer) => peer.launch(address, folder),
            // It runs already.
            Self::Elsewhere(_) => Launch::default(),
        }
    }
}

/// Only what the loads need; everything else stays as it is by default.
fn rialto_config(address: SocketAddr, shards: u32, keeps: bool) -> String {
    let rule = if keeps { "\n[[topic]]\npattern = \">\"\nhistory = { messages = 1_000 }\n" } else { "" };
    format!(
        "[server]\nlisten = \"{address}\"\nshards = {shards}\npage = false\nlog = \"warn\"\n\n\
         [limits]\nsubscriptions = 10_000\n{rule}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rialto(shards: u32, wide: bool) -> Server {
        Server::Rialto { program: "/rialto".into(), shards, wide, keeps: false }
    }

    #[test]
    fn each_load_is_sent_to_its_peer() {
        let floor = Server::Floor { program: "/bench".into(), batched: true };
        for (server, expected) in [
            (rialto(1, false), [true, true, false, false]),
            (rialto(1, true), [false, false, true, false]),
            (rialto(2, true), [false, false, true, true]),
            (floor, [true, false, false, false]),
        ] {
            let asked = [Who::All, Who::Rialto, Who::OneAndTwoShards, Who::TwoShards].map(|who| server.is_asked(who));
            assert_eq!(asked, expected, "{server:?}");
        }
    }

    #[test]
    fn is_configured_with_what_the_loads_need() {
        let launch = rialto(2, true).launch("127.0.0.1:4711".parse().expect("an address"), Path::new("/tmp/some"));
        assert_eq!(launch.arguments, ["--config", "/tmp/some/rialto.toml"]);
        assert!(launch.files[0].1.starts_with("[server]\nlisten = \"127.0.0.1:4711\"\nshards = 2\n"), "{launch:?}");
        assert!(launch.files[0].1.ends_with("[limits]\nsubscriptions = 10_000\n"), "{launch:?}");
    }
}
