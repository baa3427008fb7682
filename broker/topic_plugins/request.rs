//! A request on its way through a plugin: it waits its turn, is known or new, and is answered once. What it is about is the
//! business of others.

use std::sync::{Arc, OnceLock};

use rialto_protocol::{Answered, ErrorCode, Failure, Published, Reply};

use super::handle::Owner;
use super::transaction::Settling;
use crate::broker::{Broker, key_reused};
use crate::engine::Known;
use crate::plugin::{Asked, Done, Event, HookError};
use crate::request::caller::Client;
use crate::request::responder::Answer;
use crate::store::Come;
use crate::topics::idempotency::Reminder;

/// When it makes sense to ask a plugin again that has too much to do.
const BUSY_RETRY_MS: u64 = 100;

/// A request that a plugin decides on.
pub(super) struct Asking {
    pub(super) from: Option<Client>,
    pub(super) reminder: Option<Reminder>,
    pub(super) answer: Answer,
}

impl Asking {
    /// Puts the event into the plugin's mailbox. `finish` does what the hook wanted and answers; it says whether that is
    /// kept.
    pub(super) fn submit(
        self,
        owner: &Arc<Owner>,
        broker: &Broker,
        event: Event,
        finish: impl FnOnce(&Settling<'_>, Done, Answer) -> bool + Send + 'static,
    ) {
        let Self { from, reminder, answer } = self;
        let Ok(place) = owner.mailbox.place() else {
            broker.core.metrics.plugin_busy.add(1);
            let text = format!("plugin \"{}\" has too much to do", owner.name());
            return answer.fail(Failure::new(ErrorCode::Busy, text).retry_after_ms(BUSY_RETRY_MS));
        };
        let (owner, broker) = (Arc::clone(owner), broker.clone());
        let found = Arc::new(OnceLock::new());
        // Looked up when it is this event's turn: whoever came before it with the same key is done by then.
        let is_new = reminder.map(|reminder| {
            let (clock, found) = (broker.core.clock, Arc::clone(&found));
            Box::new(move || *found.get_or_init(|| reminder.recall(clock.now())) == Known::No) as Asked
        });
        place.fill(
            event,
            is_new,
            Box::new(move |outcome| match (found.get(), outcome) {
                (None | Some(Known::No), Ok(done)) => {
                    finish(&Settling { broker: &broker, owner: &owner, by: from.as_ref() }, done, answer)
                }
                (None | Some(Known::No), Err(error)) => {
                    answer.fail(failure(owner.name(), error));
                    false
                }
                (Some(known), _) => {
                    answer_known(&broker, known, answer);
                    false
                }
            }),
        );
    }
}

/// Answers a request whose key is known.
fn answer_known(broker: &Broker, known: &Known, answer: Answer) {
    let Known::Same(came_to) = known else { return answer.fail(key_reused()) };
    broker.core.metrics.duplicates.add(1);
    let duplicate = true;
    match came_to.clone() {
        Come::Published(position) => answer.ok(Reply::Published(Published { position, duplicate })),
        Come::Answered(payload) => answer.ok(Reply::Answered(Answered { payload, duplicate })),
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
        HookError::NotWanted => Failure::new(ErrorCode::Internal, "a hook was not called"),
        HookError::Failed(failed) => {
            let text = format!("plugin \"{plugin}\" failed: {}", failed.for_client());
            Failure::new(ErrorCode::PluginFailed, text)
        }
    }
}
