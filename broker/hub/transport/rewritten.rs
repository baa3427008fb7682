//! A connection whose bytes are written in another form than the session's. What the socket does not take of one write is
//! kept until it does. It knows neither form.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use super::{Link, blocked_if_pending, pending_if_blocked};

/// How much is rewritten ahead of the socket, in bytes, but for the end of a chunk. Delivery policies and the budget do not
/// apply to it.
const AHEAD_BYTES_MAX: usize = 16 * 1024;

/// The other form.
pub(crate) trait Rewriter: fmt::Debug {
    /// Appends what is written instead of `bytes`, which are the next of the session, cut anywhere.
    fn rewrite(&mut self, bytes: &[u8], written: &mut Vec<u8>);

    /// Whether anything is written yet.
    fn has_begun(&self) -> bool;

    /// Whether nothing follows: the connection ends as soon as everything is written.
    fn is_over(&self) -> bool;
}

/// A connection with a rewriter.
pub(crate) struct Rewritten {
    link: Link,
    rewriter: RefCell<Box<dyn Rewriter>>,
    /// What the socket has not taken yet, and how much of it it has.
    rest: RefCell<(Vec<u8>, usize)>,
    /// Whether the socket has taken bytes since the last call of [`Rewritten::moved`].
    moved: Cell<bool>,
}

thread_local! {
    /// What one write rewrites: all connections of a shard share it.
    static WRITTEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Rewritten {
    pub(in crate::hub) fn new(link: Link, rewriter: Box<dyn Rewriter>) -> Self {
        Self { link, rewriter: RefCell::new(rewriter), rest: RefCell::default(), moved: Cell::new(false) }
    }

    /// The connection itself.
    pub(in crate::hub) fn link(&self) -> &Link {
        &self.link
    }

    /// Whether anything is written yet.
    pub(in crate::hub) fn has_begun(&self) -> bool {
        self.rewriter.borrow().has_begun()
    }

    /// Whether nothing follows what has been written.
    pub(in crate::hub) fn is_over(&self) -> bool {
        self.rewriter.borrow().is_over()
    }

    /// Writes as much as the socket takes right now, beginning with what was kept.
    pub(in crate::hub) fn write_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(slices, &mut |bytes| self.link.write_now(bytes))
    }

    /// The same, and wakes the caller when the socket is writable again.
    pub(in crate::hub) fn poll_write(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        pending_if_blocked(self.write(slices, &mut |bytes| blocked_if_pending(self.link.poll_write(context, bytes))))
    }

    /// Whether everything is written. An error when that was the end.
    pub(in crate::hub) fn flush_now(&self) -> Poll<io::Result<()>> {
        self.flushed(self.drain(&mut |bytes| self.link.write_now(bytes)), || self.link.flush_now())
    }

    /// The same, and wakes the caller when the socket is writable again.
    pub(in crate::hub) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let drained = self.drain(&mut |bytes| blocked_if_pending(self.link.poll_write(context, bytes)));
        self.flushed(drained, || self.link.poll_flush(context))
    }

    /// Whether the socket has taken bytes since the last call.
    pub(in crate::hub) fn moved(&self) -> bool {
        self.moved.take() | self.link.moved()
    }

    fn flushed(&self, drained: io::Result<()>, flush: impl FnOnce() -> Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        match pending_if_blocked(drained) {
            Poll::Ready(Ok(())) => {}
            unfinished => return unfinished,
        }
        match flush() {
            Poll::Ready(Ok(())) if self.is_over() => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            flushed => flushed,
        }
    }

    /// Rewrites nothing while earlier bytes are not written: the rest stays in the outbox, where delivery policies apply.
    fn write(
        &self,
        slices: &[IoSlice<'_>],
        send: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.drain(send)?;
        WRITTEN.with_borrow_mut(|written| {
            let rewriter = &mut *self.rewriter.borrow_mut();
            let mut taken = 0;
            for slice in slices {
                if written.len() >= AHEAD_BYTES_MAX || rewriter.is_over() {
                    break;
                }
                rewriter.rewrite(slice, written);
                taken += slice.len();
            }
            if taken == 0 && rewriter.is_over() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let sent = self.send(written, send);
            if let Ok(sent) = &sent
                && *sent < written.len()
            {
                *self.rest.borrow_mut() = (written[*sent..].to_vec(), 0);
            }
            written.clear();
            written.shrink_to(AHEAD_BYTES_MAX);
            sent.map(|_| taken)
        })
    }

    /// Writes what was kept.
    fn drain(&self, send: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<()> {
        let mut rest = self.rest.borrow_mut();
        let (bytes, begun) = &mut *rest;
        *begun += self.send(&bytes[*begun..], send)?;
        if *begun < bytes.len() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        *rest = (Vec::new(), 0);
        Ok(())
    }

    /// Sends until the socket is full. Returns how much it has taken.
    fn send(&self, bytes: &[u8], send: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match send(&[IoSlice::new(&bytes[sent..])]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if sent > 0 {
            self.moved.set(true);
        }
        Ok(sent)
    }
}
