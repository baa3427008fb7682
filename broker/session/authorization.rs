//! What a program that embeds the broker is asked about a session's requests, and what follows from its answers.

use std::sync::Arc;

use rialto_protocol::{CloseCode, Closing, ErrorCode, Failure, Operation, Request, Subscribe};

use super::waiting::Then;
use super::{Session, pattern};
use crate::authorizer::{AccessAction, AccessRequest, DecisionLimits, Requester};
use crate::hub::{closing, work};
use crate::request::responder::Responder;
use crate::topic::Topic;

/// What the program refused of the request that is carried out.
pub(super) type Denials = Vec<(AccessAction, Failure)>;

/// What the program decided about a request.
type Decided = Result<Denials, Failure>;

impl Session {
    /// Asks the program about a request, if there is something to ask; the request is carried out once that is decided.
    /// Returns whether it is asked.
    pub(super) fn asks(&mut self, operation: &Operation<'_>, frame: &[u8]) -> bool {
        let Some(authorizer) = self.broker.core.authorizer.clone() else { return false };
        self.set_denials(Vec::new());
        let actions = if self.is_unauthenticated() { Vec::new() } else { actions_of(operation) };
        if actions.is_empty() {
            return false;
        }
        let requester = self.requester();
        let requests = actions.into_iter().map(|action| AccessRequest::new(&requester, action)).collect();
        let (limits, frame) = (self.decision_limits(), Box::<[u8]>::from(frame));
        self.wait_for(async move {
            let decided = authorizer.decide(requests, limits).await;
            let then: Then = Box::new(move |session: &mut Self| session.carry_out_decided(&frame, decided));
            then
        });
        true
    }

    fn carry_out_decided(&mut self, frame: &[u8], decided: Decided) {
        work::add(1);
        // It was a request when it came.
        let Ok(Request { id, operation }) = Request::decode(self.codec, frame) else { return };
        let is_list = matches!(operation, Operation::Subscribe(_));
        match decided {
            Err(failure) => return self.responder(id).fail(failure),
            Ok(mut denials) if !is_list && !denials.is_empty() => {
                let (_, failure) = denials.swap_remove(0);
                return self.responder(id).fail(failure);
            }
            Ok(denials) => self.set_denials(denials),
        }
        self.carry_out(id, operation);
        if self.is_abusing() {
            self.end(closing(CloseCode::Rate, "rate limit: too many requests that were refused", None));
        }
    }

    /// Has a user who has just proved who it is admitted, if there is something to ask; then answers as
    /// [`Session::connected`]. Returns the responder where nobody is asked.
    pub(super) fn asks_to_sign_in(&mut self, instance: Option<&str>, responder: Responder) -> Option<Responder> {
        let Some(authorizer) = self.broker.core.authorizer.clone().filter(|_| self.has_signed_in()) else {
            return Some(responder);
        };
        let requests = vec![AccessRequest::new(&self.requester(), AccessAction::SignIn)];
        let (limits, instance) = (self.decision_limits(), instance.map(Box::<str>::from));
        self.wait_for(async move {
            let decided = authorizer.decide(requests, limits).await;
            let then: Then = Box::new(move |session: &mut Self| session.signed_in(decided, instance, responder));
            then
        });
        None
    }

    /// Whether it has got an identity that nobody was asked about, which is asked about now.
    fn has_signed_in(&mut self) -> bool {
        self.extras.as_mut().is_some_and(|extras| std::mem::take(&mut extras.has_signed_in))
    }

    fn signed_in(&mut self, decided: Decided, instance: Option<Box<str>>, responder: Responder) {
        let failure = match decided {
            Ok(denials) => denials.into_iter().next().map(|(_, failure)| failure),
            Err(failure) => Some(failure),
        };
        let Some(failure) = failure else { return self.connected(Ok(()), instance.as_deref(), responder) };
        // It belongs to the user already, so it must not go on.
        let code = match failure.code {
            ErrorCode::Forbidden => CloseCode::Unauthorized,
            _ => CloseCode::TryAgainLater,
        };
        let closing = closing(code, &failure.message, failure.retry_after_ms);
        responder.fail(failure);
        self.end(closing);
    }

    /// Ends it: nothing further is carried out.
    fn end(&mut self, closing: Closing) {
        let key = self.caller.key;
        self.broker.core.hub.run_on(key.shard(), move |shard| shard.end(key, &closing));
        self.wait_for(std::future::pending());
    }

    fn requester(&self) -> Requester {
        Requester {
            session: Arc::clone(&self.caller.member.session),
            user: self.caller.member.user.clone(),
            roles: self.caller.identity().and_then(|identity| identity.roles.clone()),
            address: self.extras.as_ref().and_then(|extras| extras.address),
        }
    }

    fn decision_limits(&self) -> DecisionLimits {
        DecisionLimits::of(&self.broker.core.config.load().limits)
    }

    fn set_denials(&mut self, denials: Denials) {
        if !denials.is_empty() {
            self.extras.get_or_insert_default().denials = denials;
        } else if let Some(extras) = &mut self.extras {
            extras.denials = denials;
        }
    }

