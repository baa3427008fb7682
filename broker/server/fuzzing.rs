//! Entry points for `tests/fuzz` and `tests/autobahn`, compiled with the feature `fuzzing` only: their bytes take the same code
//! path as those of a real socket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use rialto_protocol::Codec;
use tokio::net::{TcpListener, TcpStream};

use super::http::stream::Stream;
use super::websocket::Input;
use super::websocket::assembler::Kind;
use super::websocket::handler::Handler;
use super::{Front, Listener, accept, connection, websocket};
use crate::broker::Broker;
use crate::config;
use crate::hub::{Duplex, Ending, Link, SessionKey, Shard};
use crate::limits::seats::SessionPermit;
use crate::message::Wire;
use crate::wire::websocket::websocket_message;

/// Serves HTTP over a stream, as the server does over a socket, until it ends or has become a session.
pub async fn serve_http(broker: &Broker, settings: &config::Server, stream: impl Duplex + 'static) {
    let front = Arc::new(Front::new(broker.clone(), settings));
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let waiting = front.connections.enter(&front.config(), here).expect("nothing is connected yet");
    connection::serve(Stream::Other(Box::new(stream)), here, waiting, front).await;
}

/// Echoes every message on a stream whose upgrade has been answered.
pub fn echo(broker: &Broker, stream: impl Duplex + 'static) {
    let stream: Box<dyn Duplex> = Box::new(stream);
    attach(broker, Box::default(), SessionPermit::default(), move || Ok(Link::other(stream)));
}

/// Serves an echo at an address for ever. Calls `listening` with the address that was bound.
///
/// # Errors
/// The operating system's error if the address cannot be bound.
pub async fn serve_echo(
    broker: &Broker,
    address: SocketAddr,
    listening: impl FnOnce(SocketAddr),
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    listening(listener.local_addr()?);
    let front = Front { echo: true, ..Front::new(broker.clone(), &config::Server::default()) };
    let listener = Listener { socket: listener, tls: None };
    accept::serve(vec![listener], None, Arc::new(front), std::future::pending()).await;
    Ok(())
}

/// Echoes every message on an upgraded connection.
pub(super) fn hand_over(broker: &Broker, stream: Stream, lead: Box<[u8]>, permit: SessionPermit) {
    match stream {
        Stream::Tcp(stream) => match stream.into_std() {
            Ok(stream) => attach(broker, lead, permit, move || TcpStream::from_std(stream).map(Link::Tcp)),
            Err(error) => tracing::warn!(%error, "a socket cannot be moved to its shard"),
        },
        #[cfg(feature = "tls")]
        Stream::Tls(_) => tracing::warn!("echoes speak no TLS"),
        Stream::Other(stream) => attach(broker, lead, permit, move || Ok(Link::other(stream))),
    }
}

fn attach(
    broker: &Broker,
    lead: Box<[u8]>,
    permit: SessionPermit,
    link: impl FnOnce() -> std::io::Result<Link> + Send + 'static,
) {
    let begin = |shard: &Rc<Shard>, key, _: &SessionPermit| Echo { shard: Rc::clone(shard), key };
    websocket::attach(broker, Input::Frames(lead), Wire::Frames(Codec::Json), permit, link, begin);
}

/// Sends each message back.
struct Echo {
    shard: Rc<Shard>,
    key: SessionKey,
}

impl Handler for Echo {
    fn on_message(&mut self, kind: Kind, message: &[u8]) -> Result<(), Ending> {
        self.shard.send(self.key, websocket_message(kind == Kind::Text, message));
        Ok(())
    }

    fn is_ready(&self) -> bool {
        true
    }

    async fn ready(&mut self) {}

    async fn recheck(&mut self) -> Result<(), Ending> {
        Ok(())
    }

    fn end_some(&mut self) -> bool {
        false
    }
}
