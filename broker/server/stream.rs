//! A connection while HTTP is spoken on it, encrypted or not, and its way from there to a shard. It knows no requests.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rialto_protocol::Codec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

use super::websocket;
use crate::broker::Broker;

/// One connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    /// In a box, because it is far larger than the other.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// How the origin of a page begins that came over such a connection.
    pub(super) fn own_scheme(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "http://",
            #[cfg(feature = "tls")]
            Self::Tls(_) => "https://",
        }
    }

    /// Makes a session of it, on a shard; `first` was read from it already.
    pub(super) fn start_session(self, broker: &Broker, first: Box<[u8]>, codec: Codec) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => websocket::start_tcp(broker, stream.into_std()?, first, codec),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => {
                let (stream, connection) = stream.into_inner();
                websocket::start_tls(broker, stream.into_std()?, connection, first, codec);
            }
        }
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, to),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_read(context, to),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
