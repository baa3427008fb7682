//! Reads a topic's past for one session, page by page, until that has caught up with the topic's order. It decides nothing: the
//! session's shard requests each page, and gets it as a command.

use std::sync::Arc;

use rialto_protocol::{Gap, GapReason};

use super::TopicEntry;
use crate::clock::Clock;
use crate::engine::View;
use crate::hub::{Hub, LIVE_MESSAGES_MAX, NextPage, Page, Replay, SessionKey};
use crate::message::SharedMessage;
use crate::store::{self, ReadResult, ReadTicket, Reading};

/// What a session is sent of the past at once. The next page follows when its socket has taken this one.
pub(crate) const PAGE: store::Page = store::Page { messages: 300, bytes: 64 * 1024 };

/// A session on its way through a topic's past. It is counted in the topic's audience meanwhile, which keeps the topic's order
/// from ending.
pub(crate) struct ReplayReader {
    hub: Hub,
    clock: Clock,
    entry: Arc<TopicEntry>,
    session: SessionKey,
    id: u64,
    /// The last offset that was sent to it, or reported as missing.
    after: u64,
    gap: Option<(u64, u64, GapReason)>,
}

/// A page that the store is still reading.
struct PendingPage {
    ticket: ReadTicket,
    reader: ReplayReader,
    /// Where the topic stood when the read was begun.
    visible: u64,
    join: Join,
}

/// How a session gets from the page that reaches the topic's end to live messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    /// At once: the topic's order stands still while the page is sent.
    Now,
    /// Behind what its shard holds for it since the page was requested.
    Held,
    /// With another page.
    Later,
}

impl ReplayReader {
    /// Begins after an offset.
    pub(crate) fn new(
        hub: &Hub,
        clock: Clock,
        entry: &Arc<TopicEntry>,
        session: SessionKey,
        after: u64,
        gap: Option<(u64, u64, GapReason)>,
    ) -> Self {
        let (hub, entry, id) = (hub.clone(), Arc::clone(entry), hub.next_replay());
        Self { hub, clock, entry, session, id, after, gap }
    }

    /// The same as a value for the hub.
    pub(crate) fn into_replay(self) -> Replay {
        Replay { id: self.id, read: Box::new(move || self.read()) }
    }

    /// Reads a page and sends it to the shard, now or when the store has it.
    fn read(self) {
        let entry = Arc::clone(&self.entry);
        // The order of a topic ends only when the session has left it, and then nobody waits for the page.
        let Ok(Some(pending)) = entry.stream.join(|view| self.begin(view)) else { return };
        let PendingPage { ticket, reader, visible, join } = pending;
        ticket.then(move |result| reader.send(result, visible, join));
    }

    /// Begins to read a page while the topic's order stands still. A page that is there at once is sent.
    fn begin(self, view: &View<'_>) -> Option<PendingPage> {
        let visible = view.position().offset;
        if self.after >= visible {
            self.send(Ok(store::Past::default()), visible, Join::Now);
            return None;
        }
        match view.begin_read(store::Span::After(self.after), PAGE, self.clock.now()) {
            Reading::Complete(result) => {
                self.send(result, visible, Join::Now);
                None
            }
            Reading::Pending(ticket) => {
                // Only a page that may be the last one is worth holding live messages for.
                let join = if visible - self.after <= LIVE_MESSAGES_MAX as u64 { Join::Held } else { Join::Later };
                if join == Join::Held {
                    self.hub.hold_live(self.session, self.id);
                }
                Some(PendingPage { ticket, reader: self, visible, join })
            }
        }
    }

    /// Sends a page that was read up to the offset `visible`, or the end of the subscription where it cannot be read.
    fn send(mut self, result: ReadResult, visible: u64, join: Join) {
        let (hub, session, id) = (self.hub.clone(), self.session, self.id);
        let past = match result {
            Ok(past) => past,
            Err(error) => {
                let next = NextPage::End(error.to_failure());
                return hub.page(session, id, Page { gap: None, messages: Vec::new(), next });
            }
        };
        let gap = self.gap_before(&past, visible);
        self.after = past.messages.last().map_or(visible, |last| last.offset);
        // What the session published itself without wanting an echo is no gap for it.
        let is_wanted = |message: &SharedMessage| message.except != Some(session);
        let messages = past.messages.into_iter().filter(is_wanted).collect();
        let next = match join {
            Join::Now if !past.more => NextPage::Live,
            Join::Held if !past.more => NextPage::Held(Box::new(move || self.read())),
            _ => NextPage::Read(Box::new(move || self.read())),
        };
        hub.page(session, id, Page { gap, messages, next });
    }

    /// What is missing before a page: what was missing from the start, and what was given up since the last page.
    fn gap_before(&mut self, past: &store::Past, visible: u64) -> Option<Gap> {
        let before = past.first.unwrap_or(visible + 1) - 1;
        let given_up = (before > self.after && self.after < visible).then(|| before.min(visible));
        let (from, to, reason) = match (self.gap.take(), given_up) {
            (Some((from, _, reason)), Some(to)) => (from, to, reason),
            (None, Some(to)) => (self.after + 1, to, GapReason::Expired),
            (known, None) => known?,
        };
        Some(Gap { topic: self.entry.stream.topic().as_str().into(), from, to, reason })
    }
}
