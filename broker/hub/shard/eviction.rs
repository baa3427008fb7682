//! Disconnects sessions by id or user. It walks all sessions of its shard, which is rare.

use rialto_protocol::{Closing, Member};

use crate::hub::{Ending, SessionKey, Shard};

impl Shard {
    /// Sets the id and user by which the session is found.
    pub(crate) fn set_member(&self, session: SessionKey, member: &Member) {
        if let Some(known) = self.sessions.borrow_mut().get(session) {
            known.who = Some(member.clone());
        }
    }

    /// Ends one session.
    pub(crate) fn end(&self, session: SessionKey, closing: &Closing) {
        if let Some(member) = self.sessions.borrow_mut().get(session) {
            member.signals.end(Ending::Closed(closing.clone()));
        }
    }

    /// Ends the sessions that match. Returns how many.
    pub(crate) fn evict(&self, is_meant: impl Fn(&Member) -> bool, closing: &Closing) -> u64 {
        let mut sessions = self.sessions.borrow_mut();
        let mut evicted = 0;
        for (_, member) in sessions.iter_mut() {
            if member.who.as_ref().is_some_and(&is_meant) && !member.signals.is_ending() {
                member.signals.end(Ending::Closed(closing.clone()));
                evicted += 1;
            }
        }
        evicted
    }
}
