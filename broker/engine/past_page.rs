//! Pages of a topic's past: what of them is visible, and which messages they have besides tombstones. It orders nothing.

use std::sync::Arc;

use crate::clock::Now;
use crate::store::{Page, Past, ReadTicket, Reading, Span, Store};
use crate::topic::Topic;

/// Where pages are read from.
#[derive(Clone)]
pub(super) struct PastSource {
    pub(super) store: Arc<dyn Store>,
    pub(super) topic: Topic,
    /// The last offset that is visible.
    pub(super) visible: u64,
}

impl PastSource {
    /// Reads a page with its tombstones.
    pub(super) fn begin_read(&self, span: Span, page: Page, now: Now) -> Reading {
        let visible = self.visible;
        let span = match span {
            Span::Before(offset) => Span::Before(offset.min(visible.saturating_add(1))),
            after => after,
        };
        let reading = self.store.begin_read(&self.topic, span, page, now);
        reading.map(move |past| up_to(visible, past, span))
    }

    /// Reads a page of messages. Where tombstones fill a page it reads on, so that no page is empty that is followed by another.
    pub(super) fn begin_read_messages(self, mut span: Span, page: Page, now: Now) -> Reading {
        loop {
            match self.begin_read(span, page, now) {
                Reading::Complete(Ok(past)) => match span_behind(&past, span) {
                    Some(next) => span = next,
                    None => return Reading::Complete(Ok(without_tombstones(past))),
                },
                Reading::Complete(Err(error)) => return Reading::Complete(Err(error)),
                Reading::Pending(ticket) => return Reading::Pending(self.read_on(ticket, span, page, now)),
            }
        }
    }

    fn read_on(self, ticket: ReadTicket, span: Span, page: Page, now: Now) -> ReadTicket {
        let (changed, completer) = ReadTicket::new();
        ticket.then(move |result| match result {
            Ok(past) => match span_behind(&past, span) {
                Some(next) => self.begin_read_messages(next, page, now).then(|result| completer.complete(result)),
                None => completer.complete(Ok(without_tombstones(past))),
            },
            Err(error) => completer.complete(Err(error)),
        });
        changed
    }
}

/// Where to read on behind a page that is followed by another and has nothing but tombstones.
fn span_behind(past: &Past, span: Span) -> Option<Span> {
    if !past.more || past.messages.iter().any(|message| !message.is_tombstone()) {
        return None;
    }
    match span {
        Span::After(_) => past.messages.last().map(|last| Span::After(last.offset)),
        Span::Before(_) => past.messages.first().map(|first| Span::Before(first.offset)),
    }
}

fn without_tombstones(mut past: Past) -> Past {
    past.messages.retain(|message| !message.is_tombstone());
    past
}

/// What is visible of a page: what is kept may already be more.
fn up_to(visible: u64, mut past: Past, span: Span) -> Past {
    let seen = past.messages.partition_point(|message| message.offset <= visible);
    if seen < past.messages.len() || (past.more && past.messages.last().is_some_and(|last| last.offset == visible)) {
        past.messages.truncate(seen);
        past.more &= matches!(span, Span::Before(_));
    }
    past.first = past.first.filter(|first| *first <= visible);
    past
}
