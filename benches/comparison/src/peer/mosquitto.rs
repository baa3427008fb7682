//! mosquitto with a WebSocket listener, open to anybody, and queues without a bound, so that nothing is dropped.

use std::net::SocketAddr;
use std::path::Path;

use super::nudge::Nudge;
use super::{Absent, Peer, Recipe, SESSIONS};
use crate::launch::Launch;
use crate::places::{Places, Program};
use rialto_load::scenario::Dialect;

const NAME: &str = "mosquitto";
const CONFIG: &str = "mosquitto.conf";
const SOCKET: &str = "mosquitto.socket";

pub(super) fn find(places: &Places) -> Result<Peer, Absent> {
    let program = places.server(NAME).ok_or_else(|| {
        Absent::new(NAME, "no program `mosquitto`", "benches/run installs it (Debian's package mosquitto)")
    })?;
    let version = program.version(&["-h"]).unwrap_or_else(|| "unknown".to_owned());
    Ok(Peer {
        name: NAME.to_owned(),
        version,
        dialect: Dialect::Mqtt,
        idle_sessions: SESSIONS,
        recipe: Recipe::Mosquitto(program),
    })
}

pub(super) fn launch(program: &Program, address: SocketAddr, folder: &Path) -> Launch {
    Launch {
        program: program.file.clone(),
        arguments: vec!["-c".into(), folder.join(CONFIG).into()],
        environment: program.environment.clone(),
        files: vec![(CONFIG.to_owned(), config(address, folder))],
    }
}

/// It looks for new WebSocket sessions every 100 ms, or whenever something else happens.
pub(super) fn nudge(folder: &Path) -> Nudge {
    Nudge::spawn(folder.join(SOCKET))
}

/// The first listener is there because Debian's 2.0.11 refuses to start when WebSocket listeners are the only ones;
/// `socket_domain` because without it that build listens on all addresses.
fn config(address: SocketAddr, folder: &Path) -> String {
    format!(
        "listener 0 {socket}\n\nlistener {port} {ip}\nsocket_domain ipv4\nprotocol websockets\n\n\
         allow_anonymous true\npersistence false\nuser root\nlog_type error\nset_tcp_nodelay true\n\
         max_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 0\n",
        socket = folder.join(SOCKET).display(),
        port = address.port(),
        ip = address.ip(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listens_on_the_given_address_and_drops_nothing() {
        let text = config("127.0.0.1:4711".parse().expect("an address"), Path::new("/tmp/some"));
        assert!(text.contains("\nlistener 4711 127.0.0.1\nsocket_domain ipv4\nprotocol websockets\n"), "{text}");
        assert!(text.contains("\nmax_queued_messages 0\n"), "{text}");
    }
}
