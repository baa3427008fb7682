//! Servers of other people that the bench compares with: one file each, which finds it and says how it is configured.

pub mod also;
mod mosquitto;
mod nats;
mod nchan;
pub mod nudge;
mod ws;

use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::launch::Launch;
use crate::places::{Places, Program};
use nudge::Nudge;
use rialto_load::scenario::Dialect;

/// Sessions of a peer's idle run.
const SESSIONS: u32 = 2_000;

/// A server of somebody else that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name in tables.
    pub name: String,
    /// Its version as it says itself.
    pub version: String,
    /// How it is spoken to.
    pub dialect: Dialect,
    /// How many idle sessions its memory is divided by.
    pub idle_sessions: u32,
    recipe: Recipe,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Recipe {
    Nats(Program),
    Nchan(nchan::Nginx),
    Mosquitto(Program),
    Ws(ws::Node),
    Also(also::Command),
}

/// Why a peer is not compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("SKIPPED {name}: {reason}. To have it: {install}")]
pub struct Absent {
    /// The peer.
    pub name: String,
    /// What is missing.
    pub reason: String,
    /// What to do about it.
    pub install: String,
}

impl Absent {
    fn new(name: &str, reason: impl Into<String>, install: &str) -> Self {
        Self { name: name.to_owned(), reason: reason.into(), install: install.to_owned() }
    }
}

impl Peer {
    /// What has to be run so that it listens at `address`, with its files in `folder`.
    pub fn launch(&self, address: SocketAddr, folder: &Path) -> Launch {
        match &self.recipe {
            Recipe::Nats(program) => nats::launch(program, address, folder),
            Recipe::Nchan(nginx) => nginx.launch(address, folder),
            Recipe::Mosquitto(program) => mosquitto::launch(program, address, folder),
            Recipe::Ws(node) => node.launch(address),
            Recipe::Also(command) => command.launch(address),
        }
    }

    /// Whether it was given on the command line.
    pub fn is_given(&self) -> bool {
        matches!(self.recipe, Recipe::Also(_))
    }

    /// What the running server needs for as long as sessions are opened; `folder` is where its files are.
    pub fn nudge(&self, folder: &Path) -> Option<Nudge> {
        matches!(self.recipe, Recipe::Mosquitto(_)).then(|| mosquitto::nudge(folder))
    }
}

/// All known peers: those that are there, and why the others are not.
pub fn find(places: &Places) -> (Vec<Peer>, Vec<Absent>) {
    let mut there = Vec::new();
    let mut absent = Vec::new();
    for found in [nats::find(places), nchan::find(places), mosquitto::find(places), ws::find(places)] {
        match found {
            Ok(peer) => there.push(peer),
            Err(reason) => absent.push(reason),
        }
    }
    (there, absent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_peer_is_reported_with_a_hint() {
        let nowhere = Places { path: vec!["/nowhere".into()], peers: "/nowhere".into() };
        let (there, absent) = find(&nowhere);
        assert_eq!(there, []);
        let said: Vec<String> = absent.iter().map(Absent::to_string).collect();
        assert_eq!(said.len(), 4);
        for (line, name) in said.iter().zip(["nats-server", "nchan (nginx)", "mosquitto", "ws (Node)"]) {
            assert!(line.starts_with(&format!("SKIPPED {name}: ")), "{line}");
            assert!(line.contains("To have it: benches/run"), "{line}");
        }
    }
}
