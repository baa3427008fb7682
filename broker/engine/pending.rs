//! What of a topic waits for the log: offsets that are given and not visible yet, and the keys of their requests. It takes no lock.

use std::collections::HashMap;
use std::sync::Arc;

use super::idempotency::{KeyedRequest, Lookup};
use crate::message::SharedMessage;
use crate::store::{Key, KeyRecord, Outcome, StoreError};

/// Commits of one topic that are under way.
#[derive(Debug, Default)]
pub(super) struct PendingCommits {
    /// The last offset that is given.
    given: u64,
    /// How many commits.
    commits: usize,
    /// What requests with a key will have come to.
    keys: HashMap<Key, KeyRecord>,
    /// Messages of a commit of which the log could not say whether it was kept: the store has to be asked.
    in_doubt: Vec<DoubtfulMessage>,
}

/// A message that may be kept, and the key of its request.
pub(super) type DoubtfulMessage = (SharedMessage, Option<Key>);

/// How far a topic's order has come.
#[derive(Debug)]
pub(super) struct Progress {
    /// The last offset whose message is kept and was handed over: what joiners and readers see.
    pub(super) visible: u64,
    /// None where everything that is given is visible, and nothing in doubt.
    pending: Option<Box<PendingCommits>>,
}

impl Progress {
    pub(super) fn new(visible: u64) -> Self {
        Self { visible, pending: None }
    }

    /// The last offset that is given.
    pub(super) fn given(&self) -> u64 {
        self.pending.as_ref().map_or(self.visible, |pending| pending.given)
    }

    pub(super) fn is_pending(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.commits > 0)
    }

    /// A commit has gone into the log's queue. Everything up to this offset is given now.
    pub(super) fn begun(&mut self, given: u64) {
        let pending = self.pending.get_or_insert_default();
        pending.given = given;
        pending.commits += 1;
    }

    /// The request of a commit that was just begun has a key.
    pub(super) fn remember(&mut self, keyed: KeyedRequest, outcome: Outcome) {
        let KeyedRequest { key, digest, .. } = keyed;
        self.pending.get_or_insert_default().keys.insert(key, KeyRecord { digest, outcome });
    }

    /// What a request under way with this key will have come to.
    pub(super) fn lookup(&self, keyed: &KeyedRequest) -> Lookup {
        keyed.judge(self.pending.as_ref().and_then(|pending| pending.keys.get(&keyed.key).cloned()))
    }

    /// A commit is complete. What was given is given back if it is not kept: the log has failed everything behind it too, and
    /// takes nothing until all of that is known here.
    pub(super) fn complete(&mut self, result: &Result<(), StoreError>) {
        let visible = self.visible;
        let Some(pending) = &mut self.pending else { return };
        pending.commits -= 1;
        if result.is_err() {
            pending.given = visible;
        }
        if pending.commits == 0 && pending.in_doubt.is_empty() {
            self.pending = None;
        }
    }

    /// The commit of a message is complete: from now on the store knows its key, if it is kept.
    pub(super) fn complete_message(
        &mut self,
        message: &SharedMessage,
        key: Option<&Key>,
        result: &Result<(), StoreError>,
    ) {
        let Some(pending) = &mut self.pending else { return };
        if let Some(key) = key {
            pending.keys.remove(key);
        }
        if let Err(StoreError::Unknown(_)) = result {
            pending.in_doubt.push((Arc::clone(message), key.cloned()));
        }
    }

    /// The messages of which it has to be asked whether they are kept, once no commit is under way.
    pub(super) fn in_doubt(&self) -> Option<&[DoubtfulMessage]> {
        let pending = self.pending.as_deref().filter(|pending| pending.commits == 0 && !pending.in_doubt.is_empty())?;
        Some(&pending.in_doubt)
    }

    /// It is known whether they are kept.
    pub(super) fn take_in_doubt(&mut self) -> Vec<DoubtfulMessage> {
        self.pending.take().map_or_else(Vec::new, |pending| pending.in_doubt)
    }
}
