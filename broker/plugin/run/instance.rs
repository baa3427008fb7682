//! A running copy of a plugin, whatever it is made of, and what its hooks come to. It keeps nothing and is not asked twice.

use rialto_plugin::{Error, Payload as GuestPayload, Verdict};
use rialto_protocol::Payload;

use super::convert::payload_from_guest;
use super::hook_context::HookHost;
use crate::clock::Now;
use crate::plugin::{Decision, Done, Event, Failed, HookError};
use crate::topic::Topic;

/// What `start` is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'s> {
    /// The plugin's table of the configuration, as JSON.
    pub(in crate::plugin) config: &'s str,
    /// The one topic that the copy is for.
    pub(in crate::plugin) topic: Option<&'s Topic>,
}

/// What a hook returned.
#[derive(Clone, Debug)]
pub(crate) enum HookReturn {
    /// Nothing but `ok`.
    Accepted,
    /// What becomes of a message.
    Verdict(Verdict),
    /// The answer to a call.
    Reply(Option<GuestPayload>),
}

/// A running copy of a plugin.
pub(crate) trait RunningInstance: Send {
    /// Calls the hook for an event: its answer, or its own "no".
    ///
    /// # Errors
    /// [`Failed`]: the copy may be broken and must not be used again.
    fn call(&mut self, event: &Event, now: Now) -> Result<Result<HookReturn, Error>, Failed>;

    /// Who answers what its hooks ask.
    fn host(&self) -> &dyn HookHost;
}

/// Turns what a hook returned into what is to be done. Nothing of it has happened yet.
///
/// # Errors
/// The plugin's own "no", or what is wrong with its answer.
pub(in crate::plugin) fn into_done(host: &dyn HookHost, answer: Result<HookReturn, Error>) -> Result<Done, HookError> {
    let decision = match answer.map_err(|error| refused(host, error))? {
        HookReturn::Accepted => Decision::Accepted,
        HookReturn::Verdict(Verdict::Accept) => Decision::Publish(None),
        HookReturn::Verdict(Verdict::Replace(payload)) => Decision::Publish(Some(returned(host, payload)?)),
        HookReturn::Verdict(Verdict::Swallow) => Decision::Swallow,
        HookReturn::Reply(reply) => Decision::Answer(reply.map(|reply| returned(host, reply)).transpose()?),
    };
    Ok(Done { decision, wanted: host.take() })
}

fn refused(host: &dyn HookHost, error: Error) -> HookError {
    match error {
        Error::Failed(text) => HookError::Failed(Failed::Said(text)),
        Error::Rejected { reason, detail } => match detail.map(|detail| returned(host, detail)).transpose() {
            Ok(detail) => HookError::Rejected { reason, detail },
            Err(error) => error,
        },
    }
}

fn returned(host: &dyn HookHost, payload: GuestPayload) -> Result<Payload, HookError> {
    let failed = HookError::Failed;
    host.returned(payload.content.len()).map_err(|exceeded| failed(Failed::Limit(exceeded.to_string())))?;
    payload_from_guest(payload).map_err(|error| failed(Failed::Returned(error.to_string())))
}
