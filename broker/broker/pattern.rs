//! Subscriptions by pattern. No plugin is asked: the topic rules say which topics patterns select.

use rialto_protocol::{ErrorCode, Failure, Reply, Subscribed};

use super::Broker;
use crate::access::{self, Action, Target};
use crate::hub::{ScopedPattern, TooManyPatterns};
use crate::request::caller::{Caller, CallerSession};
use crate::request::responder::Responder;
use crate::topic::Pattern;

impl Broker {
    /// Subscribes a session to all topics that a pattern selects, within these scopes. Returns whether it is subscribed now.
    pub(crate) fn subscribe_pattern(
        &self,
        session: &CallerSession,
        pattern: &Pattern,
        scoped: &[ScopedPattern],
        responder: Responder,
    ) -> bool {
        let mut checked = access::check(Caller::Session(session), Action::SubscribePattern, Target::Pattern(pattern));
        if checked.is_ok() && scoped.is_empty() {
            let text = "this session may subscribe to no topic that the pattern selects";
            checked = Err(Failure::new(ErrorCode::Forbidden, text));
        }
        if let Err(failure) = checked {
            responder.fail(failure);
            return false;
        }
        let mut responder = Some(responder);
        let selected = self.select(session, scoped, || {
            if let Some(responder) = responder.take() {
                let topic = pattern.as_str().into();
                let subscribed = Subscribed { topic, position: None, recovered: None, more: None, present: None };
                responder.ok(Reply::Subscribed(subscribed));
            }
        });
        let Err(failure) = selected else { return true };
        responder.into_iter().for_each(|responder| responder.fail(failure.clone()));
        false
    }

    /// Subscribes a session to patterns; `then` runs before any publisher can see a new one.
    ///
    /// # Errors
    /// `too_many`; then it is subscribed to none of them, unless it was before.
    pub(crate) fn select(
        &self,
        session: &CallerSession,
        scoped: &[ScopedPattern],
        then: impl FnOnce(),
    ) -> Result<(), Failure> {
        let selected = self.core.hub.select(session.key, &session.holder(), scoped, then);
        selected.map_err(|too_many| {
            let limits = &self.core.config.load().limits;
            let text = match too_many {
                TooManyPatterns::InAll => {
                    format!("pattern limit reached: {} in all, and the share of each client", limits.patterns)
                }
                TooManyPatterns::Alike => format!(
                    "limit of patterns of more than eight tokens reached: {} that begin with the same four, and the share \
                     of each client",
                    limits.deep_patterns
                ),
            };
            Failure::new(ErrorCode::TooMany, text)
        })
    }
}
