//! A TLS connection under a session: encrypts what the shard writes and buffers at most one record until the socket takes
//! it. It performs no handshake.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, BufRead as _, IoSlice, Read, Write};
use std::net::Shutdown;
use std::task::{Context, Poll};

use rustls::ServerConnection;
use socket2::SockRef;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::{blocked_if_pending, pending_if_blocked, send_now};

/// How much is encrypted ahead of the socket: one record. Delivery policies and the budget do not apply to it.
const ENCRYPTED_BYTES_MAX: usize = 16 * 1024;

/// A connection whose handshake is done.
pub(crate) struct Tls {
    socket: TcpStream,
    connection: RefCell<ServerConnection>,
    /// Whether the socket has taken bytes since the last call.
    moved: Cell<bool>,
}

impl Tls {
    pub(in crate::hub) fn new(socket: TcpStream, mut connection: ServerConnection) -> Self {
        connection.set_buffer_limit(Some(ENCRYPTED_BYTES_MAX));
        Self { socket, connection: RefCell::new(connection), moved: Cell::new(false) }
    }

    /// Writes as much as the socket takes right now, beginning with what is already encrypted.
    pub(in crate::hub) fn write_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(slices, |bytes| send_now(&self.socket, bytes))
    }

    /// The same, and wakes the caller when the socket is writable again.
    pub(in crate::hub) fn poll_write(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        pending_if_blocked(self.write(slices, |bytes| self.send(context, bytes)))
    }

    /// Whether all encrypted bytes are written.
    pub(in crate::hub) fn flush_now(&self) -> Poll<io::Result<()>> {
        let connection = &mut *self.connection.borrow_mut();
        pending_if_blocked(self.drain(connection, &mut |bytes| send_now(&self.socket, bytes)))
    }

    /// The same, and wakes the caller when the socket is writable again.
    pub(in crate::hub) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = &mut *self.connection.borrow_mut();
        pending_if_blocked(self.drain(connection, &mut |bytes| self.send(context, bytes)))
    }

    /// Whether the socket has taken bytes since the last call.
    pub(in crate::hub) fn moved(&self) -> bool {
        self.moved.take()
    }

    /// Reads what has arrived, and wakes the caller when there is more. Reads nothing at the end of the connection, if
    /// the peer has announced it.
    pub(in crate::hub) fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let connection = &mut *self.connection.borrow_mut();
        loop {
            match connection.reader().fill_buf() {
                Ok(plain) => {
                    let count = plain.len().min(buffer.remaining());
                    buffer.put_slice(&plain[..count]);
                    connection.reader().consume(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            match connection.read_tls(&mut Source(|bytes: &mut [u8]| self.receive(context, bytes))) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return pending_if_blocked(Err(error)),
            }
            let processed = connection.process_new_packets();
            // What TLS itself sends in response, usually an alert. If the socket is full, it follows with the next write.
            let _ = self.drain(connection, &mut |bytes| send_now(&self.socket, bytes));
            if let Err(error) = processed {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
    }

    /// Closes the writing side of TLS, so that the peer knows that nothing was truncated, and of TCP.
    pub(in crate::hub) async fn shutdown(&self) -> io::Result<()> {
        self.connection.borrow_mut().send_close_notify();
        poll_fn(|context| self.poll_flush(context)).await?;
        SockRef::from(&self.socket).shutdown(Shutdown::Write)
    }

    /// Encrypts nothing while earlier records are not written: the rest stays in the outbox, where delivery policies apply.
    fn write(
        &self,
        slices: &[IoSlice<'_>],
        mut send: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let connection = &mut *self.connection.borrow_mut();
        self.drain(connection, &mut send)?;
        let taken = connection.writer().write_vectored(slices)?;
        match self.drain(connection, &mut send) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Writes the encrypted bytes to the socket.
    fn drain(
        &self,
        connection: &mut ServerConnection,
        send: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while connection.wants_write() {
            match connection.write_tls(&mut Sink(&mut *send)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => self.moved.set(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn send(&self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            blocked_if_pending(self.socket.poll_write_ready(context))?;
            match self.socket.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    fn receive(&self, context: &mut Context<'_>, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            blocked_if_pending(self.socket.poll_read_ready(context))?;
            match self.socket.try_read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }
}

/// The writer for rustls.
struct Sink<F>(F);

impl<F: FnMut(&[IoSlice<'_>]) -> io::Result<usize>> Write for Sink<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (self.0)(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The reader for rustls.
struct Source<F>(F);

impl<F: FnMut(&mut [u8]) -> io::Result<usize>> Read for Source<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (self.0)(bytes)
    }
}
