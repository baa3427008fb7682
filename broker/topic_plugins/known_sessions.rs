//! The sessions that a plugin knows, so that it can be done to them what a hook wants. It asks nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::plugin::Books;
use crate::request::caller::Client;

/// Sessions by their ids.
#[derive(Debug, Default)]
pub(super) struct People {
    known: Mutex<HashMap<Arc<str>, Client>>,
}

impl People {
    pub(super) fn add(&self, client: &Client) {
        self.open().insert(Arc::clone(&client.member.session), client.clone());
    }

    /// The session, if it is known.
    pub(super) fn get(&self, session: &str) -> Option<Client> {
        self.open().get(session).cloned()
    }

    /// Forgets a session.
    pub(super) fn remove(&self, session: &str) {
        self.open().remove(session);
    }

    /// Forgets a session that has no place any more.
    pub(super) fn tidy(&self, session: &str, books: &Books) {
        if !books.knows(session) {
            self.open().remove(session);
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Arc<str>, Client>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
