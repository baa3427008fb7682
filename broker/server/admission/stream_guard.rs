//! The byte stream of a connection that is not a session: what is read passes the head guard, and a write that makes no
//! progress times out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::head_guard::{HeadGuard, MalformedHeads};

/// A stream with the head guard and a write timeout.
pub(in crate::server) struct StreamGuard<S> {
    stream: S,
    malformed: Arc<MalformedHeads>,
    guard: HeadGuard,
    write: Duration,
    /// Fires when the peer has read nothing for too long; none while writes make progress.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> StreamGuard<S> {
    pub(in crate::server) fn new(stream: S, malformed: Arc<MalformedHeads>, write: Duration) -> Self {
        Self { stream, malformed, guard: HeadGuard::default(), write, stalled: None }
    }

    pub(in crate::server) fn into_inner(self) -> S {
        self.stream
    }

    /// Returns the outcome of a write, or an error if writes have made no progress for too long.
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
        let Self { stream, malformed, guard, .. } = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(stream).poll_read(context, buffer))?;
        guard.follow(&buffer.filled()[before..], malformed);
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
    async fn a_write_times_out_only_when_it_makes_no_progress() {
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
        let error = stream_guard.write_all(&[1; 60]).await.expect_err("the peer does not read");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
