//! Disconnects sessions by id or user. It walks all sessions of its shard, which is rare.

use std::sync::Arc;

use rialto_protocol::{Closing, Member};

use crate::hub::session::SessionName;
use crate::hub::{Ending, SessionKey, Shard};

/// How exact the times are at which sessions look at their tokens.
const TICK_MS: u64 = 100;

impl Shard {
    /// Sets the id and user by which the session is found.
    pub(crate) fn set_member(&self, session: SessionKey, member: &Member) {
        if let Some(known) = self.sessions.borrow_mut().get(session) {
            known.who = Some(SessionName { id: Arc::clone(&member.session), user: member.user.clone() });
        }
    }

    /// Has every session look at its permissions and its token again.
    pub(crate) fn recheck_all(&self) {
        for (_, session) in self.sessions.borrow_mut().iter_mut() {
            session.signals.request_recheck();
        }
    }

    /// Has a session look at its permissions and its token again.
    pub(crate) fn recheck(&self, session: SessionKey) {
        if let Some(known) = self.sessions.borrow_mut().get(session) {
            known.signals.request_recheck();
        }
    }

    /// Has a session look at its token in so many milliseconds; an earlier time that was set counts no more.
    pub(crate) fn recheck_after(&self, session: SessionKey, after_ms: u64) {
        if let Some(known) = self.sessions.borrow_mut().get(session) {
            known.signals.set_recheck_at(self.ticks().saturating_add(after_ms.div_ceil(TICK_MS)));
        }
    }

    /// The time of this shard in steps of [`TICK_MS`], from 1 on.
    pub(in crate::hub) fn ticks(&self) -> u64 {
        1 + u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX) / TICK_MS
    }

    /// Ends one session.
    pub(crate) fn end(&self, session: SessionKey, closing: &Closing) {
        if let Some(member) = self.sessions.borrow_mut().get(session) {
            member.signals.end(Ending::Closed(closing.clone()));
        }
    }

    /// Ends the sessions that match, by their id and their user. Returns how many.
    pub(crate) fn evict(&self, is_meant: impl Fn(&str, Option<&str>) -> bool, closing: &Closing) -> u64 {
        let mut sessions = self.sessions.borrow_mut();
        let mut evicted = 0;
        for (_, member) in sessions.iter_mut() {
            let is_found = member.who.as_ref().is_some_and(|name| is_meant(&name.id, name.user.as_deref()));
            if is_found && !member.signals.is_ending() {
                member.signals.end(Ending::Closed(closing.clone()));
                evicted += 1;
            }
        }
        evicted
    }
}
