//! Where the outcome of a request with an idempotency key is remembered: with its topic, or with the plugin that was asked.
//! It keeps nothing itself.

use std::sync::Arc;

use super::TopicEntry;
use crate::clock::Now;
use crate::engine::{KeyedRequest, Lookup};
use crate::store::{KeptKey, KeyRecord, Outcome, Scope, Store, StoreError};

/// How long the keys of calls are remembered that name no topic: as long as those of a topic whose rule does not say.
const KEYS_MS: u64 = 120_000;

/// One request's key and where it belongs.
#[derive(Clone, Debug)]
pub(crate) struct ScopedKey {
    pub(crate) keyed: KeyedRequest,
    pub(crate) place: KeyHome,
}

/// What a key is unique in.
#[derive(Clone, Debug)]
pub(crate) enum KeyHome {
    Topic(Arc<TopicEntry>),
    Plugin { name: Arc<str>, store: Arc<dyn Store>, keys_max: usize },
}

impl ScopedKey {
    /// What the key is unique in.
    pub(crate) fn scope(&self) -> Scope {
        match &self.place {
            KeyHome::Topic(entry) => entry.stream.scope(),
            KeyHome::Plugin { name, .. } => Scope::Plugin(Arc::clone(name)),
        }
    }

    /// What is kept of the key.
    ///
    /// # Errors
    /// When the store cannot read it.
    pub(crate) fn recall(&self, now: Now) -> Result<Lookup, StoreError> {
        match &self.place {
            KeyHome::Topic(entry) => entry.stream.recall(&self.keyed, now),
            KeyHome::Plugin { store, .. } => Ok(self.keyed.judge(store.recall(&self.scope(), &self.keyed.key, now)?)),
        }
    }

    /// What is to be kept of what the request came to.
    pub(crate) fn kept(self, outcome: Outcome) -> KeptKey {
        let Self { keyed, place } = self;
        match place {
            KeyHome::Topic(entry) => entry.stream.kept_key(keyed, outcome),
            KeyHome::Plugin { name, keys_max, .. } => {
                let KeyedRequest { key, digest } = keyed;
                let record = KeyRecord { digest, outcome };
                KeptKey { scope: Scope::Plugin(name), key, record, keys_ms: KEYS_MS, keys_max }
            }
        }
    }
}
