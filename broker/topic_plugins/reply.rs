//! The reply to a request that a plugin has decided on: sent once, when its effects are kept or are known not to be.

use rialto_protocol::{Answered, CloseCode, Closing, Failure, Payload, Position, Published, Reply};

use super::handle::PluginHandle;
use crate::broker::{Broker, answer_published};
use crate::hub::InFlightGuard;
use crate::request::caller::CallerSession;
use crate::request::responder::Responder;

/// What a request waits for.
pub(super) enum PluginReply {
    /// A publish: its position.
    Publish(Responder),
    /// A call: this answer.
    Call(Responder, Option<Payload>),
    /// A subscribe is answered by its admission; a failure only has to be tidied up after.
    Subscribe,
    /// A session that has connected to a raw endpoint: it is closed if the plugin does not accept it.
    Connect,
    /// A message on a raw endpoint counts as in flight until here. What the session receives, the plugin sends.
    Message(InFlightGuard),
    /// An end: nobody can refuse it.
    End,
    /// A timer.
    Timer,
}

impl PluginReply {
    /// The effects are kept and applied.
    pub(super) fn succeed(self, plugin: &PluginHandle, by: Option<&CallerSession>, position: Option<Position>) {
        match self {
            Self::Publish(responder) => answer_published(responder, Ok(Published { position, duplicate: false })),
            Self::Call(responder, payload) => responder.ok(Reply::Answered(Answered { payload, duplicate: false })),
            Self::End => forget(plugin, by),
            Self::Message(in_flight) => drop(in_flight),
            Self::Subscribe | Self::Connect | Self::Timer => {}
        }
    }

    /// Nothing of it was done.
    pub(super) fn fail(self, broker: &Broker, plugin: &PluginHandle, by: Option<&CallerSession>, failure: &Failure) {
        match self {
            Self::Publish(responder) | Self::Call(responder, _) => responder.fail(failure.clone()),
            Self::Subscribe | Self::End => forget(plugin, by),
            Self::Connect => {
                let Some(caller) = by else { return };
                plugin.known_sessions.remove(&caller.member.session);
                let code = CloseCode::PolicyViolation.number();
                let closing = Closing { code, message: failure.message.clone(), retry_after_ms: None };
                let key = caller.key;
                broker.core.hub.run_on(key.shard(), move |shard| shard.end(key, &closing));
            }
            // The failure of a hook has been logged.
            Self::Message(in_flight) => drop(in_flight),
            Self::Timer => {
                if let Some(left_out) = plugin.status.log_pace.take(("timer", ""), 1) {
                    let plugin = &**plugin.name();
                    tracing::error!(plugin, %failure, left_out, "the effects of a timer's hook could not be carried out");
                }
            }
        }
    }
}

/// Forgets the session that asked, if it is no member any more.
fn forget(plugin: &PluginHandle, by: Option<&CallerSession>) {
    if let Some(caller) = by {
        plugin.known_sessions.tidy(&caller.member.session, &plugin.registry);
    }
}
