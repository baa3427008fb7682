//! Fan-out: appends the messages of one stream to the outboxes of its recipients. It writes to no socket.

use std::rc::Rc;

use slab::Slab;

use super::listeners::Listeners;
use super::sample_timers::SampleTimers;
use super::turn::Group;
use crate::hub::session::batch::Batch;
use crate::hub::session::outbox::Chunk;
use crate::hub::session::{DeliveryContext, ShardSession};
use crate::message::Wire;

/// One stream's messages and their recipients.
pub(in crate::hub) struct Fanout<'s, 't> {
    pub(in crate::hub) group: &'s Group,
    pub(in crate::hub) slab: &'s mut Slab<ShardSession>,
    pub(in crate::hub) listeners: &'s Listeners,
    /// The sessions with something to write, each once.
    pub(in crate::hub) dirty: &'s mut Vec<u32>,
    /// The batches whose messages may be taken back into a backlog.
    pub(in crate::hub) batches: &'s mut Vec<Rc<Batch>>,
    pub(in crate::hub) context: &'s mut DeliveryContext<'t>,
}

impl Fanout<'_, '_> {
    /// Queues the messages for every recipient as its policy says. Returns how many were queued, and whether the
    /// shard's next sample is due earlier than before.
    pub(in crate::hub) fn deliver(&mut self, sample_timers: &mut SampleTimers) -> (usize, bool) {
        let queued = Wire::ALL.map(|wire| self.deliver_to_all(wire)).iter().sum();
        (queued, self.deliver_sampled(sample_timers))
    }

    /// Queues the same bytes for each recipient with this wire format; for those with a full socket and a policy that
    /// may skip messages, the policy decides. Returns how many messages were queued.
    fn deliver_to_all(&mut self, wire: Wire) -> usize {
        let (plain, lossy) = (self.listeners.plain(wire), self.listeners.lossy(wire));
        if plain.is_empty() && lossy.is_empty() {
            return 0;
        }
        let mut keep_up = 0;
        for batch in self.group.batches(wire, !lossy.is_empty(), self.context.metrics) {
            for slot in plain {
                let session = &mut self.slab[*slot as usize];
                session.outbox.push_messages(Chunk::Batch(Rc::clone(&batch)));
                mark_dirty(session, *slot, self.dirty);
            }
            keep_up = 0;
            for slot in lossy {
                let session = &mut self.slab[*slot as usize];
                if session.full_since.is_none() {
                    session.outbox.push_messages(Chunk::Batch(Rc::clone(&batch)));
                    mark_dirty(session, *slot, self.dirty);
                    keep_up += 1;
                }
            }
            if keep_up > 0 {
                self.batches.push(batch);
            }
        }
        if keep_up < lossy.len() {
            self.deliver_to_full(lossy);
        }
        self.group.messages.len() * (plain.len() + keep_up)
    }

    fn deliver_to_full(&mut self, slots: &[u32]) {
        for slot in slots {
            let session = &mut self.slab[*slot as usize];
            if session.full_since.is_some() {
                session.keep(self.group.stream, &self.group.messages, self.context);
                mark_dirty(session, *slot, self.dirty);
            }
        }
    }

    /// Adds the messages to the sampled subscriptions. Returns whether the shard's next sample is due earlier than before.
    fn deliver_sampled(&mut self, sample_timers: &mut SampleTimers) -> bool {
        let mut first = false;
        for slot in self.listeners.sampled() {
            let session = &mut self.slab[*slot as usize];
            if let Some(at) = session.sample(self.group.stream, &self.group.messages, self.context) {
                first |= sample_timers.set(at, *slot, self.group.stream);
            }
            mark_dirty(session, *slot, self.dirty);
        }
        first
    }
}

/// Lists a session as one with something to write.
pub(in crate::hub) fn mark_dirty(session: &mut ShardSession, slot: u32, dirty: &mut Vec<u32>) {
    if !session.dirty {
        session.dirty = true;
        dirty.push(slot);
    }
}
