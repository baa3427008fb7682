//! Plugins: sandboxed components with a mailbox each. A hook gives a decision and effects as values; nothing here
//! publishes, answers or knows a session's connection.

mod convert;
mod host;
mod imports;
mod instance;
mod limits;
mod mailbox;
mod manifest;
mod ticker;
mod world;

use std::fmt;

use rialto_protocol::{Member, Payload};

pub(crate) use host::Host;
pub(crate) use instance::Surroundings;
pub(crate) use mailbox::{Mailbox, Wanted};
pub(crate) use manifest::Manifest;

use crate::topic::Topic;

/// Something a plugin is told. Each is one hook.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A session wants to subscribe.
    Subscribe { session: Member, topic: Topic },
    /// A session has left.
    Unsubscribe { session: Member, topic: Topic },
    /// Someone published.
    Publish { session: Option<Member>, topic: Topic, payload: Payload },
    /// Someone asks.
    Call { session: Option<Member>, topic: Option<Topic>, method: String, payload: Option<Payload> },
}

impl Event {
    /// The hook's name in the plugin protocol.
    pub(crate) fn hook(&self) -> &'static str {
        match self {
            Self::Subscribe { .. } => "on-subscribe",
            Self::Unsubscribe { .. } => "on-unsubscribe",
            Self::Publish { .. } => "on-publish",
            Self::Call { .. } => "on-call",
        }
    }

    /// The topic it is about.
    pub(crate) fn topic(&self) -> Option<&Topic> {
        match self {
            Self::Subscribe { topic, .. } | Self::Unsubscribe { topic, .. } | Self::Publish { topic, .. } => {
                Some(topic)
            }
            Self::Call { topic, .. } => topic.as_ref(),
        }
    }
}

/// What a hook decided.
#[derive(Clone, Debug)]
pub(crate) enum Decision {
    /// A subscription is let in, or its end was noted.
    Accepted,
    /// A message goes out with this payload; none means as it came.
    Publish(Option<Payload>),
    /// A message goes nowhere.
    Swallow,
    /// The answer to a call.
    Answer(Option<Payload>),
}

/// What a hook asked for, in order.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// A message to a topic of the plugin.
    Publish { topic: Topic, payload: Payload },
}

/// The outcome of a hook that returned `ok`.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) decision: Decision,
    pub(crate) effects: Vec<Effect>,
}

/// Why a hook has no outcome. Nothing that it asked for happens.
#[derive(Clone, Debug)]
pub(crate) enum HookError {
    /// The plugin's decision, for the client.
    Rejected { reason: String, detail: Option<Payload> },
    /// The plugin failed.
    Failed(Failed),
    /// The hook was not called, because that was no longer wanted.
    NotWanted,
}

/// A failure of a plugin, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The hook did not return in time.
    Deadline { hook_ms: u64 },
    /// The guest trapped; the text is what it said and where.
    Trap(String),
    /// A limit was exceeded.
    Limit(String),
    /// The guest returned something the protocol does not carry.
    Returned(String),
    /// The hook said itself that it could not work.
    Said(String),
    /// No instance runs because starting one failed.
    Start(String),
}

impl Failed {
    /// The sentence a client gets: what kind of failure, nothing from inside the plugin.
    pub(crate) fn for_client(&self) -> String {
        match self {
            Self::Deadline { hook_ms } => format!("it did not answer within {hook_ms} ms"),
            Self::Trap(_) => "it stopped with a trap".to_owned(),
            Self::Limit(_) => "it exceeded one of its limits".to_owned(),
            Self::Returned(_) => "it returned something that is not valid".to_owned(),
            Self::Said(_) => "it could not do its work".to_owned(),
            Self::Start(_) => "it is not running".to_owned(),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline { hook_ms } => write!(f, "deadline of {hook_ms} ms exceeded"),
            Self::Trap(text) => write!(f, "trap: {text}"),
            Self::Limit(text) => write!(f, "limit exceeded: {text}"),
            Self::Returned(text) => write!(f, "invalid return value: {text}"),
            Self::Said(text) => write!(f, "the hook failed: {text}"),
            Self::Start(text) => write!(f, "cannot start: {text}"),
        }
    }
}

/// The limits of one plugin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PluginLimits {
    pub(crate) memory_bytes: usize,
    pub(crate) hook_ms: u64,
    pub(crate) mailbox: usize,
    pub(crate) state_bytes: usize,
    pub(crate) output_bytes: usize,
    pub(crate) host_calls: u64,
    pub(crate) effects: usize,
}
