//! What is committed together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};

use rialto_protocol::Payload;

use super::{Account, Key, KeyRecord, Scope};
use crate::clock::Now;
use crate::message::SharedMessage;
use crate::shares::Share;
use crate::topic::Topic;

/// Writes that are kept together or not at all.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Writes to the state and the timers of one namespace.
    pub(crate) state: Option<Writes>,
    /// Messages that have their offsets, in their order.
    pub(crate) messages: Vec<KeptMessage>,
    /// Messages that are removed, after those of this batch are kept.
    pub(crate) removals: Vec<Removal>,
    /// What requests with a key came to.
    pub(crate) keys: Vec<KeptKey>,
    /// When this is.
    pub(crate) now: Now,
}

/// What each key and timer of a namespace shall be; none removes it.
#[derive(Clone, Debug)]
pub(crate) struct Writes {
    pub(crate) namespace: Arc<str>,
    pub(crate) values: BTreeMap<String, Option<Arc<[u8]>>>,
    pub(crate) timers: BTreeMap<String, Option<KeptTimer>>,
}

/// A timer that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptTimer {
    /// When it is due by the time of day, Unix milliseconds: the only time that means something to a later process.
    pub(crate) due_unix_ms: u64,
    pub(crate) payload: Option<Payload>,
}

/// A message that is kept.
#[derive(Debug)]
pub(crate) struct KeptMessage {
    pub(crate) message: SharedMessage,
    /// The epoch of its offset.
    pub(crate) epoch: Arc<str>,
    pub(crate) retention: Retention,
    pub(crate) account: Arc<Account>,
}

/// A message that is removed: a tombstone takes its place, so that the log has no hole. What is not kept stays so.
#[derive(Clone, Debug)]
pub(crate) struct Removal {
    pub(crate) topic: Topic,
    pub(crate) epoch: Arc<str>,
    pub(crate) offset: u64,
    was_kept: Arc<AtomicBool>,
}

/// How much of a topic's past is kept: whatever is reached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    pub(crate) messages: usize,
    /// Bytes of payload.
    pub(crate) bytes: usize,
    pub(crate) age_ms: u64,
}

/// What a request with a key came to.
#[derive(Debug)]
pub(crate) struct KeptKey {
    pub(crate) scope: Scope,
    pub(crate) key: Key,
    pub(crate) record: KeyRecord,
    /// How long that is remembered.
    pub(crate) keys_ms: u64,
    /// What that uses up.
    pub(crate) share: Option<Arc<Share>>,
}

impl Removal {
    pub(crate) fn new(topic: Topic, epoch: Arc<str>, offset: u64) -> Self {
        Self { topic, epoch, offset, was_kept: Arc::default() }
    }

    /// The store says that the message was there, before it completes the commit.
    pub(in crate::store) fn set_kept(&self) {
        self.was_kept.store(true, Release);
    }

    /// Whether the message was there, once the commit is complete.
    pub(crate) fn was_kept(&self) -> bool {
        self.was_kept.load(Acquire)
    }
}

impl Batch {
    /// A batch with nothing in it yet.
    pub(crate) fn at(now: Now) -> Self {
        Self { now, ..Self::default() }
    }
}
