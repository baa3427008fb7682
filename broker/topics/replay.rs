//! Reads a topic's past for one session, page by page, until that has caught up with the topic's order. It sends nothing
//! itself: the session's shard asks it for pages.

use std::sync::Arc;

use rialto_protocol::{Delivery, Gap, GapReason};

use super::TopicEntry;
use crate::clock::Clock;
use crate::engine::{Retired, View};
use crate::hub::{FieldPlace, Hub, Page, Replay, SessionKey, Subscription};
use crate::message::SharedMessage;
use crate::store;

/// What a session is sent of the past at once. The next page follows when its socket has taken this one.
pub(crate) const PAGE: store::Page = store::Page { messages: 300, bytes: 64 * 1024 };

/// A session on its way through a topic's past.
pub(crate) struct Reading {
    hub: Hub,
    clock: Clock,
    entry: Arc<TopicEntry>,
    session: SessionKey,
    id: u64,
    /// The last offset that it was sent, or told that it will not get.
    after: u64,
    gap: Option<(u64, u64, GapReason)>,
    delivery: Delivery,
    field: Option<FieldPlace>,
    /// Whether the session still counts in the topic's audience because of this. That keeps the topic's order from ending.
    is_counted: bool,
}

impl Reading {
    /// Begins after an offset. The session has been counted in the topic's audience.
    pub(crate) fn new(
        hub: &Hub,
        clock: Clock,
        entry: &Arc<TopicEntry>,
        session: SessionKey,
        after: u64,
        gap: Option<(u64, u64, GapReason)>,
        delivery: Delivery,
    ) -> Self {
        let (hub, entry, id) = (hub.clone(), Arc::clone(entry), hub.next_replay());
        Self { hub, clock, entry, session, id, after, gap, delivery, field: None, is_counted: true }
    }

    /// With what was reserved for its policy.
    pub(crate) fn reserving(mut self, field: Option<FieldPlace>) -> Self {
        self.field = field;
        self
    }

    /// The same as a value for the hub.
    pub(crate) fn into_replay(mut self) -> Replay {
        let (id, stream) = (self.id, self.entry.stream.id());
        Replay { id, stream, read: Box::new(move || self.page()) }
    }

    fn page(&mut self) -> Page {
        let entry = Arc::clone(&self.entry);
        match entry.stream.join(|view| self.read(view)) {
            Ok(page) => page,
            Err(Retired) => {
                // An order with an audience does not end.
                tracing::error!(topic = %entry.stream.topic(), "the topic was forgotten while somebody caught up with it");
                Page { is_last: true, ..Page::default() }
            }
        }
    }

    fn read(&mut self, view: &View<'_>) -> Page {
        let now = view.position().offset;
        // What cannot be read is a gap for the session: it is told, and goes on with live messages.
        let past = view.read(store::Span::After(self.after), PAGE, self.clock.now()).unwrap_or_else(|error| {
            tracing::error!(topic = %self.entry.stream.topic(), %error, "the past cannot be read");
            store::Past::default()
        });
        // What was given up since the last page is told.
        let before = past.first.unwrap_or(now + 1) - 1;
        let given_up = (before > self.after && self.after < now).then(|| before.min(now));
        let gap = match (self.gap.take(), given_up) {
            (Some((from, _, reason)), Some(to)) => Some((from, to, reason)),
            (None, Some(to)) => Some((self.after + 1, to, GapReason::Expired)),
            (told, None) => told,
        };
        let end = past.messages.last().map_or(now, |last| last.offset);
        self.after = end;
        let is_last = !past.more;
        if is_last {
            self.hand_over();
        }
        let topic = self.entry.stream.topic().as_str();
        let gap = gap.map(|(from, to, reason)| Gap { topic: topic.into(), from, to, reason });
        // What the session published itself without wanting an echo is no gap for it.
        let is_wanted = |message: &SharedMessage| message.except != Some(self.session);
        Page { gap, messages: past.messages.into_iter().filter(is_wanted).collect(), is_last }
    }

    /// Subscribes the session: to be done while the topic's order stands still.
    fn hand_over(&mut self) {
        self.is_counted = false;
        let subscription = Subscription {
            stream: self.entry.stream.id(),
            topic: self.entry.stream.topic().clone(),
            delivery: self.delivery.clone(),
            field: self.field.take(),
            audience: Arc::clone(self.entry.reach.audience()),
            replay: Some(self.id),
        };
        self.hub.subscribe(self.session, subscription);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.is_counted {
            self.entry.reach.audience().leave(self.session.shard());
        }
    }
}
