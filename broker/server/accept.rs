//! The accept loop: accepts connections on every listening socket and spawns one task for each. It reads nothing itself.

use std::collections::HashMap;
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
use super::{Front, Listener, connection};
use crate::supervision;

/// Least time between two warnings that accepting fails.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// How long accepting pauses when the system has no more descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves all listeners until `stop` completes. Then HTTP requests in progress are aborted; sessions go on.
pub(super) async fn serve(
    listeners: Vec<Listener>,
    control: Option<Control>,
    front: Arc<Front>,
    stop: impl Future<Output = ()>,
) {
    let mut loops = JoinSet::new();
    if let Some(control) = control {
        loops.spawn(control.serve(Arc::clone(&front)));
    }
    let mut accepting = HashMap::new();
    for listener in listeners.into_iter().map(Arc::new) {
        let task = loops.spawn(accept(Arc::clone(&listener), Arc::clone(&front)));
        accepting.insert(task.id(), listener);
    }
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(ended) = loops.join_next_with_id() => {
                let Err(error) = ended else { continue };
                supervision::tell("accepting connections", &front.broker.core.metrics);
                // The listening socket is still there, and somebody has to accept.
                if let Some(listener) = accepting.remove(&error.id()) {
                    tokio::time::sleep(PAUSE).await;
                    let task = loops.spawn(accept(Arc::clone(&listener), Arc::clone(&front)));
                    accepting.insert(task.id(), listener);
                }
            }
        }
    }
    front.stopped.send_replace(true);
    while loops.join_next().await.is_some() {}
}

async fn accept(listener: Arc<Listener>, front: Arc<Front>) {
    let mut connections = JoinSet::new();
    let mut warned_at: Option<Instant> = None;
    let stopping = front.stopping();
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            accepted = listener.socket.accept() => match accepted {
                Ok((stream, peer)) => spawn_connection(&mut connections, stream, peer, &listener, &front),
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    if warned_at.is_none_or(|warned_at| warned_at.elapsed() > WARN_INTERVAL) {
                        warned_at = Some(Instant::now());
                        tracing::warn!(%error, "cannot accept connections at the moment");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = &mut stopping => {
                // Each task decides for itself whether it ends now or together with its session.
                connections.detach_all();
                return;
            }
        }
    }
}

fn spawn_connection(
    connections: &mut JoinSet<()>,
    stream: TcpStream,
    peer: SocketAddr,
    listener: &Listener,
    front: &Arc<Front>,
) {
    let address = peer.ip().to_canonical();
    let config = front.config();
    // A TLS handshake is too expensive for a connection that is refused anyway, and for an address over its rate limit.
    let is_admitted = |waiting: &Waiting| {
        listener.tls.is_none()
            || (waiting.refusal.is_none() && front.connections.may_shake_hands(&config, address, Instant::now()))
    };
    let Some(waiting) = front.connections.enter(&config, address).filter(is_admitted) else {
        tracing::debug!(%peer, "connection dropped: connection or handshake limit reached");
        return;
    };
    // Frames are written whole; waiting for more would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "the connection is closed already");
        return;
    }
    let deadline = Duration::from_millis(config.limits.header_ms);
    let (tls, front) = (listener.tls.clone(), Arc::clone(front));
    connections.spawn(async move {
        let stream = match tls {
            Some(tls) => tokio::select! {
                stream = tls.accept(stream, peer, deadline) => stream,
                () = front.stopping() => None,
            },
            None => Some(Stream::Tcp(stream)),
        };
        if let Some(stream) = stream {
            connection::serve(stream, address, waiting, front).await;
        }
    });
}

/// Whether the error concerns one connection that ended before it was accepted, and not the listener.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
