//! Bytes at rest: what outlives a plugin's instance, a session and a topic's turn in memory. It orders nothing and wakes
//! nobody.

mod account;
mod batch;
#[cfg(test)]
pub(crate) mod conformance;
mod error;
#[cfg(test)]
pub(crate) mod failing;
mod key;
mod log;
mod memory;
#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod model_random;
#[cfg(test)]
pub(crate) mod model_reads;
mod reading;

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

pub(crate) use self::account::Account;
pub(crate) use self::batch::{Batch, KeptKey, KeptMessage, KeptTimer, Removal, Retention, Writes};
pub(crate) use self::error::StoreError;
pub(crate) use self::key::{Digest, Key, KeyOwner, KeyRecord, Outcome, Scope};
pub(crate) use self::log::{Begun, Log, Ticket};
pub(crate) use self::memory::MemoryStore;
pub(crate) use self::reading::{ReadResult, ReadTicket, Reading};

use crate::clock::Now;
use crate::message::SharedMessage;
use crate::topic::Topic;

/// Where messages, state and idempotency keys are kept.
///
/// Of one topic, only the holder of its order commits messages and keys, so that no two of its batches meet. Each time comes on
/// both clocks: a store whose contents outlive the process counts ages by the time of day, one that lives in memory by the
/// monotonic clock, which no change of the time of day moves.
///
/// Every read may fail with [`StoreError`]; an empty result means that nothing is kept.
pub(crate) trait Store: Log + fmt::Debug + Send + Sync {
    /// The value of a key in a namespace.
    fn get(&self, namespace: &str, key: &str) -> Result<Option<Arc<[u8]>>, StoreError>;

    /// The first entry of a namespace from a key on, in byte order.
    fn next(&self, namespace: &str, from: Bound<&str>) -> Result<Option<StateEntry>, StoreError>;

    /// How many bytes the keys and values of a namespace take.
    fn state_bytes(&self, namespace: &str) -> Result<usize, StoreError>;

    /// All timers of a namespace and of those whose names begin with it and a `/`.
    fn timers(&self, namespace: &str) -> Result<Vec<NamedTimer>, StoreError>;

    /// Where the kept order of a topic ends; none when nothing of it is kept.
    fn end(&self, topic: &Topic) -> Result<Option<End>, StoreError>;

    /// Begins to read messages of a topic that are kept. It does not wait for a disk, so it may be called under a topic's lock
    /// and on a shard's thread; a read that takes time completes later, on a thread of the store's own, and in no order among
    /// reads. What it finds is what is kept at some moment between the two. Each read completes, with an error where a disk
    /// does not answer.
    fn begin_read(&self, topic: &Topic, span: Span, page: Page, now: Now) -> Reading;

    /// Reads and waits for that.
    #[cfg(test)]
    fn read(&self, topic: &Topic, span: Span, page: Page, now: Now) -> ReadResult {
        self.begin_read(topic, span, page, now).wait()
    }

    /// What a request with this key came to, if that is still known.
    fn recall(&self, scope: &Scope, key: &Key, now: Now) -> Result<Option<KeyRecord>, StoreError>;

    /// Removes what has become too old.
    fn forget_old(&self, now: Now);

    /// Removes the messages of a topic that another retention rule does not keep; without one, all. Where its order ends stays
    /// known.
    fn set_retention(&self, topic: &Topic, retention: Option<Retention>, now: Now);

    /// Bounds what messages and keys may take together from now on.
    fn set_bytes_max(&self, bytes_max: usize);
}

/// A key of a namespace, and its value.
pub(crate) type StateEntry = (String, Arc<[u8]>);

/// A timer with its namespace and its name there.
pub(crate) type NamedTimer = (Arc<str>, String, KeptTimer);

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
    /// With the tombstones of those that were removed.
    pub(crate) messages: Vec<SharedMessage>,
    /// Whether the span holds more that is kept.
    pub(crate) more: bool,
}
