//! Plugins: sandboxed components, each with a thread and a mailbox. A hook returns its decision and its effects as values;
//! nothing here publishes, replies or knows a session's connection.

#[cfg(any(feature = "cli", feature = "plugins"))]
mod componentize;
#[cfg(feature = "plugins")]
mod load;
mod manifest;
mod protocol;
#[cfg(all(feature = "cli", feature = "plugins"))]
mod replay;
mod run;
mod session;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rialto_plugin::Raw;
pub(crate) use rialto_plugin::host::{Credentials, Effect, SessionMessage};
use rialto_protocol::Payload;

#[cfg(feature = "cli")]
pub(crate) use self::componentize::{can_componentize, componentize};
#[cfg(feature = "plugins")]
pub(crate) use self::load::Host;
#[cfg(feature = "plugins")]
pub(crate) use self::load::compiler::Compiler;
#[cfg(all(feature = "cli", feature = "plugins"))]
pub(crate) use self::load::compiler::{COMMAND, REFUSED};
#[cfg(feature = "plugins")]
pub(crate) use self::load::engine_settings::MemoryReservation;
#[cfg(feature = "plugins")]
pub(crate) use self::load::error::LoadError;
#[cfg(all(feature = "cli", feature = "plugins"))]
pub(crate) use self::load::inspection::Inspection;
#[cfg(all(feature = "cli", feature = "plugins"))]
pub(crate) use self::load::precompile::precompile;
pub(crate) use self::manifest::Manifest;
pub(crate) use self::protocol::Protocol;
#[cfg(all(feature = "cli", feature = "plugins"))]
pub(crate) use self::replay::{Replayed, replay};
pub(crate) use self::run::health::FailurePolicy;
pub(crate) use self::run::mailbox::{Commitment, HookRequest, Lane, Mailbox};
pub(crate) use self::run::native::Native;
pub(crate) use self::run::pending::MembershipChange;
pub(crate) use self::run::registry::{PluginRegistry, Verified};
pub(crate) use self::run::state::Generation;
pub use self::run::status::{FailureReport, PluginHealth};
pub(crate) use self::run::status::{Status, StatusReport};
pub(crate) use self::run::version::{Isolation, PendingReplacement, Replacement, ThreadEnded, Version};
pub(crate) use self::run::worker::{Surroundings, spawn};
pub(crate) use self::session::PluginSession;

use self::run::hook_context::{Cause, HookHost};
use self::run::instance::{RunningInstance, Start};
use crate::clock::Now;
use crate::store::{KeptTimer, StoreError, Writes};
use crate::topic::Topic;

/// Makes instances of a plugin: a compiled component or a native factory.
pub(crate) trait Source: Send + Sync {
    /// The version of the plugin protocol that it is for.
    fn protocol(&self) -> Protocol;

    /// Makes an instance and calls its `start`. Returns the topics that it says it serves.
    ///
    /// # Errors
    /// Why the instance did not start.
    fn start(
        &self,
        host: Box<dyn HookHost>,
        start: &Start<'_>,
        limits: PluginLimits,
        now: Now,
    ) -> Result<(Box<dyn RunningInstance>, Vec<String>), Failed>;
}

/// An event for a plugin. Each kind calls one hook.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A session has connected to a raw endpoint.
    Connect { session: PluginSession, endpoint: Arc<str> },
    /// A session on a raw endpoint has ended.
    Disconnect { session: PluginSession, endpoint: Arc<str> },
    /// A session on a raw endpoint has sent a message.
    Message { session: PluginSession, endpoint: Arc<str>, message: Raw },
    /// A session on a raw endpoint has been authenticated, as a hook asked, or has not, for this reason.
    Authenticated { session: PluginSession, outcome: Result<(), String> },
    /// A session asks to subscribe.
    Subscribe { session: PluginSession, topic: Topic },
    /// A session has left.
    Unsubscribe { session: PluginSession, topic: Topic },
    /// A message was published; `hops` counts the plugins that it has come through.
    Publish { session: Option<PluginSession>, topic: Topic, payload: Payload, hops: u8 },
    /// A call, of a session, an API key or the embedding program.
    Call { session: Option<PluginSession>, topic: Option<Topic>, method: String, payload: Option<Payload> },
    /// A timer is due, of the plugin or of the instance of one topic.
    Timer { topic: Option<Topic>, name: String, payload: Option<Payload> },
}

impl Event {
    /// The hook's name in the plugin protocol.
    pub(crate) fn hook(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "on-connect",
            Self::Disconnect { .. } => "on-disconnect",
            Self::Message { .. } => "on-message",
            Self::Authenticated { .. } => "on-authenticated",
            Self::Subscribe { .. } => "on-subscribe",
            Self::Unsubscribe { .. } => "on-unsubscribe",
            Self::Publish { .. } => "on-publish",
            Self::Call { .. } => "on-call",
            Self::Timer { .. } => "on-timer",
        }
    }

    /// The topic it is about.
    pub(crate) fn topic(&self) -> Option<&Topic> {
        match self {
            Self::Subscribe { topic, .. } | Self::Unsubscribe { topic, .. } | Self::Publish { topic, .. } => {
                Some(topic)
            }
            Self::Call { topic, .. } | Self::Timer { topic, .. } => topic.as_ref(),
            Self::Connect { .. } | Self::Disconnect { .. } | Self::Message { .. } | Self::Authenticated { .. } => None,
        }
    }

    /// The session that caused it, if one did.
    pub(crate) fn session(&self) -> Option<&PluginSession> {
        match self {
            Self::Connect { session, .. }
            | Self::Disconnect { session, .. }
            | Self::Message { session, .. }
            | Self::Authenticated { session, .. }
            | Self::Subscribe { session, .. }
            | Self::Unsubscribe { session, .. } => Some(session),
            Self::Publish { session, .. } | Self::Call { session, .. } => session.as_ref(),
            Self::Timer { .. } => None,
        }
    }

    /// Why its hook runs.
    fn cause(&self) -> Cause {
        let raw = matches!(
            self,
            Self::Connect { .. } | Self::Disconnect { .. } | Self::Message { .. } | Self::Authenticated { .. }
        );
        let session = self.session().map(|session| Arc::clone(&session.id));
        match self {
            Self::Timer { name, .. } => Cause { timer: Some(name.clone()), ..Cause::default() },
            Self::Publish { hops, .. } => Cause { session, raw, hops: *hops, ..Cause::default() },
            _ => Cause { session, raw, ..Cause::default() },
        }
    }
}

