//! Authorization: whether a caller may do something, by one table of callers and actions. It only decides: what it needs to
//! know about topics is an argument, and it has no effects.

pub(crate) mod explain;
pub(crate) mod permissions;
pub(crate) mod scopes;

use std::sync::Arc;

use rialto_protocol::{ApiOperation, Delivery, ErrorCode, Failure, Policy};

use self::permissions::{Privilege, is_named, permits};
use crate::config::{Access, ApiKey, TopicOptions};
use crate::request::caller::{Caller, CallerSession};
use crate::topic::{Pattern, Topic};

/// What a caller requests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action<'a> {
    /// Publish a message to a topic.
    Publish,
    /// Subscribe a session to a topic, with this delivery policy or the topic's own.
    Subscribe { delivery: Option<&'a Delivery> },
    /// Subscribe a session to all topics that a pattern selects.
    SubscribePattern,
    /// Call the plugin that owns a topic, or a plugin by its name.
    Call,
    /// Read a topic's past messages; `admitted` says whether the topic's plugin has admitted the session as a subscriber.
    History { admitted: bool },
    /// Read who is present in a topic; `admitted` as for the history.
    Presence { admitted: bool },
    /// End sessions.
    Disconnect,
    /// Revoke tokens.
    Revoke,
    /// Ask what somebody may do with a topic.
    Explain,
    /// List the topics in memory, of which the list has those that [`lists`] selects.
    ListTopics,
    /// List the plugins and their health.
    ListPlugins,
    /// Load a plugin again.
    ReloadPlugin,
    /// Apply the configuration file again.
    ReloadConfig,
}

/// What an action concerns.
#[derive(Clone, Copy)]
pub(crate) enum Target<'t> {
    /// One topic. Its options are looked up only where a rule needs them; there are none where no topic rule matches.
    Topic { topic: &'t Topic, options: &'t dyn Fn() -> Option<Arc<TopicOptions>> },
    /// All topics that a pattern selects.
    Pattern(&'t Pattern),
    /// A plugin by its name: what holds where a rule says nothing.
    Plugin(&'t Access),
    /// No topic in particular.
    Broker,
}

/// What is required of a caller for an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Nothing.
    Allowed,
    /// The topic's rule permits it.
    Permission,
    /// The action is not offered to this kind of caller.
    NotOffered,
    /// The patterns of its API key select the topic; an action that concerns no single topic needs a key for all topics.
    KeyTopics,
    /// The topic's rule permits it, and the delivery policy is within the topic's `delivery_max`.
    DeliveryMax,
    /// The topic's rule permits it. And a topic that a plugin owns shows its contents only to sessions that the plugin has
    /// admitted: anything else would get around the plugin.
    Admission,
    /// The plugin's capabilities cover it. The host has checked that in the hook, which receives the refusal.
    Capability,
}

/// The table: one column for each kind of caller, one row for each action.
#[rustfmt::skip]
fn rule(caller: Caller<'_>, action: Action<'_>) -> Rule {
    use Action as A;
    use Rule::{Admission, Allowed, Capability, DeliveryMax, KeyTopics, NotOffered, Permission};

    // ..................................  session      program     plugin      embedder
    let [session, program, plugin, embedder] = match action {
        A::Publish                      => [Permission,  KeyTopics,  Capability, Allowed],
        A::Subscribe { .. }             => [DeliveryMax, NotOffered, Capability, NotOffered],
        A::SubscribePattern             => [Allowed,     NotOffered, NotOffered, NotOffered],
        A::Call                         => [Permission,  KeyTopics,  NotOffered, Allowed],
        A::History { .. }               => [Admission,   KeyTopics,  NotOffered, Allowed],
        A::Presence { .. }              => [Admission,   KeyTopics,  NotOffered, Allowed],
        A::Disconnect                   => [NotOffered,  KeyTopics,  Capability, Allowed],
        A::Revoke                       => [NotOffered,  KeyTopics,  NotOffered, Allowed],
        A::Explain                      => [NotOffered,  KeyTopics,  NotOffered, Allowed],
        A::ListTopics                   => [NotOffered,  Allowed,    NotOffered, Allowed],
        A::ListPlugins                  => [NotOffered,  KeyTopics,  NotOffered, Allowed],
        A::ReloadPlugin                 => [NotOffered,  KeyTopics,  NotOffered, Allowed],
        A::ReloadConfig                 => [NotOffered,  KeyTopics,  NotOffered, Allowed],
    };
    match caller {
        Caller::Session(_) => session,
        Caller::Program(_) => program,
        Caller::Plugin { .. } => plugin,
        Caller::Embedder => embedder,
    }
}

