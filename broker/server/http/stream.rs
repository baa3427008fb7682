//! The byte stream of an HTTP connection, encrypted or not. It knows no requests.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

#[cfg(feature = "fuzzing")]
use crate::hub::Duplex;

/// Bytes in both directions.
pub(in crate::server) enum Stream {
    /// Unencrypted.
    Tcp(TcpStream),
    /// Encrypted. In a box, because it is far larger than the other.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<TcpStream>>),
    /// Any stream, for fuzzing.
    #[cfg(feature = "fuzzing")]
    Other(Box<dyn Duplex>),
}

/// Runs the same expression on each kind of stream.
macro_rules! with {
    ($stream:expr, $inner:ident => $do:expr) => {
        match $stream.get_mut() {
            Stream::Tcp($inner) => $do,
            #[cfg(feature = "tls")]
            Stream::Tls($inner) => $do,
            #[cfg(feature = "fuzzing")]
            Stream::Other($inner) => $do,
        }
    };
}

impl Stream {
    /// Becomes a session's, whose pings notice a peer that is gone: one that is there and reads nothing for a while is not for
    /// the system to end.
    pub(in crate::server) fn outlive_silence(&self) {
        let tcp = match self {
            Self::Tcp(tcp) => tcp,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.get_ref().0,
            #[cfg(feature = "fuzzing")]
            Self::Other(_) => return,
        };
        // A connection that is gone meanwhile is noticed soon enough.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        let _ = socket2::SockRef::from(tcp).set_tcp_user_timeout(None);
        #[cfg(not(any(target_os = "android", target_os = "linux")))]
        let _ = tcp;
    }

    /// Whether the connection is encrypted.
    pub(in crate::server) fn is_secure(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(_) => true,
            #[cfg(feature = "fuzzing")]
            Self::Other(_) => false,
        }
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
