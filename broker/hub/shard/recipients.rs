//! Collects the recipients of one group of messages: subscribers of the topic and of patterns, each session once, and apart
//! the publishers that requested no echo. It delivers nothing.

use slab::Slab;

use super::listeners::{List, Listeners};
use crate::hub::session::ShardSession;
use crate::hub::{SessionKey, StreamId};

/// The recipients of one group. The memory is reused from group to group.
#[derive(Default)]
pub(in crate::hub) struct Recipients {
    /// The sessions that receive all of the group.
    pub(in crate::hub) listeners: Listeners,
    /// The sessions that do not receive what they published themselves.
    pub(in crate::hub) apart: Vec<(SessionKey, List)>,
    /// An even number. [`ShardSession::mark`] has this value for publishers without echo, and one more for listed sessions.
    mark: u64,
}

impl Recipients {
    /// Lists each session once, as in the first of `all` that contains it. `spared` are the publishers of this shard
    /// without echo. A session with a replay of the stream is left out: it receives these messages from the replay.
    pub(in crate::hub) fn gather<'l>(
        &mut self,
        stream: StreamId,
        slab: &mut Slab<ShardSession>,
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
            if let Some(session) = slab.get_mut(key.slot as usize).filter(|session| session.serial == key.serial) {
                session.mark = spare;
            }
        }
        for (slot, list) in all.flat_map(Listeners::iter) {
            let session = &mut slab[slot as usize];
            if session.is_replaying(stream) {
                continue;
            }
            if session.mark == spare {
                self.apart.push((SessionKey { shard, slot, serial: session.serial }, list));
            } else if session.mark != listed {
                self.listeners.list_mut(list).push(slot);
            }
            session.mark = listed;
        }
    }
}
