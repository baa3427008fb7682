//! Where the outcome of a request with an idempotency key is remembered: with its topic, or with the plugin that was asked.
//! It keeps nothing itself.

use std::sync::Arc;

use super::Entry;
use crate::clock::Now;
use crate::engine::{Keyed, Known};
use crate::store::{Come, KeptKey, Remembered, Scope, Store};

/// How long the keys of calls are remembered that name no topic: as long as those of a topic whose rule does not say.
const KEYS_MS: u64 = 120_000;

/// One request's key and where it belongs.
#[derive(Clone, Debug)]
pub(crate) struct Reminder {
    pub(crate) keyed: Keyed,
    pub(crate) place: Place,
}

/// What a key is unique in.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Topic(Arc<Entry>),
    Plugin { name: Arc<str>, store: Arc<dyn Store>, keys_max: usize },
}

impl Reminder {
    /// What is known of the key.
    pub(crate) fn recall(&self, now: Now) -> Known {
        match &self.place {
            Place::Topic(entry) => entry.stream.recall(&self.keyed, now),
            Place::Plugin { name, store, .. } => {
                let scope = Scope::Plugin(Arc::clone(name));
                self.keyed.judge(store.recall(&scope, &self.keyed.key, now.monotonic_ms))
            }
        }
    }

    /// What is to be kept of what the request came to.
    pub(crate) fn kept(self, came_to: Come) -> KeptKey {
        let Self { keyed, place } = self;
        match place {
            Place::Topic(entry) => entry.stream.kept_key(keyed, came_to),
            Place::Plugin { name, keys_max, .. } => {
                let Keyed { key, digest } = keyed;
                let remembered = Remembered { digest, came_to };
                KeptKey { scope: Scope::Plugin(name), key, remembered, keys_ms: KEYS_MS, keys_max }
            }
        }
    }
}
