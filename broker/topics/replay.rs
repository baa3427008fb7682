//! Reads a topic's past for one session, page by page, until that has caught up with the topic's order. It decides nothing: the
//! session's shard requests each page, and gets it as a command.

use std::sync::Arc;

use rialto_protocol::{Gap, GapReason};

use super::TopicEntry;
use crate::clock::Clock;
use crate::engine::View;
use crate::hub::{Hub, NextPage, Page, Replay, SessionKey};
use crate::message::SharedMessage;
use crate::store;

/// What a session is sent of the past at once. The next page follows when its socket has taken this one.
pub(crate) const PAGE: store::Page = store::Page { messages: 300, bytes: 64 * 1024 };

/// A session on its way through a topic's past. It is counted in the topic's audience meanwhile, which keeps the topic's order
/// from ending.
pub(crate) struct Reading {
    hub: Hub,
    clock: Clock,
    entry: Arc<TopicEntry>,
    session: SessionKey,
    id: u64,
    /// The last offset that was sent to it, or reported as missing.
    after: u64,
    gap: Option<(u64, u64, GapReason)>,
}

impl Reading {
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

    /// Reads a page and sends it to the shard.
    fn read(self) {
        let entry = Arc::clone(&self.entry);
        // The order of a topic ends only when the session has left it, and then nobody waits for the page.
        let _ = entry.stream.join(|view| self.send(view));
    }

    fn send(mut self, view: &View<'_>) {
        let now = view.position().offset;
        // What cannot be read is reported as a gap, and live messages follow it.
        let past = view.read(store::Span::After(self.after), PAGE, self.clock.now()).unwrap_or_else(|error| {
            tracing::error!(topic = %self.entry.stream.topic(), %error, "the past cannot be read");
            store::Past::default()
        });
        // What was given up since the last page is reported.
        let before = past.first.unwrap_or(now + 1) - 1;
        let given_up = (before > self.after && self.after < now).then(|| before.min(now));
        let gap = match (self.gap.take(), given_up) {
            (Some((from, _, reason)), Some(to)) => Some((from, to, reason)),
            (None, Some(to)) => Some((self.after + 1, to, GapReason::Expired)),
            (known, None) => known,
        };
        self.after = past.messages.last().map_or(now, |last| last.offset);
        let (hub, session, id) = (self.hub.clone(), self.session, self.id);
        let topic = self.entry.stream.topic().as_str();
        let gap = gap.map(|(from, to, reason)| Gap { topic: topic.into(), from, to, reason });
        // What the session published itself without wanting an echo is no gap for it.
        let is_wanted = |message: &SharedMessage| message.except != Some(session);
        let messages = past.messages.into_iter().filter(is_wanted).collect();
        let next = if past.more { NextPage::Read(Box::new(move || self.read())) } else { NextPage::Live };
        hub.page(session, id, Page { gap, messages, next });
    }
}
