//! The reading side of a connection: waits without a buffer while nothing comes in, and knows whether what came in is
//! whole frames. It interprets nothing.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use super::headers::{BadHeader, Headers};
use crate::hub::{Line, Link};

/// What a connection holds while it waits: enough for the first bytes of whatever comes.
const LEAD_BYTES: usize = 64;

/// The bytes of one connection, in order. All clones are the same.
#[derive(Clone)]
pub(super) struct Incoming(Rc<RefCell<State>>);

struct State {
    link: Rc<Link>,
    line: Rc<Line>,
    /// What came with the upgrade.
    first: Bytes,
    /// What came while nobody was reading.
    lead: [u8; LEAD_BYTES],
    lead_used: usize,
    lead_filled: usize,
    headers: Headers,
    bad: Option<BadHeader>,
    /// Whether a fragmented message has begun and not ended.
    message_open: bool,
}

impl Incoming {
    pub(super) fn new(link: Rc<Link>, first: Bytes, line: Rc<Line>) -> Self {
        Self(Rc::new(RefCell::new(State {
            link,
            line,
            first,
            lead: [0; LEAD_BYTES],
            lead_used: 0,
            lead_filled: 0,
            headers: Headers::default(),
            bad: None,
            message_open: false,
        })))
    }

    /// Waits until bytes are there. False means that the peer is gone.
    pub(super) async fn begins(&self) -> bool {
        poll_fn(|context| self.0.borrow_mut().poll_lead(context)).await.is_ok_and(|bytes| bytes > 0)
    }

    /// Says whether a fragmented message is under way: it has one deadline, not one for each fragment.
    pub(super) fn message_open(&self, open: bool) {
        let mut state = self.0.borrow_mut();
        state.message_open = open;
        if !open {
            state.line.quiet();
        }
    }

    /// Whether everything that came in was whole frames, and so many of them. Whoever has handled as many has nothing
    /// left to handle.
    pub(super) fn is_done_after(&self, frames: u64) -> bool {
        let state = self.0.borrow();
        let given_out = state.first.is_empty() && state.lead_used == state.lead_filled;
        given_out && state.bad.is_none() && !state.headers.is_inside() && state.headers.complete() == frames
    }
}

impl State {
    fn poll_lead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.first.is_empty() {
            return Poll::Ready(Ok(self.first.len()));
        }
        let mut buffer = ReadBuf::new(&mut self.lead);
        let read = self.link.poll_read(context, &mut buffer);
        let filled = buffer.filled().len();
        if read.is_pending() && self.message_open {
            self.line.inside();
        }
        ready!(read)?;
        (self.lead_used, self.lead_filled) = (0, filled);
        Poll::Ready(Ok(filled))
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let count = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first[..count]);
            self.first.advance(count);
        } else if self.lead_used < self.lead_filled {
            let lead = &self.lead[self.lead_used..self.lead_filled];
            let count = lead.len().min(buffer.remaining());
            buffer.put_slice(&lead[..count]);
            self.lead_used += count;
        } else {
            return self.link.poll_read(context, buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Incoming {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.borrow_mut();
        if let Some(bad) = state.bad {
            return Poll::Ready(Err(io::Error::other(bad)));
        }
        let before = buffer.filled().len();
        let read = state.poll_bytes(context, buffer);
        if read.is_pending() && (state.headers.is_inside() || state.message_open) {
            state.line.inside();
        }
        ready!(read)?;
        state.line.heard();
        if let Err(bad) = state.headers.follow(&buffer.filled()[before..]) {
            // The frames before the bad one are still handled; then reading fails.
            buffer.set_filled(before + bad.good);
            state.bad = Some(bad);
            if bad.good == 0 {
                return Poll::Ready(Err(io::Error::other(bad)));
            }
        }
        Poll::Ready(Ok(()))
    }
}
