//! Who gets the messages of one group where that is not simply who is subscribed to their stream: the listeners of patterns
//! too, each session once, and apart those that wanted no echo of some. It delivers nothing.

use slab::Slab;

use super::listeners::{List, Listeners};
use crate::hub::session::ShardSession;
use crate::hub::{SessionKey, StreamId};

/// The memory for it is used again from group to group.
#[derive(Default)]
pub(in crate::hub) struct Recipients {
    /// Those that get all of the group.
    pub(in crate::hub) listeners: Listeners,
    /// Those that do not get what they published themselves.
    pub(in crate::hub) apart: Vec<(SessionKey, List)>,
    /// Even; what stands in [`ShardSession::mark`] of those that published some of the group, and one more in those listed.
    mark: u64,
}

impl Recipients {
    /// Lists each session once, as the first of `all` has it that has it. `spared` are sessions of this shard. Who is still being
    /// sent the past of the stream gets these messages in their place there.
    pub(in crate::hub) fn gather<'l>(
        &mut self,
        stream: StreamId,
        members: &mut Slab<ShardSession>,
        all: impl Iterator<Item = &'l Listeners>,
        spared: impl Iterator<Item = SessionKey>,
    ) {
        self.listeners.clear();
        self.apart.clear();
        self.mark += 2;
        let (spare, listed) = (self.mark, self.mark + 1);
        let mut shard = 0;
        for key in spared {
            shard = key.shard;
            if let Some(member) = members.get_mut(key.slot as usize).filter(|member| member.serial == key.serial) {
                member.mark = spare;
            }
        }
        for (slot, list) in all.flat_map(Listeners::iter) {
            let member = &mut members[slot as usize];
            if member.is_replaying(stream) {
                continue;
            }
            if member.mark == spare {
                self.apart.push((SessionKey { shard, slot, serial: member.serial }, list));
            } else if member.mark != listed {
                self.listeners.list_mut(list).push(slot);
            }
            member.mark = listed;
        }
    }
}
