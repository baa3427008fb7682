//! Plugins: sandboxed components with a thread and a mailbox each. A hook gives a decision and what it wants done as values;
//! nothing here publishes, answers or knows a session's connection.

#[cfg(feature = "plugins")]
mod load;
mod manifest;
mod record;
mod run;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rialto_plugin::Raw;
pub(crate) use rialto_plugin::host::{Effect, SessionMessage};
use rialto_protocol::{Member, Payload};

#[cfg(feature = "plugins")]
pub(crate) use self::load::Host;
#[cfg(feature = "plugins")]
pub(crate) use self::load::compiler::Compiler;
#[cfg(all(feature = "cli", feature = "plugins"))]
pub(crate) use self::load::compiler::{COMMAND, REFUSED};
#[cfg(feature = "plugins")]
pub(crate) use self::load::error::LoadError;
#[cfg(all(feature = "cli", feature = "plugins"))]
pub(crate) use self::load::inspection::Inspection;
#[cfg(all(feature = "cli", feature = "plugins"))]
pub(crate) use self::load::precompile::precompile;
pub(crate) use self::manifest::Manifest;
#[cfg(all(feature = "cli", feature = "plugins"))]
pub(crate) use self::record::replay::{Replayed, replay};
pub(crate) use self::run::health::FailurePolicy;
pub(crate) use self::run::mailbox::{IsNew, Mailbox};
pub(crate) use self::run::native::Native;
pub(crate) use self::run::registry::PluginRegistry;
pub use self::run::status::{FailureReport, PluginHealth};
pub(crate) use self::run::status::{Status, StatusReport};
pub(crate) use self::run::version::{Isolation, OnReplaced, Version};
pub(crate) use self::run::worker::{Surroundings, spawn};

use self::run::hook_context::{Cause, HookHost};
use self::run::instance::{RunningInstance, Start};
use crate::clock::Now;
use crate::store::{KeptTimer, StoreError, Writes};
use crate::topic::Topic;

/// Where running copies of a plugin come from.
pub(crate) trait Source: Send + Sync {
    /// Makes a running copy and calls its `start`. Gives what it says that it serves.
    ///
    /// # Errors
    /// Why it does not run.
    fn start(
        &self,
        host: Box<dyn HookHost>,
        start: &Start<'_>,
        limits: PluginLimits,
        now: Now,
    ) -> Result<(Box<dyn RunningInstance>, Vec<String>), Failed>;
}

/// Something a plugin is told. Each is one hook.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A session has connected to a raw endpoint.
    Connect { session: Member, endpoint: Arc<str> },
    /// A session on a raw endpoint has ended.
    Disconnect { session: Member, endpoint: Arc<str> },
    /// A session on a raw endpoint has sent a message.
    Message { session: Member, endpoint: Arc<str>, message: Raw },
    /// A session wants to subscribe.
    Subscribe { session: Member, topic: Topic },
    /// A session has left.
    Unsubscribe { session: Member, topic: Topic },
    /// Someone published; where that was a plugin, the message came through so many of them.
    Publish { session: Option<Member>, topic: Topic, payload: Payload, hops: u8 },
    /// Someone asks.
    Call { session: Option<Member>, topic: Option<Topic>, method: String, payload: Option<Payload> },
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
            Self::Connect { .. } | Self::Disconnect { .. } | Self::Message { .. } => None,
        }
    }

    /// Why its hook runs.
    fn cause(&self) -> Cause {
        let (session, raw) = match self {
            Self::Connect { session, .. } | Self::Disconnect { session, .. } | Self::Message { session, .. } => {
                (Some(session), true)
            }
            Self::Subscribe { session, .. } | Self::Unsubscribe { session, .. } => (Some(session), false),
            Self::Publish { session, .. } | Self::Call { session, .. } => (session.as_ref(), false),
            Self::Timer { .. } => (None, false),
        };
        let session = session.map(|member| Arc::clone(&member.session));
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
    /// A subscription is let in, or its end was noted.
    Accepted,
    /// A message goes out with this payload; none means as it came.
    Publish(Option<Payload>),
    /// A message goes nowhere.
    Swallow,
    /// The answer to a call.
    Answer(Option<Payload>),
}

/// All that a hook wants done.
#[derive(Clone, Debug)]
pub(crate) struct HookEffects {
    pub(crate) effects: Vec<Effect>,
    /// What is to be kept of its state and timers.
    pub(crate) writes: Writes,
    /// Through how many plugins what it was called for came.
    pub(crate) hops: u8,
}

impl HookEffects {
    /// The timers to be, and whose they are.
    fn timers(&self) -> (Arc<str>, BTreeMap<String, Option<KeptTimer>>) {
        (Arc::clone(&self.writes.namespace), self.writes.timers.clone())
    }
}

/// The outcome of a hook that returned `ok`. Nothing of it has happened yet.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) decision: Decision,
    pub(crate) wanted: HookEffects,
}

impl Done {
    /// The outcome where no hook had to be called.
    fn nothing(namespace: Arc<str>) -> Self {
        let writes = Writes { namespace, values: BTreeMap::new(), timers: BTreeMap::new() };
        let wanted = HookEffects { effects: Vec::new(), writes, hops: 0 };
        Self { decision: Decision::Accepted, wanted }
    }
}

/// Why a hook has no outcome. Nothing that it asked for happens.
#[derive(Clone, Debug)]
pub(crate) enum HookError {
    /// The plugin's decision, for the client.
    Rejected { reason: String, detail: Option<Payload> },
    /// The plugin failed.
    Failed(Failed),
    /// The plugin's state could not be read.
    Storage(StoreError),
    /// The hook was not called, because that was no longer wanted.
    NotWanted,
}

/// A failure of a plugin, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The hook did not return in time.
    #[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "only components have deadlines"))]
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
    /// It failed too often, and is given no chance for now.
    Quarantined,
}

impl Failed {
    /// Whether it counts towards quarantine: the plugin has done something that it must not.
    fn counts(&self) -> bool {
        !matches!(self, Self::Said(_) | Self::Quarantined)
    }

    /// The sentence a client gets: what kind of failure, nothing from inside the plugin.
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
