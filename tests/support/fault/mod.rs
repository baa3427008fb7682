//! A proxy on loopback that delays, trickles, cuts, resets and half-closes the connections it carries, as a seed says.

pub(crate) mod plan;
mod pump;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use plan::Plan;
use pump::{End, pump};

/// A proxy; it and its connections end when this is dropped.
pub(crate) struct FaultProxy {
    /// Where clients connect to.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    seed: u64,
    /// Where the server is; it may come back at another address.
    target: watch::Sender<Option<SocketAddr>>,
    calm: watch::Sender<bool>,
    connections: AtomicU64,
}

impl FaultProxy {
    /// Listens on a free port.
    pub(crate) async fn start(seed: u64, target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (target, calm) = (watch::Sender::new(Some(target)), watch::Sender::new(false));
        let shared = Arc::new(Shared { seed, target, calm, connections: AtomicU64::new(0) });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    /// From now on connections lead there, or nowhere: a port that a server has given back may be somebody else's at once.
    pub(crate) fn aim(&self, target: Option<SocketAddr>) {
        self.shared.target.send_replace(target);
    }

    /// From now on nothing happens to anybody.
    pub(crate) fn heal(&self) {
        self.shared.calm.send_replace(true);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(carry(client, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut client: TcpStream, shared: Arc<Shared>) {
    let target = *shared.target.borrow();
    let connected = match target {
        Some(target) => TcpStream::connect(target).await.ok(),
        None => None,
    };
    let Some(mut server) = connected else {
        let _ = client.set_zero_linger();
        return;
    };
    let number = shared.connections.fetch_add(1, Relaxed);
    let plan = if *shared.calm.borrow() { Plan::calm() } else { Plan::new(shared.seed, number) };
    for socket in [&client, &server] {
        let _ = socket.set_nodelay(true);
    }
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::try_join!(
            pump(from_client, to_server, plan.to_server, shared.calm.subscribe()),
            pump(from_server, to_client, plan.to_client, shared.calm.subscribe()),
        )
    };
    if ended == Err(End::Reset) {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}
