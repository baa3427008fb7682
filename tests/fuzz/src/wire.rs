//! Both ends of a connection in memory: the broker's end is a stream that brings given bytes in given pieces, the far end
//! sees what the broker writes and says when nothing more comes. It understands no byte of it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::cut::{Cut, Piece};

/// Longer than anything takes that is going to happen at all, and shorter than the fuzzer's own patience.
const PATIENCE: Duration = Duration::from_secs(5);

/// The broker's end.
pub struct Near(Arc<Shared>);

/// The far end.
pub struct Far(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    coming: Vec<u8>,
    at: usize,
    pieces: Box<dyn FnMut() -> Piece + Send>,
    /// Nothing comes after `coming`.
    ended: bool,
    /// The broker has been told that there is nothing to read at the moment.
    waiting: bool,
    reader: Option<Waker>,
    written: Vec<u8>,
    /// The broker has hung up its sending side.
    shut: bool,
    /// The broker's end is dropped.
    gone: bool,
}

/// A connection on which these bytes come.
pub fn connection(coming: Vec<u8>, cut: Cut) -> (Near, Far) {
    let state = State {
        coming,
        at: 0,
        pieces: Box::new(cut.pieces()),
        ended: false,
        waiting: false,
        reader: None,
        written: Vec::new(),
        shut: false,
        gone: false,
    };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
    (Near(Arc::clone(&shared)), Far(shared))
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while it holds the state")
    }
}

impl Far {
    /// Waits until the broker has written enough, or has hung up.
    pub fn wait_for(&self, enough: impl Fn(&[u8]) -> bool) {
        self.wait("what the broker has to write", |state| enough(&state.written) || state.shut);
    }

    /// Whether the broker has taken all bytes and waits for more.
    pub fn is_waited_for(&self) -> bool {
        self.0.state().waiting
    }

    /// Says that nothing more comes.
    pub fn end(&self) {
        let mut state = self.0.state();
        state.ended = true;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Waits until the broker's end is dropped, and gives all that was written.
    pub fn into_written(self) -> Vec<u8> {
        self.wait("the end of the connection", |_| false);
        std::mem::take(&mut self.0.state().written)
    }

    fn wait(&self, what: &str, is_done: impl Fn(&State) -> bool) {
        let state = self.0.state();
        let waiting = |state: &mut State| !state.gone && !is_done(state);
        let (state, timeout) = self.0.changed.wait_timeout_while(state, PATIENCE, waiting).expect("as above");
        let written = state.written.escape_ascii().to_string();
        drop(state);
        assert!(!timeout.timed_out(), "{what} does not come; so far: {written}");
    }
}

impl AsyncRead for Near {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.state();
        if state.at == state.coming.len() {
            if state.ended || state.shut {
                return Poll::Ready(Ok(()));
            }
            state.reader = Some(context.waker().clone());
            state.waiting = true;
            self.0.changed.notify_all();
            return Poll::Pending;
        }
        match (state.pieces)() {
            Piece::Bytes(most) => {
                let size = most.min(to.remaining()).min(state.coming.len() - state.at);
                to.put_slice(&state.coming[state.at..state.at + size]);
                state.at += size;
                Poll::Ready(Ok(()))
            }
            Piece::Pause => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Near {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        assert!(!state.shut, "a write after the end: {}", bytes.escape_ascii());
        state.written.extend_from_slice(bytes);
        self.0.changed.notify_all();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.state().shut = true;
        self.0.changed.notify_all();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        self.0.state().gone = true;
        self.0.changed.notify_all();
    }
}
