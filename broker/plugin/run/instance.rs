//! A running instance of a plugin, component or native, and the outcomes of its hooks. It commits nothing.

use rialto_plugin::{Error, Payload as GuestPayload, Verdict};
use rialto_protocol::Payload;

use super::convert::payload_from_guest;
use super::hook_context::HookHost;
use crate::clock::Now;
use crate::plugin::{Decision, Done, Event, Failed, Generation, HookError};
use crate::topic::Topic;

/// The arguments of `start`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'s> {
    /// The plugin's table of the configuration, as JSON.
    pub(in crate::plugin) config: &'s str,
    /// The one topic that the instance is for; none is all topics of the plugin.
    pub(in crate::plugin) topic: Option<&'s Topic>,
}

/// What a hook returned.
#[derive(Clone, Debug)]
pub(crate) enum HookReturn {
    /// `ok`, without a value.
    Accepted,
    /// The verdict on a message.
    Verdict(Verdict),
    /// The answer to a call.
    Reply(Option<GuestPayload>),
}

/// A running instance of a plugin.
pub(crate) trait RunningInstance: Send {
    /// Calls the hook for an event. Returns what the hook returned, `ok` or error.
    ///
    /// # Errors
    /// [`Failed`]: the instance may be broken and must not be used again.
    fn call(&mut self, event: &Event, now: Now) -> Result<Result<HookReturn, Error>, Failed>;

    /// The host that serves its hooks' calls.
    fn host(&self) -> &dyn HookHost;
}

/// Turns what a hook returned into its outcome. Nothing of it is committed yet.
///
/// # Errors
/// The plugin's rejection, or what is wrong with the value that it returned.
pub(in crate::plugin) fn into_done(
    host: &dyn HookHost,
    answer: Result<HookReturn, Error>,
    generation: Generation,
) -> Result<Done, HookError> {
    let decision = match answer.map_err(|error| refused(host, error))? {
        HookReturn::Accepted => Decision::Accepted,
        HookReturn::Verdict(Verdict::Accept) => Decision::Publish(None),
        HookReturn::Verdict(Verdict::Replace(payload)) => Decision::Publish(Some(returned(host, payload)?)),
        HookReturn::Verdict(Verdict::Swallow) => Decision::Swallow,
        HookReturn::Reply(reply) => Decision::Answer(reply.map(|reply| returned(host, reply)).transpose()?),
    };
    Ok(Done::of(decision, host.take(), generation))
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