/// Decides whether a caller may do something. Every operation of the broker calls this once, before it loads a topic.
///
/// # Errors
/// `forbidden`, with the reason.
pub(crate) fn check(caller: Caller<'_>, action: Action<'_>, target: Target<'_>) -> Result<(), Failure> {
    match (rule(caller, action), caller) {
        (Rule::Allowed | Rule::Capability, _) => Ok(()),
        (Rule::KeyTopics, Caller::Program(key)) => check_key_topics(key, action, target),
        (Rule::Permission, Caller::Session(session)) => check_permission(session, action, target),
        (Rule::DeliveryMax, Caller::Session(session)) => {
            check_permission(session, action, target).and_then(|()| check_delivery(action, target))
        }
        (Rule::Admission, Caller::Session(session)) => {
            check_permission(session, action, target).and_then(|()| check_admission(action, target))
        }
        _ => Err(forbidden(format!("{} may not {}", caller.kind(), verb(action)))),
    }
}

/// Decides whether an API key may use an operation of the HTTP API at all. The API calls this before it reads the body;
/// which topics the key may use is then up to [`check`].
///
/// # Errors
/// `forbidden`.
pub(crate) fn check_operation(key: &ApiKey, operation: ApiOperation) -> Result<(), Failure> {
    if key.allow.contains(&operation) {
        return Ok(());
    }
    Err(forbidden(format!("API key \"{}\" may not {}", key.name, operation_verb(operation))))
}

/// Whether a list of topics shows this one to the caller.
pub(crate) fn lists(caller: Caller<'_>, topic: &Topic) -> bool {
    match caller {
        Caller::Program(key) => key_selects(key, topic),
        Caller::Embedder => true,
        Caller::Session(_) | Caller::Plugin { .. } => false,
    }
}

fn check_key_topics(key: &ApiKey, action: Action<'_>, target: Target<'_>) -> Result<(), Failure> {
    let name = &key.name;
    let mut patterns = key.topics.iter();
    match target {
        Target::Topic { topic, .. } if key_selects(key, topic) => Ok(()),
        Target::Topic { topic, .. } => Err(forbidden(format!("API key \"{name}\" is not for topic \"{topic}\""))),
        Target::Pattern(pattern) if patterns.any(|allowed| allowed.covers(pattern)) => Ok(()),
        Target::Pattern(pattern) => {
            let text = format!("API key \"{name}\" is not for all topics of pattern \"{}\"", pattern.as_str());
            Err(forbidden(text))
        }
        Target::Plugin(_) | Target::Broker if patterns.any(|allowed| allowed.as_str() == ">") => Ok(()),
        Target::Plugin(_) | Target::Broker => {
            let text = format!("API key \"{name}\" may not {}: only keys for all topics may", verb(action));
            Err(forbidden(text))
        }
    }
}

fn key_selects(key: &ApiKey, topic: &Topic) -> bool {
    key.topics.iter().any(|pattern| pattern.matches(topic))
}

/// Whether the rule of the topic permits a session what it wants; a topic without a rule is refused elsewhere.
fn check_permission(session: &CallerSession, action: Action<'_>, target: Target<'_>) -> Result<(), Failure> {
    let privilege = match action {
        Action::Publish => Privilege::Publish,
        Action::Subscribe { .. } => Privilege::Subscribe,
        Action::Call => Privilege::Call,
        Action::History { .. } => Privilege::History,
        Action::Presence { .. } => Privilege::Presence,
        _ => return Ok(()),
    };
    let is_permitted = match target {
        Target::Topic { topic, options } => {
            options().is_none_or(|options| permits(session.identity(), privilege, &options.access, topic))
        }
        Target::Plugin(access) => is_named(session.identity(), privilege.permission(access)),
        Target::Pattern(_) | Target::Broker => true,
    };
    if is_permitted {
        return Ok(());
    }
    let who = match session.identity() {
        Some(_) => "this user",
        None => "a session without a user",
    };
    let place = if matches!(target, Target::Topic { .. }) { "in this topic" } else { "here" };
    Err(forbidden(format!("{who} may not {} {place}", privilege_verb(privilege))))
}

