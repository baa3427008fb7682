//! A request that a plugin decides on: puts its event into the mailbox, looks up its idempotency key, and replies once. It
//! knows no kind of request.

use std::sync::{Arc, OnceLock};

use rialto_protocol::{Answered, ErrorCode, Failure, Published, Reply};

use super::handle::PluginHandle;
use super::transaction::Transaction;
use crate::broker::{Broker, key_reused};
use crate::engine::Lookup;
use crate::plugin::{Done, Event, HookError, IsNew};
use crate::request::caller::CallerSession;
use crate::request::responder::Responder;
use crate::store::Outcome;
use crate::topics::idempotency::ScopedKey;

/// When a client may retry after a plugin's mailbox was full.
const BUSY_RETRY_MS: u64 = 100;

/// A request that a plugin decides on.
pub(super) struct PluginRequest {
    pub(super) from: Option<CallerSession>,
    pub(super) scoped_key: Option<ScopedKey>,
    pub(super) responder: Responder,
}

impl PluginRequest {
    /// Puts the event into the plugin's mailbox. `finish` commits the hook's effects and replies; it returns whether they are
    /// committed.
    pub(super) fn submit(
        self,
        handle: &Arc<PluginHandle>,
        broker: &Broker,
        event: Event,
        finish: impl FnOnce(&Transaction<'_>, Done, Responder) -> bool + Send + 'static,
    ) {
        let Self { from, scoped_key, responder } = self;
        let Ok(slot) = handle.mailbox.reserve() else {
            broker.core.metrics.plugin_busy.add(1);
            let text = busy(handle.name());
            return responder.fail(Failure::new(ErrorCode::Busy, text).retry_after_ms(BUSY_RETRY_MS));
        };
        let (handle, broker) = (Arc::clone(handle), broker.clone());
        let found = Arc::new(OnceLock::new());
        // Looked up when it is this event's turn: an earlier request with the same key is complete by then.
        let is_new = scoped_key.map(|scoped_key| {
            let (clock, found) = (broker.core.clock, Arc::clone(&found));
            Box::new(move || *found.get_or_init(|| scoped_key.recall(clock.now())) == Ok(Lookup::No)) as IsNew
        });
        slot.fill(
            event,
            is_new,
            Box::new(move |outcome| match (found.get(), outcome) {
                (None | Some(Ok(Lookup::No)), Ok(done)) => {
                    finish(&Transaction { broker: &broker, plugin: &handle, by: from.as_ref() }, done, responder)
                }
                (None | Some(Ok(Lookup::No)), Err(error)) => {
                    responder.fail(failure(handle.name(), error));
                    false
                }
                (Some(Ok(known)), _) => {
                    answer_known(&broker, known, responder);
                    false
                }
                (Some(Err(error)), _) => {
                    responder.fail(error.to_failure());
                    false
                }
            }),
        );
    }
}

/// Replies to a request whose idempotency key is known.
fn answer_known(broker: &Broker, known: &Lookup, responder: Responder) {
    let Lookup::Same(outcome) = known else { return responder.fail(key_reused()) };
    broker.core.metrics.duplicates.add(1);
    let duplicate = true;
    match outcome.clone() {
        Outcome::Published(position) => responder.ok(Reply::Published(Published { position, duplicate })),
        Outcome::Answered(payload) => responder.ok(Reply::Answered(Answered { payload, duplicate })),
    }
}

/// The text for a request to a plugin whose mailbox is full.
pub(super) fn busy(plugin: &str) -> String {
    format!("plugin \"{plugin}\" is busy: its mailbox is full")
}

/// The failure that a client receives when a hook has no outcome.
pub(super) fn failure(plugin: &str, error: HookError) -> Failure {
    match error {
        HookError::Rejected { reason, detail } => {
            let mut failure = Failure::new(ErrorCode::Rejected, reason);
            failure.detail = detail;
            failure
        }
        HookError::Storage(error) => error.to_failure(),
        HookError::NotWanted => Failure::new(ErrorCode::Internal, "a hook was not called"),
        HookError::Failed(failed) => {
            let text = format!("plugin \"{plugin}\" failed: {}", failed.for_client());
            Failure::new(ErrorCode::PluginFailed, text)
        }
    }
}
