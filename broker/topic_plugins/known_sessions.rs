//! The sessions that a plugin knows, by id, so that a hook's effects can reach them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::plugin::PluginRegistry;
use crate::request::caller::CallerSession;

/// Sessions by their ids.
#[derive(Debug, Default)]
pub(super) struct KnownSessions {
    known: Mutex<HashMap<Arc<str>, CallerSession>>,
}

impl KnownSessions {
    pub(super) fn add(&self, caller: &CallerSession) {
        self.open().insert(Arc::clone(&caller.member.session), caller.clone());
    }

    /// Adds a session that is not known yet.
    pub(super) fn add_new(&self, caller: &CallerSession) {
        self.open().entry(Arc::clone(&caller.member.session)).or_insert_with(|| caller.clone());
    }

    /// Replaces what is known of a session, if it is known.
    pub(super) fn update(&self, caller: &CallerSession) {
        if let Some(known) = self.open().get_mut(&caller.member.session) {
            *known = caller.clone();
        }
    }

    /// The session, if it is known.
    pub(super) fn get(&self, session: &str) -> Option<CallerSession> {
        self.open().get(session).cloned()
    }

    /// Forgets a session.
    pub(super) fn remove(&self, session: &str) {
        self.open().remove(session);
    }

    /// Forgets a session that has no place any more.
    pub(super) fn tidy(&self, session: &str, registry: &PluginRegistry) {
        if !registry.knows(session) {
            self.open().remove(session);
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Arc<str>, CallerSession>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
