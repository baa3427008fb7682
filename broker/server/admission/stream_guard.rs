//! The byte stream of a connection that is not a session: what is read passes the head guard, and a write that makes no
//! progress times out. A session that answers its request itself takes the stream over.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::head_guard::{HeadGuard, MalformedHeads};

/// Whether the stream of a connection is taken over, as the requests on it and the stream know it.
#[derive(Debug, Default)]
pub(in crate::server) struct Takeover {
    /// Whether the last write did not end, so that earlier responses are not written.
    is_blocked: AtomicBool,
    /// Whether what is written from now on is dropped: the response to a request whose session answers it.
    is_mute: AtomicBool,
}

/// How long earlier responses that the peer does not read are waited for at a time.
const BLOCKED_WAIT: Duration = Duration::from_millis(10);

impl Takeover {
    /// Waits until all earlier responses of the connection are written, and drops the next one.
    pub(in crate::server) async fn begin(&self) {
        // Whatever is to be written is written after each turn of the connection's requests.
        tokio::task::yield_now().await;
        while self.is_blocked.load(Relaxed) {
            tokio::time::sleep(BLOCKED_WAIT).await;
        }
        self.is_mute.store(true, Relaxed);
    }
}

/// A stream with the head guard and a write timeout.
pub(in crate::server) struct StreamGuard<S> {
    stream: S,
    malformed: Arc<MalformedHeads>,
    guard: HeadGuard,
    header: Duration,
    /// Fires when a head that has begun is not complete in time, or the first one has not begun.
    late: Option<Pin<Box<Sleep>>>,
    write: Duration,
    /// What is read after the last response, so that it is not lost to a reset.
    rest: Option<Rest>,
    /// Fires when the peer has read nothing for too long; none while writes make progress.
    stalled: Option<Pin<Box<Sleep>>>,
    takeover: Arc<Takeover>,
}

/// Bytes that the peer still sends when the server has said all: a request that was refused before its body was read, or
/// requests behind the last one that is answered. A socket that is closed with unread bytes is reset, and the peer would lose
/// responses that it has not read yet (RFC 9112 section 9.6).
struct Rest {
    left: usize,
    until: Pin<Box<Sleep>>,
}

/// The most of that, in bytes and time.
const REST_BYTES_MAX: usize = 16 * 1024 * 1024;
const REST_TIME: Duration = Duration::from_secs(2);

impl<S> StreamGuard<S> {
    pub(in crate::server) fn new(
        stream: S,
        malformed: Arc<MalformedHeads>,
        takeover: Arc<Takeover>,
        header: Duration,
        write: Duration,
    ) -> Self {
        let late = Some(Box::pin(tokio::time::sleep(header)));
        let guard = HeadGuard::default();
        Self { stream, malformed, guard, header, late, write, rest: None, stalled: None, takeover }
    }

    pub(in crate::server) fn into_inner(self) -> S {
        self.stream
    }

    /// Returns the outcome of a write, or an error if writes have made no progress for too long.
    fn progress<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.takeover.is_blocked.store(written.is_pending(), Relaxed);
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
        let Self { stream, malformed, guard, header, late, .. } = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(stream).poll_read(context, buffer) {
            Poll::Ready(read) => {
                read?;
                guard.follow(&buffer.filled()[before..], malformed);
                match (guard.is_in_head(), &late) {
                    (true, None) => *late = Some(Box::pin(tokio::time::sleep(*header))),
                    (false, Some(_)) => *late = None,
                    _ => {}
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => match late {
                Some(late) => {
                    ready!(late.as_mut().poll(context));
                    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                }
                None => Poll::Pending,
            },
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StreamGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.takeover.is_mute.load(Relaxed) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.progress(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.takeover.is_mute.load(Relaxed) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
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
        if self.rest.is_none() {
            let ended = Pin::new(&mut self.stream).poll_shutdown(context);
            ready!(self.progress(ended, context))?;
            let left = if self.guard.is_in_body() { REST_BYTES_MAX } else { 0 };
            self.rest = Some(Rest { left, until: Box::pin(tokio::time::sleep(REST_TIME)) });
        }
        self.poll_rest(context).map(Ok)
    }
}

impl<S: AsyncRead + Unpin> StreamGuard<S> {
    /// Reads what the peer still sends. Where nothing is expected and nothing is there, that is the end.
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(Rest { left, until }) = &mut self.rest else { return Poll::Ready(()) };
        let mut unread = [std::mem::MaybeUninit::uninit(); 8 * 1024];
        loop {
            let mut buffer = ReadBuf::uninit(&mut unread);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.guard.follow(buffer.filled(), &self.malformed);
                    // More than what was announced, up to the bound.
                    *left = match *left {
                        0 => REST_BYTES_MAX,
                        left => left,
                    }
                    .saturating_sub(buffer.filled().len());
                    if *left == 0 {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if *left == 0 => return Poll::Ready(()),
                Poll::Pending => return until.as_mut().poll(context),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_write_times_out_only_when_it_makes_no_progress() {
        let (near, mut far) = tokio::io::duplex(10);
        let second = Duration::from_secs(1);
        let mut stream_guard = StreamGuard::new(near, Arc::default(), Arc::default(), second, second);
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

    #[tokio::test]
    async fn what_is_written_before_a_takeover_arrives_and_nothing_after_it() {
        let (near, mut far) = tokio::io::duplex(10);
        let (takeover, second) = (Arc::new(Takeover::default()), Duration::from_secs(1));
        let mut stream_guard = StreamGuard::new(near, Arc::default(), Arc::clone(&takeover), second, second);
        let writing = async {
            stream_guard.write_all(b"0123456789abcdef").await.expect("taken");
            stream_guard
        };
        let taking = async {
            // Once the stream is full.
            tokio::task::yield_now().await;
            takeover.begin().await;
        };
        let reading = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert!(!takeover.is_mute.load(Relaxed), "six bytes are not written yet");
            let mut bytes = [0; 16];
            far.read_exact(&mut bytes).await.expect("all of them");
            (far, bytes)
        };
        let (mut stream_guard, (), (mut far, bytes)) = tokio::join!(writing, taking, reading);
        assert_eq!(&bytes, b"0123456789abcdef");
        stream_guard.write_all(b"dropped").await.expect("dropped");
        drop(stream_guard);
        assert_eq!(far.read(&mut [0; 16]).await.expect("the end"), 0);
    }
}
