//! A request on its way through a plugin: it waits its turn, is known or new, and is answered once. What it is about is the
//! business of others.

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

/// When it makes sense to ask a plugin again that has too much to do.
const BUSY_RETRY_MS: u64 = 100;

/// A request that a plugin decides on.
pub(super) struct PluginRequest {
    pub(super) from: Option<CallerSession>,
    pub(super) scoped_key: Option<ScopedKey>,
    pub(super) responder: Responder,
}

impl PluginRequest {
    /// Puts the event into the plugin's mailbox. `finish` does what the hook wanted and answers; it says whether that is
    /// kept.
    pub(super) fn submit(
        self,
        plugin: &Arc<PluginHandle>,
        broker: &Broker,
        event: Event,
        finish: impl FnOnce(&Transaction<'_>, Done, Responder) -> bool + Send + 'static,
    ) {
        let Self { from, scoped_key, responder } = self;
        let Ok(place) = plugin.mailbox.place() else {
            broker.core.metrics.plugin_busy.add(1);
            let text = format!("plugin \"{}\" has too much to do", plugin.name());
            return responder.fail(Failure::new(ErrorCode::Busy, text).retry_after_ms(BUSY_RETRY_MS));
        };
        let (plugin, broker) = (Arc::clone(plugin), broker.clone());
        let found = Arc::new(OnceLock::new());
        // Looked up when it is this event's turn: whoever came before it with the same key is done by then.
        let is_new = scoped_key.map(|scoped_key| {
            let (clock, found) = (broker.core.clock, Arc::clone(&found));
            Box::new(move || *found.get_or_init(|| scoped_key.recall(clock.now())) == Ok(Lookup::No)) as IsNew
        });
        place.fill(
            event,
            is_new,
            Box::new(move |outcome| match (found.get(), outcome) {
                (None | Some(Ok(Lookup::No)), Ok(done)) => {
                    finish(&Transaction { broker: &broker, plugin: &plugin, by: from.as_ref() }, done, responder)
                }
                (None | Some(Ok(Lookup::No)), Err(error)) => {
                    responder.fail(failure(plugin.name(), error));
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

/// Answers a request whose key is known.
fn answer_known(broker: &Broker, known: &Lookup, responder: Responder) {
    let Lookup::Same(outcome) = known else { return responder.fail(key_reused()) };
    broker.core.metrics.duplicates.add(1);
    let duplicate = true;
    match outcome.clone() {
        Outcome::Published(position) => responder.ok(Reply::Published(Published { position, duplicate })),
        Outcome::Answered(payload) => responder.ok(Reply::Answered(Answered { payload, duplicate })),
    }
}

/// What a client is told of a hook that has no outcome.
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
