//! Bytes at rest: what outlives a plugin's instance, a session and a topic's turn in memory. It orders nothing and wakes
//! nobody.

mod batch;
#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod failing;
mod key;
mod memory;

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

pub(crate) use self::batch::{Batch, KeptKey, KeptMessage, KeptTimer, Retention, Writes};
pub(crate) use self::key::{Digest, Key, KeyRecord, Outcome, Scope};
pub(crate) use self::memory::MemoryStore;

use crate::message::SharedMessage;
use crate::topic::Topic;

/// Where messages, state and idempotency keys are kept.
///
/// Of one topic, only who holds its order commits messages and keys, so that no two of its batches meet. Times are the
/// clock's monotonic milliseconds.
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// Keeps everything that is in a batch, or nothing of it.
    ///
    /// # Errors
    /// [`StoreError`], and nothing is kept.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;

    /// The value of a key in a namespace.
    fn get(&self, namespace: &str, key: &str) -> Option<Arc<[u8]>>;

    /// The first entry of a namespace from a key on, in byte order.
    fn next(&self, namespace: &str, from: Bound<&str>) -> Option<(String, Arc<[u8]>)>;

    /// How many bytes the keys and values of a namespace take.
    fn state_bytes(&self, namespace: &str) -> usize;

    /// All timers of a namespace and of those whose names begin with it and a `/`, with the namespace and the name of each.
    fn timers(&self, namespace: &str) -> Vec<(Arc<str>, String, KeptTimer)>;

    /// Where the kept order of a topic ends; none when nothing of it is kept.
    fn end(&self, topic: &Topic) -> Option<End>;

    /// Messages of a topic that are kept.
    fn read(&self, topic: &Topic, span: Span, page: Page, now_ms: u64) -> Past;

    /// What a request with this key came to, if that is still known.
    fn recall(&self, scope: &Scope, key: &Key, now_ms: u64) -> Option<KeyRecord>;

    /// Gives up what has become too old.
    fn forget_old(&self, now_ms: u64);
}

/// Something could not be kept. The text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store failed: {0}")]
#[cfg_attr(not(test), allow(dead_code, reason = "memory never fails; what writes to a disk does"))]
pub(crate) struct StoreError(pub(crate) String);

/// Where a topic's order ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) epoch: Arc<str>,
    /// The last offset that was given.
    pub(crate) last: u64,
}

/// Which messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// The oldest ones after this offset.
    After(u64),
    /// The newest ones before this offset.
    Before(u64),
}

/// How many messages: whatever of the two is reached first, and at least one where there is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) messages: usize,
    /// Bytes of payload.
    pub(crate) bytes: usize,
}

/// Some of a topic's messages, in their order.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// The first offset that is kept at all; none when no message is.
    pub(crate) first: Option<u64>,
    pub(crate) messages: Vec<SharedMessage>,
    /// Whether the span holds more that is kept.
    pub(crate) more: bool,
}
