//! A request that came with an idempotency key, and whether that is known. It remembers nothing itself.

use crate::store::{Come, Digest, Key, Remembered};

/// What tells a request from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keyed {
    pub(crate) key: Key,
    pub(crate) digest: Digest,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing.
    No,
    /// The same request came to this.
    Same(Come),
    /// It was used for another request.
    Other,
}

impl Keyed {
    /// Compares the request with what its key stands for.
    pub(crate) fn judge(&self, remembered: Option<Remembered>) -> Known {
        match remembered {
            None => Known::No,
            Some(Remembered { digest, came_to }) if digest == self.digest => Known::Same(came_to),
            Some(_) => Known::Other,
        }
    }
}
