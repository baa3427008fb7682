//! The network server: listens, answers HTTP requests and upgrades WebSocket connections to sessions.

mod accept;
mod admission;
mod api;
mod authorize;
mod connection;
mod control;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod http;
mod session_handle;
mod sign_in;
mod streaming;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod websocket;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use self::admission::connections::Connections;
use self::admission::rate::AdmissionRate;
use self::api::Api;
use self::control::Control;
use self::http::hosts::Hosts;
use self::tls::Tls;
use crate::broker::Broker;
use crate::config::{self, ActiveConfig, Limits};
use crate::log_pace::LogPace;

pub use self::control::ControlError;
pub use self::session_handle::{ConnectionInfo, SessionHandle};
#[cfg(feature = "tls")]
pub use self::tls::PairError;
pub use self::tls::TlsError;
pub use self::websocket::handed_over::SessionEnd;

/// Established connections that the operating system queues until they are accepted.
const BACKLOG: u32 = 4_096;

/// An address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the operating system says.
    pub reason: io::Error,
}

/// The listening sockets of a broker.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    control: Option<Control>,
    front: Arc<Front>,
}

/// One listening socket, with or without TLS.
#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
}

/// Settings and limits that all connections share.
#[derive(Debug)]
struct Front {
    broker: Broker,
    hosts: Hosts,
    connections: Connections,
    admission: AdmissionRate,
    /// How often refusals are logged.
    pace: LogPace,
    /// The HTTP API, where the configuration has keys for it.
    api: Api,
    /// Becomes true when the server stops taking requests.
    stopped: watch::Sender<bool>,
    /// Whether upgraded connections echo instead of being sessions.
    #[cfg(feature = "fuzzing")]
    echo: bool,
}

impl Server {
    /// Listens on every address of the settings; [`Server::with_tls`] adds those with TLS. Must be called within a tokio runtime.
    ///
    /// The settings replace those of the broker's configuration, and a reload replaces them again: all servers of one broker
    /// have the same.
    ///
    /// # Errors
    /// [`BindError`] for the first address that cannot be bound; then none stays open.
    pub fn bind(broker: Broker, settings: &config::Server) -> Result<Self, BindError> {
        let front = Arc::new(Front::new(broker, settings));
        let (listeners, addresses, tls_addresses) = (Vec::new(), Vec::new(), Vec::new());
        let mut server = Self { listeners, addresses, tls_addresses, control: None, front };
        server.addresses = server.listen(&settings.listen, None)?;
        Ok(server)
    }

    /// Also serves the HTTP API, to programs that have one of these keys. They replace those of the broker's configuration, and
    /// a reload replaces them again.
    #[must_use]
    pub fn with_api(self, settings: &config::Api) -> Self {
        self.front.broker.core.config.update(|config| config.api = Some(settings.clone()));
        self
    }

    /// Also serves the HTTP API at this control socket: a process that may open it needs no key and may do everything. Must
    /// be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ControlError`] when the socket cannot be opened, or other users could replace it.
    pub fn open_control(&mut self, path: &Path) -> Result<(), ControlError> {
        self.control = Some(Control::bind(path)?);
        Ok(())
    }

    /// The addresses it listens on without TLS, with the real port where any was asked for.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The addresses it listens on with TLS, with the real port where any was asked for.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls_addresses
    }

    /// Serves until `stop` completes, then accepts no more connections. Sessions go on until
    /// [`Broker::shutdown`](crate::Broker::shutdown).
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listeners, front, control, .. } = self;
        accept::serve(listeners, control, front, stop).await;
    }

    /// Listens on each address and returns the addresses with their real ports.
    fn listen(&mut self, addresses: &[SocketAddr], tls: Option<&Arc<Tls>>) -> Result<Vec<SocketAddr>, BindError> {
        let mut real = Vec::new();
        for address in addresses {
            let failed = |reason| BindError { address: *address, reason };
            // `[::]` alone takes IPv4 too, but must leave it to an address that is listed for it.
            let is_shared =
                |other: &SocketAddr| other.is_ipv4() && other.port() == address.port() && address.port() != 0;
            let is_only_v6 = address.is_ipv6() && addresses.iter().any(is_shared);
            let socket = listen(*address, is_only_v6, &self.front.config().limits).map_err(failed)?;
            real.push(socket.local_addr().map_err(failed)?);
            self.listeners.push(Listener { socket, tls: tls.cloned() });
        }
        Ok(real)
    }
}

impl Front {
    /// Waits until the server stops taking requests.
    async fn stopping(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// The configuration in force, for one connection or request.
    fn config(&self) -> Arc<ActiveConfig> {
        self.broker.core.config.get()
    }

    fn new(broker: Broker, settings: &config::Server) -> Self {
        broker.core.config.update(|config| {
            let shards = config.server.shards;
            config.server = config::Server { shards, ..settings.clone() };
        });
        Self {
            hosts: Hosts::new(Arc::clone(&broker.core.metrics)),
            connections: Connections::new(Arc::clone(&broker.core.metrics)),
            admission: AdmissionRate::default(),
            pace: LogPace::default(),
            api: Api::of_programs(),
            stopped: watch::Sender::new(false),
            #[cfg(feature = "fuzzing")]
            echo: false,
            broker,
        }
    }
}

fn listen(address: SocketAddr, is_only_v6: bool, limits: &Limits) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A broker that has just stopped leaves connections in TIME_WAIT, which must not prevent a restart.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    if is_only_v6 {
        socket2::SockRef::from(&socket).set_only_v6(true)?;
    }
    bound_sending(&socket, limits)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Bounds what the system buffers for a slow consumer, and how long it tries to reach a peer that acknowledges nothing
/// (RFC 5482): what is small always fits its buffer, so that no write would ever fail. Accepted sockets inherit both options
/// from the listening socket.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn bound_sending(socket: &TcpSocket, limits: &Limits) -> io::Result<()> {
    let socket = socket2::SockRef::from(socket);
    socket.set_tcp_notsent_lowat(limits.unsent_bytes)?;
    socket.set_tcp_user_timeout(Some(Duration::from_millis(limits.ping_ms.saturating_add(limits.pong_ms))))
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn bound_sending(_: &TcpSocket, _: &Limits) -> io::Result<()> {
    Ok(())
}
