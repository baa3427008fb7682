//! The byte stream under a session, written by its shard and read by its task through shared references. It knows no
//! frames.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A byte stream in both directions, as an embedding program may bring one.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// One connection.
pub(crate) enum Link {
    /// A socket of this process.
    Tcp(TcpStream),
    /// Any other stream.
    Other(RefCell<Box<dyn Duplex>>),
}

impl Link {
    /// Writes as much as the stream takes right now.
    pub(crate) fn write_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => match slices {
                [one] => stream.try_write(one),
                many => stream.try_write_vectored(many),
            },
            Self::Other(_) => match self.poll_write(&mut Context::from_waker(Waker::noop()), slices) {
                Poll::Ready(result) => result,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            },
        }
    }

    /// Writes as much as the stream takes, and wakes the caller when it takes more.
    pub(crate) fn poll_write(&self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => loop {
                ready!(stream.poll_write_ready(context))?;
                match stream.try_write_vectored(slices) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
            },
            Self::Other(stream) => {
                let mut stream = stream.borrow_mut();
                let written = ready!(Pin::new(&mut **stream).poll_write_vectored(context, slices))?;
                // A stream with a buffer of its own must not sit on the bytes. If it cannot flush now, it does so at
                // the next write or read.
                let _ = Pin::new(&mut **stream).poll_flush(context)?;
                Poll::Ready(Ok(written))
            }
        }
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
            Self::Other(stream) => Pin::new(&mut **stream.borrow_mut()).poll_read(context, buffer),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) async fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write),
            Self::Other(stream) => {
                std::future::poll_fn(|context| Pin::new(&mut **stream.borrow_mut()).poll_shutdown(context)).await
            }
        }
    }
}
