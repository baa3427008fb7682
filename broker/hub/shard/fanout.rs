//! The messages that one stream got in a turn on their way into the outboxes of its listeners. It writes to no socket.

use std::rc::Rc;

use slab::Slab;

use super::listeners::Listeners;
use super::sample_timers::SampleTimers;
use super::turn::Group;
use crate::hub::session::batch::Batch;
use crate::hub::session::outbox::Chunk;
use crate::hub::session::{ShardSession, Tools};
use crate::message::Wire;

/// One stream's messages and all who listen to it.
pub(in crate::hub) struct Fanout<'s, 't> {
    pub(in crate::hub) group: &'s Group,
    pub(in crate::hub) members: &'s mut Slab<ShardSession>,
    pub(in crate::hub) listeners: &'s Listeners,
    /// The sessions that have something to write, each once.
    pub(in crate::hub) dirty: &'s mut Vec<u32>,
    /// The batches of which messages may be taken back.
    pub(in crate::hub) batches: &'s mut Vec<Rc<Batch>>,
    pub(in crate::hub) tools: &'s mut Tools<'t>,
}

impl Fanout<'_, '_> {
    /// Gives every listener what it is to get. Gives how many messages were queued, and whether an alarm now rings before
    /// all others.
    pub(in crate::hub) fn give(&mut self, sample_timers: &mut SampleTimers) -> (usize, bool) {
        let queued = Wire::ALL.map(|wire| self.give_all(wire)).iter().sum();
        (queued, self.give_sampled(sample_timers))
    }

    /// Gives each listener of a codec the same bytes. Those whose socket is full and who may skip messages get what their
    /// policy says. Gives how many messages were queued.
    fn give_all(&mut self, wire: Wire) -> usize {
        let (plain, choosy) = (self.listeners.plain(wire), self.listeners.choosy(wire));
        if plain.is_empty() && choosy.is_empty() {
            return 0;
        }
        let mut keep_up = 0;
        for batch in self.group.batches(wire, !choosy.is_empty(), self.tools.metrics) {
            for slot in plain {
                let member = &mut self.members[*slot as usize];
                member.outbox.push_messages(Chunk::Batch(Rc::clone(&batch)));
                note(member, *slot, self.dirty);
            }
            keep_up = 0;
            for slot in choosy {
                let member = &mut self.members[*slot as usize];
                if member.full_since.is_none() {
                    member.outbox.push_messages(Chunk::Batch(Rc::clone(&batch)));
                    note(member, *slot, self.dirty);
                    keep_up += 1;
                }
            }
            if keep_up > 0 {
                self.batches.push(batch);
            }
        }
        if keep_up < choosy.len() {
            self.give_full(choosy);
        }
        self.group.messages.len() * (plain.len() + keep_up)
    }

    fn give_full(&mut self, slots: &[u32]) {
        for slot in slots {
            let member = &mut self.members[*slot as usize];
            if member.full_since.is_some() {
                member.keep(self.group.stream, &self.group.messages, self.tools);
                note(member, *slot, self.dirty);
            }
        }
    }

    /// Lets the sampled listeners take what they are due. Whether an alarm now rings before all others.
    fn give_sampled(&mut self, sample_timers: &mut SampleTimers) -> bool {
        let mut first = false;
        for slot in self.listeners.sampled() {
            let member = &mut self.members[*slot as usize];
            if let Some(at) = member.sample(self.group.stream, &self.group.messages, self.tools) {
                first |= sample_timers.set(at, *slot, self.group.stream);
            }
            note(member, *slot, self.dirty);
        }
        first
    }
}

/// Lists a session as one that has something to write.
pub(in crate::hub) fn note(member: &mut ShardSession, slot: u32, dirty: &mut Vec<u32>) {
    if !member.dirty {
        member.dirty = true;
        dirty.push(slot);
    }
}
