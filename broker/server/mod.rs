//! The doors of the broker: listens, answers HTTP and makes sessions of WebSocket connections.

mod accept;
mod admission;
mod api;
mod control;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http;
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

use rialto_protocol::Codec;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use self::admission::connections::Connections;
use self::admission::rate::AdmissionRate;
use self::api::Api;
use self::control::Control;
use self::tls::Tls;
use self::websocket::upgrade::Rules;
use crate::broker::Broker;
use crate::config;
use crate::hub::Duplex;

pub use self::control::ControlError;
#[cfg(feature = "tls")]
pub use self::tls::PairError;
pub use self::tls::TlsError;

/// Connections the operating system keeps for us while we are busy.
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

/// A broker's listening sockets.
#[derive(Debug)]
pub struct Server {
    doors: Vec<Door>,
    addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    control: Option<Control>,
    front: Arc<Front>,
}

/// One listening socket and what is spoken on it.
#[derive(Debug)]
struct Door {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
}

/// What every connection needs to know.
#[derive(Debug)]
struct Front {
    broker: Broker,
    page: bool,
    rules: Rules,
    connections: Connections,
    admission: AdmissionRate,
    /// The HTTP API, if there is one.
    api: Option<Api>,
    /// Whether requests are no longer served.
    stopped: watch::Sender<bool>,
    header: Duration,
    frame: Duration,
    write: Duration,
    /// Whether upgraded connections echo instead of being sessions.
    #[cfg(fuzzing)]
    echo: bool,
}

impl Server {
    /// Listens on every address of the settings; [`Server::with_tls`] adds those with TLS. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`] for the first address that cannot be had; then none is kept.
    pub fn bind(broker: Broker, settings: &config::Server) -> Result<Self, BindError> {
        let front = Arc::new(Front::new(broker, settings));
        let (doors, addresses, tls_addresses) = (Vec::new(), Vec::new(), Vec::new());
        let mut server = Self { doors, addresses, tls_addresses, control: None, front };
        server.addresses = server.listen(&settings.listen, None)?;
        Ok(server)
    }

    /// Serves the HTTP API too, to programs that have one of these keys.
    #[must_use]
    pub fn with_api(mut self, settings: &config::Api) -> Self {
        let front = Arc::get_mut(&mut self.front).expect("nothing is served yet, so nobody else has it");
        front.api = Some(Api::new(settings));
        self
    }

    /// Serves the HTTP API also at this control socket, to whoever may open it: no key is asked for there, and everything is
    /// allowed. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ControlError`] when the socket cannot be had, or others could put another one in its place.
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

    /// Serves until `stop` is done, then takes no more connections. Sessions go on until
    /// [`Broker::shutdown`](crate::Broker::shutdown); those of them that are streams of events need the runtime until then.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { doors, front, control, .. } = self;
        accept::serve(doors, control, front, stop).await;
    }

    /// Opens a door at each address; gives the addresses with their real ports.
    fn listen(&mut self, addresses: &[SocketAddr], tls: Option<&Arc<Tls>>) -> Result<Vec<SocketAddr>, BindError> {
        let mut real = Vec::new();
        for address in addresses {
            let failed = |reason| BindError { address: *address, reason };
            let listener = listen(*address, self.front.broker.core.limits.unsent_bytes).map_err(failed)?;
            real.push(listener.local_addr().map_err(failed)?);
            self.doors.push(Door { listener, tls: tls.cloned() });
        }
        Ok(real)
    }
}

impl Front {
    /// Waits until requests are no longer served.
    async fn stopping(&self) {
        // The front is there, so its sender is.
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }

    fn new(broker: Broker, settings: &config::Server) -> Self {
        let limits = &broker.core.limits;
        Self {
            page: settings.page,
            rules: Rules { allowed_origins: settings.allowed_origins.clone(), require_origin: settings.require_origin },
            connections: Connections::new(limits, settings.trusted_proxies.clone(), Arc::clone(&broker.core.metrics)),
            admission: AdmissionRate::new(limits.admissions_per_s),
            api: None,
            stopped: watch::Sender::new(false),
            frame: Duration::from_millis(limits.frame_ms),
            header: Duration::from_millis(limits.header_ms),
            write: Duration::from_millis(limits.write_ms),
            #[cfg(fuzzing)]
            echo: false,
            broker,
        }
    }
}

impl Broker {
    /// Makes a session of a stream on which your own server has answered a WebSocket upgrade, with the codec it agreed
    /// on. Bytes that your server has read beyond the request must come out of the stream first. Where there are too many
    /// sessions already, it is closed with 1013.
    pub fn serve_websocket(&self, stream: impl Duplex + 'static, codec: Codec) {
        let permit = self.core.session_limits.welcome(None);
        websocket::start_other(self, Box::new(stream), Box::default(), codec, permit);
    }

    /// The same for a user whom your server knows. The session's `user` is its name, and a user with more than
    /// `sessions_per_user` sessions is closed with 4005.
    pub fn serve_websocket_as(&self, user: &str, stream: impl Duplex + 'static, codec: Codec) {
        let permit = self.core.session_limits.welcome(Some(user));
        websocket::start_other(self, Box::new(stream), Box::default(), codec, permit);
    }
}

fn listen(address: SocketAddr, unsent_bytes: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A broker that was just stopped leaves connections in TIME_WAIT; they must not keep it from starting again.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    bound_unsent(&socket, unsent_bytes)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Keeps the system from taking megabytes for a peer that reads none of them. What a listening socket has, all that it
/// accepts inherit.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn bound_unsent(socket: &TcpSocket, unsent_bytes: u32) -> io::Result<()> {
    socket2::SockRef::from(socket).set_tcp_notsent_lowat(unsent_bytes)
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn bound_unsent(_: &TcpSocket, _: u32) -> io::Result<()> {
    Ok(())
}
