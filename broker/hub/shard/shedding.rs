//! Load shedding: keeps all outboxes together within their budget, and closes slow consumers.

use std::collections::BinaryHeap;
use std::rc::Rc;

use rialto_protocol::CloseCode;

use super::Tally;
use super::liveness::closing;
use crate::hub::session::ShardSession;
use crate::hub::{Ending, Shard};

impl Shard {
    /// Closes the session of a slow consumer and drops its outbox.
    pub(in crate::hub) fn close_slow_consumer(&self, session: &mut ShardSession, text: &str) {
        session.outbox.drop_all();
        self.metrics.sessions_slow.add(1);
        session.signals.end(Ending::Closed(closing(CloseCode::Slow, text, Some(1_000))));
    }

    /// Counts the bytes held for a session, for [`Shard::update_budget`].
    pub(in crate::hub) fn count(&self, session: Option<&mut ShardSession>) {
        let Some(session) = session else { return };
        let (before, now) = (session.counted_bytes, session.held_bytes());
        if before == now {
            return;
        }
        session.counted_bytes = now;
        let Tally { grown, shrunk, largest, .. } = &self.tally;
        grown.set(grown.get() + now);
        shrunk.set(shrunk.get() + before);
        if now > largest.get() {
            largest.set(now);
            self.budget.set_largest(self.index, largest.get());
        }
    }

    /// Adds what was counted to the budget, and sheds if it is exceeded.
    pub(in crate::hub) fn update_budget(&self) {
        let (grown, shrunk) = (self.tally.grown.take(), self.tally.shrunk.take());
        if grown != shrunk {
            self.budget.count(grown, shrunk);
        }
        if grown > shrunk && self.budget.is_exceeded() {
            self.shed();
        }
    }

    /// Sheds the largest outboxes, here or on another shard, until the budget is kept: first backlogs, then whole sessions.
    fn shed(&self) {
        if !self.budget.is_largest_or_request(self.index) {
            return;
        }
        let sessions = &mut *self.sessions.borrow_mut();
        let held = |(slot, session): (u32, &mut ShardSession)| (session.shed_bytes(), slot);
        let mut largest: BinaryHeap<(usize, u32)> =
            sessions.iter_mut().map(held).filter(|(bytes, _)| *bytes > 0).collect();
        while self.budget.is_exceeded() {
            let (bytes, slot) = largest.pop().unwrap_or_default();
            self.tally.largest.set(bytes);
            self.budget.set_largest(self.index, bytes);
            if !self.budget.is_largest_or_request(self.index) || bytes == 0 {
                return;
            }
            let Some(session) = sessions.at(slot) else { continue };
            self.metrics.outboxes_shed.add(1);
            if session.shed_backlogs(&self.metrics) {
                // What is left may still be the largest.
                largest.push((session.shed_bytes(), slot));
            } else {
                self.close_slow_consumer(session, "all outboxes together are full and this session's was the largest");
                sessions.end_subscriptions(slot);
            }
            self.count(sessions.at(slot));
            let (grown, shrunk) = (self.tally.grown.take(), self.tally.shrunk.take());
            self.budget.count(grown, shrunk);
        }
    }

    /// Sheds at the request of other shards.
    pub(in crate::hub) async fn shed_on_request(self: Rc<Self>) {
        loop {
            self.budget.shed_requested(self.index).await;
            self.shed();
        }
    }
}
