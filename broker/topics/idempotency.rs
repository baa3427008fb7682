//! The scope of an idempotency key: the topic of the request, or the plugin that is called. It stores nothing itself.

use std::sync::Arc;

use super::TopicEntry;
use crate::clock::Now;
use crate::engine::{KeyedRequest, Lookup};
use crate::store::{KeptKey, KeyRecord, Outcome, Scope, Store, StoreError};

/// How long the keys of calls without a topic are kept: the default of topic rules.
const KEYS_MS: u64 = 120_000;

/// The key of a request and its scope.
#[derive(Clone, Debug)]
pub(crate) struct ScopedKey {
    pub(crate) keyed: KeyedRequest,
    pub(crate) place: KeyHome,
}

/// The scope in which a key is unique.
#[derive(Clone, Debug)]
pub(crate) enum KeyHome {
    Topic(Arc<TopicEntry>),
    Plugin { name: Arc<str>, store: Arc<dyn Store> },
}

impl ScopedKey {
    /// The scope in which the key is unique.
    pub(crate) fn scope(&self) -> Scope {
        match &self.place {
            KeyHome::Topic(entry) => entry.stream.scope(),
            KeyHome::Plugin { name, .. } => Scope::Plugin(Arc::clone(name)),
        }
    }

    /// Looks the key up.
    ///
    /// # Errors
    /// When the store cannot read it.
    pub(crate) fn recall(&self, now: Now) -> Result<Lookup, StoreError> {
        match &self.place {
            KeyHome::Topic(entry) => entry.stream.recall(&self.keyed, now),
            KeyHome::Plugin { store, .. } => Ok(self.keyed.judge(store.recall(&self.scope(), &self.keyed.key, now)?)),
        }
    }

    /// The record of the request's outcome.
    pub(crate) fn kept(self, outcome: Outcome) -> KeptKey {
        let Self { keyed, place } = self;
        match place {
            KeyHome::Topic(entry) => entry.stream.kept_key(keyed, outcome),
            KeyHome::Plugin { name, .. } => {
                let KeyedRequest { key, digest, share } = keyed;
                let record = KeyRecord { digest, outcome };
                KeptKey { scope: Scope::Plugin(name), key, record, keys_ms: KEYS_MS, share }
            }
        }
    }
}
