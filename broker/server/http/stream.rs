//! The byte stream of an HTTP connection, encrypted or not, and its move to a shard. It knows no requests.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

use crate::broker::Broker;
#[cfg(fuzzing)]
use crate::hub::Duplex;
use crate::limits::seats::SessionPermit;
use crate::server::websocket;
use crate::server::websocket::Protocol;

/// Bytes in both directions.
pub(in crate::server) enum Stream {
    /// Unencrypted.
    Tcp(TcpStream),
    /// Encrypted. In a box, because it is far larger than the other.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<TcpStream>>),
    /// Any stream, for fuzzing.
    #[cfg(fuzzing)]
    Other(Box<dyn Duplex>),
}

/// Runs the same expression on each kind of stream.
macro_rules! with {
    ($stream:expr, $inner:ident => $do:expr) => {
        match $stream.get_mut() {
            Stream::Tcp($inner) => $do,
            #[cfg(feature = "tls")]
            Stream::Tls($inner) => $do,
            #[cfg(fuzzing)]
            Stream::Other($inner) => $do,
        }
    };
}

impl Stream {
    /// Whether the connection is encrypted.
    pub(in crate::server) fn is_secure(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(_) => true,
            #[cfg(fuzzing)]
            Self::Other(_) => false,
        }
    }

    /// Starts a session on a shard; `first` are bytes that were read already.
    pub(in crate::server) fn start_session(
        self,
        broker: &Broker,
        first: Box<[u8]>,
        protocol: Protocol,
        permit: SessionPermit,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => websocket::start_tcp(broker, stream.into_std()?, first, protocol, permit),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => {
                let (stream, connection) = stream.into_inner();
                websocket::start_tls(broker, stream.into_std()?, connection, first, protocol, permit);
            }
            #[cfg(fuzzing)]
            Self::Other(stream) => match protocol {
                Protocol::Frames(codec) => websocket::start_other(broker, stream, first, codec, permit),
                Protocol::Raw(_) => {}
            },
        }
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        with!(self, inner => Pin::new(inner).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        with!(self, inner => Pin::new(inner).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with!(self, inner => Pin::new(inner).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(self, inner => Pin::new(inner).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(self, inner => Pin::new(inner).poll_shutdown(context))
    }
}