/// What a session wants, as the rest of "may not ...".
fn privilege_verb(privilege: Privilege) -> &'static str {
    match privilege {
        Privilege::Subscribe => "subscribe",
        Privilege::Publish => "publish",
        Privilege::Call => "call a plugin",
        Privilege::History => "read past messages",
        Privilege::Presence => "see who is present",
    }
}

fn check_delivery(action: Action<'_>, target: Target<'_>) -> Result<(), Failure> {
    let (Action::Subscribe { delivery }, Some(options)) = (action, target.options()) else { return Ok(()) };
    let TopicOptions { delivery: own, delivery_max, .. } = &*options;
    let delivery = delivery.unwrap_or(own);
    let exceeds = match (delivery, own) {
        (Delivery::Sample { every_ms }, Delivery::Sample { every_ms: least }) if *delivery_max == Policy::Sample => {
            every_ms < least
        }
        _ => delivery.policy() < *delivery_max,
    };
    if !exceeds {
        return Ok(());
    }
    let most = if *delivery_max == Policy::Sample { own.to_string() } else { delivery_max.to_string() };
    Err(forbidden(format!("the topic allows the delivery policy \"{most}\" at most, not \"{delivery}\"")))
}

fn check_admission(action: Action<'_>, target: Target<'_>) -> Result<(), Failure> {
    let is_owned = || target.options().is_some_and(|options| options.plugin.is_some());
    match action {
        Action::History { admitted: false } | Action::Presence { admitted: false } if is_owned() => {
            let text = format!("a plugin owns this topic: only its subscribers may {}", verb(action));
            Err(forbidden(text))
        }
        _ => Ok(()),
    }
}

fn forbidden(text: String) -> Failure {
    Failure::new(ErrorCode::Forbidden, text)
}

/// The action as the rest of "may not ...".
fn verb(action: Action<'_>) -> &'static str {
    match action {
        Action::Publish => "publish",
        Action::Subscribe { .. } => "subscribe",
        Action::SubscribePattern => "subscribe to patterns",
        Action::Call => "call a plugin by its name",
        Action::History { .. } => "read its history",
        Action::Presence { .. } => "read its presence",
        Action::Disconnect => "disconnect sessions",
        Action::Revoke => "revoke tokens",
        Action::Explain => "ask what somebody may do",
        Action::ListTopics => "list topics",
        Action::ListPlugins => "list plugins",
        Action::ReloadPlugin => "reload plugins",
        Action::ReloadConfig => "reload the configuration",
    }
}

/// The same for an operation of the HTTP API.
fn operation_verb(operation: ApiOperation) -> &'static str {
    match operation {
        ApiOperation::Publish => "publish",
        ApiOperation::Broadcast => "broadcast",
        ApiOperation::Call => "call",
        ApiOperation::History => "read history",
        ApiOperation::Presence => "read presence",
        ApiOperation::Disconnect => "disconnect sessions",
        ApiOperation::Revoke => "revoke tokens",
        ApiOperation::Explain => "ask what somebody may do",
        ApiOperation::Topics => "list topics",
        ApiOperation::Plugins => "list plugins",
        ApiOperation::Reload => "reload plugins",
        ApiOperation::ReloadConfig => "reload the configuration",
    }
}

impl Target<'_> {
    fn options(&self) -> Option<Arc<TopicOptions>> {
        match self {
            Target::Topic { options, .. } => options(),
            Target::Pattern(_) | Target::Plugin(_) | Target::Broker => None,
        }
    }
}

#[cfg(test)]
mod tests;
