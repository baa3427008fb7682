//! The package `ws` for Node.js, in the broadcast server of `benches/peers/ws`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Absent, Peer, Recipe, SESSIONS};
use crate::launch::Launch;
use crate::places::{Places, Program};
use rialto_load::scenario::Dialect;

const NAME: &str = "ws (Node)";

/// Node.js and the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    program: PathBuf,
    server: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    version: String,
}

pub(super) fn find(places: &Places) -> Result<Peer, Absent> {
    let program = places
        .program("node")
        .ok_or_else(|| Absent::new(NAME, "no program `node`", "benches/run after Node.js 20 or newer is installed"))?;
    let install = "benches/run installs it (ws from npm)";
    let server = places.installed("ws/server.mjs").ok_or_else(|| {
        let reason = format!("no {}", places.peers.join("ws/server.mjs").display());
        Absent::new(NAME, reason, install)
    })?;
    let package = places.installed("ws/node_modules/ws/package.json");
    let package = package.and_then(|file| std::fs::read(file).ok()).ok_or_else(|| {
        let reason = format!("no package ws in {}", places.peers.join("ws").display());
        Absent::new(NAME, reason, install)
    })?;
    let ws = serde_json::from_slice(&package).map_or_else(|_| "unknown".to_owned(), |package: Package| package.version);
    let node = Program { file: program.clone(), environment: Vec::new() };
    let node = node.version(&["--version"]).unwrap_or_else(|| "unknown".to_owned());
    Ok(Peer {
        name: NAME.to_owned(),
        version: format!("{ws}, Node {node}"),
        dialect: Dialect::Plain,
        idle_sessions: SESSIONS,
        recipe: Recipe::Ws(Node { program, server }),
    })
}

impl Node {
    pub(super) fn launch(&self, address: SocketAddr) -> Launch {
        Launch {
            program: self.program.clone(),
            arguments: vec![self.server.clone().into(), address.port().to_string().into()],
            ..Launch::default()
        }
    }
}
