//! The byte stream of a connection that is not a session: what is read is watched, and a write must make progress. It knows
//! nothing of HTTP but its lines.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::head_guard::{HeadGuard, Heads};

/// A stream with a guard.
pub(in crate::server) struct StreamGuard<S> {
    stream: S,
    heads: Arc<Heads>,
    watch: HeadGuard,
    write: Duration,
    /// Runs out when the peer has taken nothing for too long; none while it takes what it is given.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> StreamGuard<S> {
    pub(in crate::server) fn new(stream: S, heads: Arc<Heads>, write: Duration) -> Self {
        Self { stream, heads, watch: HeadGuard::default(), write, stalled: None }
    }

    pub(in crate::server) fn into_inner(self) -> S {
        self.stream
    }

    /// Passes on what became of a write, and ends the wait for one that took too long.
    fn progress<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let deadline = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.write)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StreamGuard<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, heads, watch, .. } = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(stream).poll_read(context, buffer))?;
        watch.follow(&buffer.filled()[before..], heads);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StreamGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.progress(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.progress(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.progress(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        self.progress(ended, context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_write_that_makes_no_progress_fails_and_one_that_does_has_all_the_time_it_needs() {
        let (near, mut far) = tokio::io::duplex(10);
        let mut stream_guard = StreamGuard::new(near, Arc::default(), Duration::from_secs(1));
        let reading = async {
            let mut taken = [0; 10];
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(300)).await;
                far.read_exact(&mut taken).await.expect("ten bytes more");
            }
            far
        };
        let (written, _far) = tokio::join!(stream_guard.write_all(&[1; 60]), reading);
        written.expect("each part is taken in time, all of them in more than that");
        let error = stream_guard.write_all(&[1; 60]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
