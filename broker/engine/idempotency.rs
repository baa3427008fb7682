//! A request that came with an idempotency key, and whether that is known. It remembers nothing itself.

use std::sync::Arc;

use crate::shares::Share;
use crate::store::{Digest, Key, KeyRecord, Outcome};

/// What tells a request from others.
#[derive(Clone, Debug)]
pub(crate) struct KeyedRequest {
    pub(crate) key: Key,
    pub(crate) digest: Digest,
    /// What remembering the key uses up; without one it is not remembered, and a request with a new key is refused.
    pub(crate) share: Option<Arc<Share>>,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// Nothing.
    No,
    /// The same request came to this.
    Same(Outcome),
    /// It was used for another request.
    Other,
}

impl KeyedRequest {
    /// Compares the request with what its key stands for.
    pub(crate) fn judge(&self, record: Option<KeyRecord>) -> Lookup {
        match record {
            None => Lookup::No,
            Some(KeyRecord { digest, outcome }) if digest == self.digest => Lookup::Same(outcome),
            Some(_) => Lookup::Other,
        }
    }
}