    /// Why it must not subscribe to a topic or pattern as it requests, if it must not.
    pub(super) fn denial(&self, name: &str) -> Option<Failure> {
        let denials = &self.extras.as_ref()?.denials;
        let concerns = |action: &AccessAction| match action {
            AccessAction::Subscribe { topic } | AccessAction::Presence { topic } => topic.as_str() == name,
            AccessAction::SubscribePattern { pattern } => pattern.as_str() == name,
            _ => false,
        };
        denials.iter().find(|(action, _)| concerns(action)).map(|(_, failure)| failure.clone())
    }

    /// Whether it may subscribe to a topic, but not read what is past.
    pub(super) fn is_past_withheld(&self, topic: &Topic) -> bool {
        let is_of_topic = |action: &AccessAction| matches!(action, AccessAction::History { topic: of } if of == topic);
        self.extras.as_ref().is_some_and(|extras| extras.denials.iter().any(|(action, _)| is_of_topic(action)))
    }
}

/// What a request wants. Names that are none are left out: they are refused without a question.
fn actions_of(operation: &Operation<'_>) -> Vec<AccessAction> {
    let topic = |name: &str| Topic::parse(name).ok();
    let action = match operation {
        Operation::Subscribe(requests) => return requests.iter().flat_map(actions_of_subscribe).collect(),
        Operation::Publish(publish) => topic(&publish.topic).map(|topic| AccessAction::Publish { topic }),
        Operation::Call(call) => {
            let method = call.method.clone().into_owned();
            match (&call.topic, &call.plugin) {
                (Some(name), _) => topic(name).map(|topic| AccessAction::Call { topic, method }),
                (None, plugin) => {
                    let plugin = plugin.clone().unwrap_or_default().into_owned();
                    Some(AccessAction::CallPlugin { plugin, method })
                }
            }
        }
        Operation::History(history) => topic(&history.topic).map(|topic| AccessAction::History { topic }),
        Operation::Presence(name) => topic(name).map(|topic| AccessAction::Presence { topic }),
        // Who proves who it is is asked about when that is proved.
        Operation::Connect(_) | Operation::Unsubscribe(_) | Operation::Ping(_) => None,
    };
    action.into_iter().collect()
}

fn actions_of_subscribe(request: &Subscribe<'_>) -> Vec<AccessAction> {
    if let Some(pattern) = pattern(&request.topic) {
        return vec![AccessAction::SubscribePattern { pattern }];
    }
    let Ok(topic) = Topic::parse(&request.topic) else { return Vec::new() };
    let mut actions = vec![AccessAction::Subscribe { topic: topic.clone() }];
    if request.since.is_some() || request.last.is_some() {
        actions.push(AccessAction::History { topic: topic.clone() });
    }
    if request.presence {
        actions.push(AccessAction::Presence { topic });
    }
    actions
}

#[cfg(test)]
mod tests {
    use rialto_protocol::Codec;
    use serde_json::{Value, json};

    use super::*;

    fn actions(request: &Value) -> Vec<String> {
        let text = request.to_string();
        let request = Request::decode(Codec::Json, text.as_bytes()).expect("a request");
        let shown = |action: AccessAction| match action {
            AccessAction::Subscribe { topic } => format!("subscribe {topic}"),
            AccessAction::SubscribePattern { pattern } => format!("pattern {pattern}"),
            AccessAction::Publish { topic } => format!("publish {topic}"),
            AccessAction::Call { topic, method } => format!("call {topic} {method}"),
            AccessAction::CallPlugin { plugin, method } => format!("call plugin {plugin} {method}"),
            AccessAction::History { topic } => format!("history {topic}"),
            AccessAction::Presence { topic } => format!("presence {topic}"),
            AccessAction::SignIn => "sign in".to_owned(),
        };
        actions_of(&request.operation).into_iter().map(shown).collect()
    }

    #[test]
    fn every_request_that_shows_or_changes_something_is_asked_about() {
        let since = json!({"epoch": "e", "offset": 1});
        for (request, expected) in [
            (json!({"type": "subscribe", "topic": "a"}), vec!["subscribe a"]),
            (json!({"type": "subscribe", "topic": "a", "last": 1}), vec!["subscribe a", "history a"]),
            (json!({"type": "subscribe", "topic": "a", "since": since}), vec!["subscribe a", "history a"]),
            (json!({"type": "subscribe", "topic": "a", "presence": true}), vec!["subscribe a", "presence a"]),
            (json!({"type": "subscribe", "topic": "a.*"}), vec!["pattern a.*"]),
            (
                json!({"type": "subscribe", "topics": [{"topic": "a"}, {"topic": "b.>"}, {"topic": ""}]}),
                vec!["subscribe a", "pattern b.>"],
            ),
            (json!({"type": "publish", "topic": "a", "data": 1}), vec!["publish a"]),
            (json!({"type": "publish", "topic": "$a", "data": 1}), vec![]),
            (json!({"type": "call", "topic": "a", "method": "m"}), vec!["call a m"]),
            (json!({"type": "call", "plugin": "p", "method": "m"}), vec!["call plugin p m"]),
            (json!({"type": "history", "topic": "a"}), vec!["history a"]),
            (json!({"type": "presence", "topic": "a"}), vec!["presence a"]),
            (json!({"type": "unsubscribe", "topic": "a"}), vec![]),
            (json!({"type": "ping"}), vec![]),
            (json!({"type": "connect"}), vec![]),
        ] {
            assert_eq!(actions(&request), expected, "{request}");
        }
    }
}
