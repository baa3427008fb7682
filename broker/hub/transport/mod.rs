//! The byte stream under a session, written by its shard and read by its task through shared references. It knows no
//! frames.

pub(super) mod rewritten;
#[cfg(feature = "tls")]
pub(super) mod tls;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use self::rewritten::{Rewriter, Rewritten};
#[cfg(feature = "tls")]
use self::tls::Tls;

/// `MSG_NOSIGNAL`: writing to a closed connection is an error and raises no signal, however the program handles signals. On
/// other systems the standard library sees to that.
const NO_SIGNAL: i32 = if cfg!(any(target_os = "android", target_os = "linux")) { 0x4000 } else { 0 };

/// A byte stream in both directions, as an embedding program may supply one.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// One connection.
pub(crate) enum Link {
    /// A socket of this process.
    Tcp(TcpStream),
    /// A socket of this process, encrypted. Boxed, because it is far larger than the others.
    #[cfg(feature = "tls")]
    Tls(Box<Tls>),
    /// Another connection, which is written in another form. Boxed for its size too.
    Rewritten(Box<Rewritten>),
    /// Any other stream. It may have a buffer of its own.
    Other(Other),
}

/// A stream that an embedding program supplied.
pub(crate) struct Other {
    stream: RefCell<Box<dyn Duplex>>,
    /// Whether the stream may have buffered bytes that it has to flush.
    unflushed: Cell<bool>,
}

impl Link {
    /// A link over a socket on which TLS is spoken.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(socket: TcpStream, connection: rustls::ServerConnection) -> Self {
        Self::Tls(Box::new(Tls::new(socket, connection)))
    }

    /// A link that is written in another form.
    pub(crate) fn rewritten(self, rewriter: Box<dyn Rewriter>) -> Self {
        Self::Rewritten(Box::new(Rewritten::new(self, rewriter)))
    }

    /// A link over a stream that an embedding program supplied.
    pub(crate) fn other(stream: Box<dyn Duplex>) -> Self {
        Self::Other(Other { stream: RefCell::new(stream), unflushed: Cell::new(false) })
    }

    /// Writes as much as the stream takes right now.
    pub(crate) fn write_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => send_now(stream, slices),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.write_now(slices),
            Self::Rewritten(rewritten) => rewritten.write_now(slices),
            Self::Other(_) => match self.poll_write(&mut Context::from_waker(Waker::noop()), slices) {
                Poll::Ready(result) => result,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            },
        }
    }

    /// Writes as much as the stream takes, and wakes the caller when it is writable again.
    pub(crate) fn poll_write(&self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => loop {
                ready!(stream.poll_write_ready(context))?;
                match stream.try_write_vectored(slices) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
            },
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.poll_write(context, slices),
            Self::Rewritten(rewritten) => rewritten.poll_write(context, slices),
            Self::Other(other) => {
                let written = ready!(Pin::new(&mut **other.stream.borrow_mut()).poll_write_vectored(context, slices))?;
                other.unflushed.set(true);
                Poll::Ready(Ok(written))
            }
        }
    }

    /// Flushes the stream's own buffer, and wakes the caller when it can go on.
    pub(crate) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.poll_flush(context),
            Self::Rewritten(rewritten) => rewritten.poll_flush(context),
            Self::Other(other) => {
                if other.unflushed.get() {
                    ready!(Pin::new(&mut **other.stream.borrow_mut()).poll_flush(context))?;
                    other.unflushed.set(false);
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Whether [`Link::poll_flush`] is done at once.
    pub(crate) fn flush_now(&self) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.flush_now(),
            Self::Rewritten(rewritten) => rewritten.flush_now(),
            Self::Other(_) => self.poll_flush(&mut Context::from_waker(Waker::noop())),
        }
    }

    /// Whether bytes have gone out since the last call, for streams whose buffer accepts far more than goes out.
    pub(crate) fn moved(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.moved(),
            Self::Rewritten(rewritten) => rewritten.moved(),
            Self::Tcp(_) | Self::Other(_) => false,
        }
    }

    /// Whether what is written in another form has begun.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self, Self::Rewritten(rewritten) if !rewritten.has_begun())
    }

    /// Whether nothing follows what has been written, because the connection has said its last.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Rewritten(rewritten) if rewritten.is_over())
    }

    /// Reads what is there, and wakes the caller when there is more.
    pub(crate) fn poll_read(&self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => loop {
                ready!(stream.poll_read_ready(context))?;
                match stream.try_read_buf(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result.map(|_| ())),
                }
            },
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.poll_read(context, buffer),
            Self::Rewritten(rewritten) => rewritten.link().poll_read(context, buffer),
            Self::Other(other) => Pin::new(&mut **other.stream.borrow_mut()).poll_read(context, buffer),
        }
    }

    /// Shuts down the writing side.
    pub(crate) async fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream).shutdown(std::net::Shutdown::Write),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.shutdown().await,
            Self::Rewritten(rewritten) => Box::pin(rewritten.link().shutdown()).await,
            Self::Other(other) => {
                poll_fn(|context| Pin::new(&mut **other.stream.borrow_mut()).poll_shutdown(context)).await
            }
        }
    }
}

/// Sends without the runtime, whose check of the socket's readiness costs more than the call itself.
#[inline]
pub(super) fn send_now(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    match slices {
        [one] => SockRef::from(stream).send_with_flags(one, NO_SIGNAL),
        many => SockRef::from(stream).send_vectored_with_flags(many, NO_SIGNAL),
    }
}

/// For what does not poll: a socket that is not ready is reported as `WouldBlock`.
fn blocked_if_pending<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// The inverse of [`blocked_if_pending`].
fn pending_if_blocked<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}