/// What a hook decided.
#[derive(Clone, Debug)]
pub(crate) enum Decision {
    /// The hook returned `ok`: a subscription is admitted, an end is noted.
    Accepted,
    /// The message is published with this payload; none is the payload of the request.
    Publish(Option<Payload>),
    /// The message is not published, and the request succeeds.
    Swallow,
    /// The answer to a call.
    Answer(Option<Payload>),
}

/// The effects of a hook: what it asked the host for, to be committed together.
#[derive(Clone, Debug)]
pub(crate) struct HookEffects {
    /// In the order in which the hook asked for them.
    pub(crate) requested: Vec<Effect>,
    /// Writes to its state and timers.
    pub(crate) writes: Writes,
    /// How many plugins the cause of the hook has come through.
    pub(crate) hops: u8,
}

impl HookEffects {
    /// No effect and no write.
    pub(crate) fn none(namespace: Arc<str>) -> Self {
        let writes = Writes { namespace, values: BTreeMap::new(), timers: BTreeMap::new() };
        Self { requested: Vec::new(), writes, hops: 0 }
    }

    /// The changes to timers, and the namespace of these.
    fn timers(&self) -> (Arc<str>, BTreeMap<String, Option<KeptTimer>>) {
        (Arc::clone(&self.writes.namespace), self.writes.timers.clone())
    }
}

/// The outcome of a hook that returned `ok`. Nothing of it is committed yet.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) decision: Decision,
    pub(crate) effects: HookEffects,
    /// What of the state the hook could read.
    pub(crate) generation: Generation,
    /// Whether its event made the session a member, which it was not before.
    pub(crate) joined: bool,
}

impl Done {
    /// The outcome of an event that calls no hook.
    pub(crate) fn nothing(namespace: Arc<str>, generation: Generation) -> Self {
        Self::of(Decision::Accepted, HookEffects::none(namespace), generation)
    }

    /// The outcome of a hook.
    fn of(decision: Decision, effects: HookEffects, generation: Generation) -> Self {
        Self { decision, effects, generation, joined: false }
    }
}

/// Why a hook has no outcome. None of its effects is committed.
#[derive(Clone, Debug)]
pub(crate) enum HookError {
    /// The plugin's decision, for the client.
    Rejected { reason: String, detail: Option<Payload> },
    /// The plugin failed.
    Failed(Failed),
    /// The plugin's state could not be read.
    Storage(StoreError),
    /// The hook was not called: its idempotency key is known by now.
    NotCalled,
}

/// A failure of a plugin, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The hook did not return in time.
    #[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "only components have deadlines"))]
    Deadline { hook_ms: u64 },
    /// The guest trapped; the text is its message and where.
    Trap(String),
    /// A limit was exceeded.
    Limit(String),
    /// The guest returned something the protocol does not carry.
    Returned(String),
    /// The hook returned `failed`.
    Said(String),
    /// No instance runs because starting one failed.
    Start(String),
    /// The plugin failed too often and is quarantined.
    Quarantined,
}

impl Failed {
    /// Whether it counts towards quarantine: the plugin broke a rule or a limit.
    fn counts(&self) -> bool {
        !matches!(self, Self::Said(_) | Self::Quarantined)
    }

    /// What kind of failure it is, in a word.
    fn kind(&self) -> &'static str {
        match self {
            Self::Deadline { .. } => "deadline",
            Self::Trap(_) => "trap",
            Self::Limit(_) => "limit",
            Self::Returned(_) => "returned",
            Self::Said(_) => "said",
            Self::Start(_) => "start",
            Self::Quarantined => "quarantined",
        }
    }

    /// The text for clients: the kind of failure, and nothing from inside the plugin.
    pub(crate) fn for_client(&self) -> String {
        match self {
            Self::Deadline { hook_ms } => format!("it did not answer within {hook_ms} ms"),
            Self::Trap(_) => "it stopped with a trap".to_owned(),
            Self::Limit(_) => "it exceeded one of its limits".to_owned(),
            Self::Returned(_) => "it returned something that is not valid".to_owned(),
            Self::Said(_) => "it could not do its work".to_owned(),
            Self::Start(_) => "it is not running".to_owned(),
            Self::Quarantined => "it failed too often and is quarantined".to_owned(),
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
            Self::Quarantined => f.write_str("quarantined after too many failures"),
        }
    }
}

/// The limits of one plugin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PluginLimits {
    #[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "bounds components only"))]
    pub(crate) memory_bytes: usize,
    #[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "bounds components only"))]
    pub(crate) hook_ms: u64,
    pub(crate) mailbox: usize,
    pub(crate) state_bytes: usize,
    pub(crate) output_bytes: usize,
    pub(crate) host_calls: u64,
    pub(crate) effects: usize,
    pub(crate) timers: usize,
}
