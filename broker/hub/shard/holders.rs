//! For which sessions a shard holds live messages of a stream, because they are still reading the last page of its past. It
//! knows sessions by their keys only, and may know some that no longer wait.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::hub::{SessionKey, StreamId};

/// So many entries are kept before the first look at which of them are outdated.
const PRUNE_MIN: usize = 64;

/// The sessions for which messages are held, by stream.
#[derive(Debug, Default)]
pub(in crate::hub) struct Holders {
    sessions: FxHashMap<StreamId, FxHashSet<SessionKey>>,
    entries: usize,
    prune_at: usize,
}

impl Holders {
    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Adds a session to those of a stream. Now and then drops those that are not `current`, so that there are at most about
    /// twice as many as that.
    pub(in crate::hub) fn add(
        &mut self,
        stream: StreamId,
        session: SessionKey,
        mut current: impl FnMut(StreamId, SessionKey) -> bool,
    ) {
        if self.entries >= self.prune_at.max(PRUNE_MIN) {
            let streams: Vec<StreamId> = self.sessions.keys().copied().collect();
            streams.into_iter().for_each(|stream| self.retain(stream, |session| current(stream, session)));
            self.prune_at = 2 * self.entries;
        }
        self.entries += usize::from(self.sessions.entry(stream).or_default().insert(session));
    }

    /// Looks at each session of a stream, and drops those for which `stays` is false.
    pub(in crate::hub) fn retain(&mut self, stream: StreamId, mut stays: impl FnMut(SessionKey) -> bool) {
        let Some(sessions) = self.sessions.get_mut(&stream) else { return };
        let before = sessions.len();
        sessions.retain(|session| stays(*session));
        self.entries -= before - sessions.len();
        if sessions.is_empty() {
            self.sessions.remove(&stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outdated_entries_do_not_pile_up() {
        let mut holders = Holders::default();
        for serial in 0..10_000 {
            let session = SessionKey { shard: 0, slot: 0, serial };
            holders.add(StreamId::topic(serial % 100), session, |_, other| other.serial + 10 > serial);
            assert!(holders.entries <= 2 * PRUNE_MIN, "{}", holders.entries);
        }
        let mut seen = 0;
        for stream in (0..100).map(StreamId::topic) {
            holders.retain(stream, |_| {
                seen += 1;
                false
            });
        }
        assert!(holders.is_empty() && holders.entries == 0 && seen > 0);
    }
}
