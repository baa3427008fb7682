//! The reading side of a connection: waits without a buffer while it is idle, and tracks frame boundaries. It interprets no
//! payload.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use super::frame_headers::{BadHeader, FrameHeaders};
use crate::hub::{Link, Signals};

/// Bytes that are read before a frame reader exists: usually enough for one request.
const LEAD_BYTES: usize = 1024;

/// Waits for the first bytes of a burst; none when the peer is gone. No buffer is held meanwhile: each poll has its own on
/// the stack.
pub(in crate::server) fn lead(link: &Link) -> impl Future<Output = io::Result<Box<[u8]>>> {
    poll_fn(|context| {
        let mut lead = [0; LEAD_BYTES];
        let mut buffer = ReadBuf::new(&mut lead);
        ready!(link.poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().into()))
    })
}

/// The bytes of one burst, in order.
pub(in crate::server) struct Incoming<'c> {
    link: &'c Link,
    signals: &'c Signals,
    state: RefCell<ReadState>,
}

struct ReadState {
    /// Bytes that were read before.
    lead: Bytes,
    headers: FrameHeaders,
    bad: Option<BadHeader>,
    /// Whether a fragmented message is incomplete.
    message_open: bool,
}

impl<'c> Incoming<'c> {
    pub(in crate::server) fn new(link: &'c Link, signals: &'c Signals, lead: Box<[u8]>) -> Self {
        let (lead, headers, bad, message_open) = (lead.into(), FrameHeaders::default(), None, false);
        Self { link, signals, state: RefCell::new(ReadState { lead, headers, bad, message_open }) }
    }

    /// Notes whether a fragmented message is incomplete: the deadline is for the message, not for each fragment.
    pub(in crate::server) fn message_open(&self, open: bool) {
        self.state.borrow_mut().message_open = open;
        if !open {
            self.signals.frame_ended();
        }
    }

    /// Whether everything received so far is complete messages in `frames` frames: then nothing is left to handle.
    pub(in crate::server) fn is_done_after(&self, frames: u64) -> bool {
        let ReadState { lead, headers, bad, message_open } = &*self.state.borrow();
        let whole = !headers.is_inside() && headers.complete() == frames && !message_open;
        lead.is_empty() && bad.is_none() && whole
    }

    fn poll_bytes(&self, lead: &mut Bytes, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if lead.is_empty() {
            return self.link.poll_read(context, to);
        }
        let count = lead.len().min(to.remaining());
        to.put_slice(&lead[..count]);
        lead.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for &Incoming<'_> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.state.borrow_mut();
        if let Some(bad) = state.bad {
            return Poll::Ready(Err(io::Error::other(bad)));
        }
        let before = buffer.filled().len();
        let read = self.poll_bytes(&mut state.lead, context, buffer);
        if read.is_pending() && (state.headers.is_inside() || state.message_open) {
            self.signals.frame_begun();
        }
        ready!(read)?;
        self.signals.record_activity();
        if let Err(bad) = state.headers.follow(&buffer.filled()[before..]) {
            // The frames before the invalid one are still handled; then reading fails.
            buffer.set_filled(before + bad.good);
            state.bad = Some(bad);
            if bad.good == 0 {
                return Poll::Ready(Err(io::Error::other(bad)));
            }
        }
        Poll::Ready(Ok(()))
    }
}
