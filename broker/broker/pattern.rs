//! Subscriptions by pattern. No plugin is asked: the topic rules say which topics patterns select.

use rialto_protocol::{ErrorCode, Failure, Reply, Subscribed};

use super::Broker;
use crate::access::{self, Action, Target};
use crate::hub::TooManyPatterns;
use crate::request::caller::{Caller, CallerSession};
use crate::request::responder::Responder;
use crate::topic::Pattern;

impl Broker {
    /// Subscribes a session to all topics that a pattern selects. Returns whether it is subscribed now.
    pub(crate) fn subscribe_pattern(&self, session: &CallerSession, pattern: &Pattern, responder: Responder) -> bool {
        if let Err(failure) =
            access::check(Caller::Session(session), Action::SubscribePattern, Target::Pattern(pattern))
        {
            responder.fail(failure);
            return false;
        }
        let mut responder = Some(responder);
        let selected = self.core.hub.select(session.key, &session.holder(), pattern, || {
            if let Some(responder) = responder.take() {
                let topic = pattern.as_str().into();
                let subscribed = Subscribed { topic, position: None, recovered: None, more: None, present: None };
                responder.ok(Reply::Subscribed(subscribed));
            }
        });
        let Err(too_many) = selected else { return true };
        let limits = &self.core.config.load().limits;
        let text = match too_many {
            TooManyPatterns::InAll => {
                format!("pattern limit reached: {} in all, and the share of each client", limits.patterns)
            }
            TooManyPatterns::Alike => format!(
                "limit of patterns of more than eight tokens reached: {} that begin with the same four, and the share of \
                 each client",
                limits.deep_patterns
            ),
        };
        let failure = Failure::new(ErrorCode::TooMany, text);
        responder.into_iter().for_each(|responder| responder.fail(failure.clone()));
        false
    }
}
