//! What a shard does about outboxes that grow too large: its part of the budget of all outboxes together.

use std::collections::BinaryHeap;
use std::rc::Rc;

use rialto_protocol::CloseCode;

use super::Tally;
use super::liveness::closing;
use crate::hub::session::ShardSession;
use crate::hub::{Ending, Shard};

impl Shard {
    /// Gives a session up that does not read.
    pub(in crate::hub) fn close_slow(&self, member: &mut ShardSession, text: &str) {
        member.outbox.drop_all();
        self.metrics.sessions_slow.add(1);
        member.signals.end(Ending::Closed(closing(CloseCode::Slow, text, Some(1_000))));
    }

    /// Counts what a session's outbox holds, to be told with [`Shard::tell_budget`].
    pub(in crate::hub) fn count(&self, member: Option<&mut ShardSession>) {
        let Some(member) = member else { return };
        let (before, now) = (member.counted_bytes, member.held_bytes());
        if before == now {
            return;
        }
        member.counted_bytes = now;
        let Tally { grown, shrunk, largest, .. } = &self.tally;
        grown.set(grown.get() + now);
        shrunk.set(shrunk.get() + before);
        if now > largest.get() {
            largest.set(now);
            self.budget.set_largest(self.index, largest.get());
        }
    }

    /// Tells what was counted, and sheds if all outboxes together have become too large.
    pub(in crate::hub) fn tell_budget(&self) {
        let (grown, shrunk) = (self.tally.grown.take(), self.tally.shrunk.take());
        if grown != shrunk {
            self.budget.count(grown, shrunk);
        }
        if grown > shrunk && self.budget.is_exceeded() {
            self.shed();
        }
    }

    /// Makes the largest outboxes give way, here or on another shard, until all together are small enough.
    fn shed(&self) {
        if !self.budget.is_largest_or_ask(self.index) {
            return;
        }
        let sessions = &mut *self.sessions.borrow_mut();
        let held = |(slot, member): (u32, &mut ShardSession)| (member.shed_bytes(), slot);
        let mut largest: BinaryHeap<(usize, u32)> =
            sessions.iter_mut().map(held).filter(|(bytes, _)| *bytes > 0).collect();
        while self.budget.is_exceeded() {
            let (bytes, slot) = largest.pop().unwrap_or_default();
            self.tally.largest.set(bytes);
            self.budget.set_largest(self.index, bytes);
            if !self.budget.is_largest_or_ask(self.index) || bytes == 0 {
                return;
            }
            let Some(member) = sessions.at(slot) else { continue };
            self.metrics.outboxes_shed.add(1);
            if member.give_way(&self.metrics) {
                // What is left of it may still be the largest.
                largest.push((member.shed_bytes(), slot));
            } else {
                self.close_slow(member, "all outboxes together are full and this session's was the largest");
                sessions.silence(slot);
            }
            self.count(sessions.at(slot));
            let (grown, shrunk) = (self.tally.grown.take(), self.tally.shrunk.take());
            self.budget.count(grown, shrunk);
        }
    }

    /// Sheds for other shards.
    pub(in crate::hub) async fn shed_when_asked(self: Rc<Self>) {
        loop {
            self.budget.asked(self.index).await;
            self.shed();
        }
    }
}
