//! Takes connections off the listening sockets and gives each to a task of its own. It reads nothing itself.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::admission::connections::Waiting;
use super::control::Control;
use super::http::stream::Stream;
use super::{Door, Front, http};

/// The least time between two words about that.
const QUIET: Duration = Duration::from_secs(60);

/// How long accepting pauses when the system has no more descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves all listeners until `stop` is done; then HTTP requests under way are cut off, but not the sessions among them.
pub(super) async fn serve(
    doors: Vec<Door>,
    control: Option<Control>,
    front: Arc<Front>,
    stop: impl Future<Output = ()>,
) {
    let mut loops = JoinSet::new();
    if let Some(control) = control {
        loops.spawn(control.serve(Arc::clone(&front)));
    }
    for door in doors {
        loops.spawn(accept(door, Arc::clone(&front)));
    }
    stop.await;
    front.stopped.send_replace(true);
    while loops.join_next().await.is_some() {}
}

async fn accept(door: Door, front: Arc<Front>) {
    let mut connections = JoinSet::new();
    let mut said: Option<Instant> = None;
    let stopping = front.stopping();
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            accepted = door.listener.accept() => match accepted {
                Ok((stream, peer)) => begin(&mut connections, stream, peer, &door, &front),
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    if said.is_none_or(|said| said.elapsed() > QUIET) {
                        said = Some(Instant::now());
                        tracing::warn!(%error, "cannot accept connections at the moment");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = &mut stopping => {
                // Each knows by itself whether it has to end now, or with its session.
                connections.detach_all();
                return;
            }
        }
    }
}

fn begin(connections: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr, door: &Door, front: &Arc<Front>) {
    let address = peer.ip().to_canonical();
    // A handshake is too much work for somebody who has to go, and for one who wants too many of them.
    let stays = |waiting: &Waiting| {
        door.tls.is_none() || (waiting.refusal.is_none() && front.connections.may_shake_hands(address, Instant::now()))
    };
    let Some(waiting) = front.connections.enter(address).filter(stays) else {
        tracing::debug!(%peer, "hung up: there is no place for it");
        return;
    };
    // Frames are written whole; waiting for more would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "the connection is gone already");
        return;
    }
    let (tls, front) = (door.tls.clone(), Arc::clone(front));
    connections.spawn(async move {
        let stream = match tls {
            Some(tls) => tokio::select! {
                stream = tls.greet(stream, peer) => stream,
                () = front.stopping() => None,
            },
            None => Some(Stream::Tcp(stream)),
        };
        if let Some(stream) = stream {
            http::serve(stream, address, waiting, front).await;
        }
    });
}

/// Errors of one connection that ended before we took it; the listener itself is fine.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
