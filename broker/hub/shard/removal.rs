//! Removed messages: drops one where it still waits for a session, and reports that to all subscribers. It reads no store.

use crate::hub::session::push::What;
use crate::hub::{Push, Selectors, SessionKey, Shard, StreamId};
use crate::topic::Topic;

/// A message that was removed.
#[derive(Debug)]
pub(crate) struct RemovedMessage {
    pub(crate) stream: StreamId,
    pub(crate) topic: Topic,
    pub(crate) offset: u64,
    /// The patterns that select its topic.
    pub(crate) selectors: Option<Selectors>,
}

impl Shard {
    /// Reports to the subscribers of a topic, and of the patterns that select it, that a message was removed: behind every message
    /// that is on its way to them. One that still waits in a backlog, or for a replay, becomes a gap there.
    pub(super) fn remove(&self, removed: &RemovedMessage) {
        self.deliver();
        for key in self.concerned(removed) {
            // What the socket has not taken by then waits in a backlog, if its policy may skip it.
            self.flush_before(key, |session| session.lossy > 0);
            if let Some(session) = self.sessions.borrow_mut().get(key) {
                session.remove(removed.stream, &removed.topic, removed.offset);
                self.count(Some(session));
            }
            let what = What::Removed { topic: removed.topic.clone(), offset: removed.offset };
            self.push(key, Push { what, in_flight: None });
        }
    }

    /// The sessions that a removed message concerns, each once.
    fn concerned(&self, removed: &RemovedMessage) -> Vec<SessionKey> {
        let sessions = &mut *self.sessions.borrow_mut();
        let mut keys = sessions.subscribers(removed.stream);
        for selector in removed.selectors.iter().flat_map(|selectors| selectors.iter()) {
            keys.extend(sessions.subscribers(selector.stream));
        }
        keys.sort_unstable_by_key(|key| key.slot);
        keys.dedup();
        keys
    }
}
