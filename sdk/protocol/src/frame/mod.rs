//! Frames: what the broker sends to a session. `encode` is the broker's side, `decode` the client's.

mod decode;
mod encode;

use std::sync::Arc;

use crate::reply::{Present, Reply};
use crate::{ErrorCode, Payload};

pub use self::decode::{Greeting, ReceivedFrame, ReceivedMessage};
pub(crate) use self::decode::{failure, info, needed, position, present, publisher, rates, topic};

/// A place in the order of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Names one unbroken run of offsets; a new one means that history was lost.
    pub epoch: Arc<str>,
    /// Counts 1, 2, 3 … within the epoch; 0 is before the first message.
    pub offset: u64,
}

/// A session as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The session's id.
    pub session: Arc<str>,
    /// Who it authenticated as.
    pub user: Option<Arc<str>>,
    /// What its token says of the user for others to see, the claim `info`: in presence, and to the session itself.
    pub info: Option<Arc<Payload>>,
}

impl Member {
    /// A session without a user.
    pub fn anonymous(session: impl Into<Arc<str>>) -> Self {
        Self { session: session.into(), user: None, info: None }
    }
}

/// The first frame of a session.
#[derive(Clone, Debug)]
pub struct Welcome<'a> {
    /// Who the session is.
    pub member: &'a Member,
    /// When its token expires, Unix milliseconds.
    pub expires_at: Option<u64>,
    /// Name and version of the broker.
    pub server: &'a str,
    /// The broker's node.
    pub node: &'a str,
    /// How often the broker pings, in milliseconds.
    pub ping_ms: u64,
    /// What this broker offers beyond the core, by name.
    pub features: &'a [&'a str],
    /// The limits the session is held to.
    pub limits: Limits,
}

/// The limits a session is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest message a session may send, in bytes.
    pub message_bytes: usize,
    /// How many topics it may subscribe to.
    pub subscriptions: usize,
    /// How many bytes may wait for it.
    pub outbox_bytes: usize,
    /// How much it may ask for in a second.
    pub rates: RequestRates,
}

/// How much a session may ask for in a second: of each kind the lowest limit of the session and of its user or address. Topic
/// rules may have lower ones. None: there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestRates {
    /// Publishes.
    pub publishes: Option<u32>,
    /// Bytes of payload that it publishes.
    pub bytes: Option<u32>,
    /// Topics and patterns that it subscribes to.
    pub subscribes: Option<u32>,
    /// Calls, and requests for history and presence.
    pub calls: Option<u32>,
}

impl RequestRates {
    /// Nothing is limited.
    pub const NONE: Self = Self { publishes: None, bytes: None, subscribes: None, calls: None };
}

/// Why a request failed, as the client is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    /// The code.
    pub code: ErrorCode,
    /// A sentence for a person.
    pub message: String,
    /// When a retry makes sense.
    pub retry_after_ms: Option<u64>,
    /// More for the client's program.
    pub detail: Option<Payload>,
}

impl Failure {
    /// A failure with a code and a sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None, detail: None }
    }

    /// The same failure with a hint when to try again.
    #[must_use]
    pub fn retry_after_ms(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }
}

/// Why messages are missing from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// They are no longer kept.
    Expired,
    /// The topic's order began anew.
    Reset,
    /// The session did not read fast enough.
    Slow,
    /// Later messages took their place, as the delivery policy says.
    Conflated,
    /// The topic's plugin has removed them.
    Removed,
    /// Not known: a client found the hole itself, or a later broker gave a reason that this version does not know. Brokers
    /// of this version never send it.
    Unknown,
}

impl GapReason {
    /// The reason as it stands in frames.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Reset => "reset",
            Self::Slow => "slow",
            Self::Conflated => "conflated",
            Self::Removed => "removed",
            Self::Unknown => "unknown",
        }
    }

    /// The reason with this name; one that this version does not know is [`GapReason::Unknown`].
    pub(crate) fn from_name(name: &str) -> Self {
        let known = [Self::Expired, Self::Reset, Self::Slow, Self::Conflated, Self::Removed];
        known.into_iter().find(|reason| reason.as_str() == name).unwrap_or(Self::Unknown)
    }
}

/// Tells a session that it will not see some messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The topic.
    pub topic: Arc<str>,
    /// The first offset missing.
    pub from: u64,
    /// The last offset missing.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

/// Tells a session that its connection is about to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The code of the WebSocket close that follows.
    pub code: u16,
    /// A sentence for a person.
    pub message: String,
    /// When to connect again; absent means not to.
    pub retry_after_ms: Option<u64>,
}

/// One frame from broker to session.
#[derive(Clone, Debug)]
pub enum Frame<'a> {
    /// The broker speaks first.
    Welcome(Welcome<'a>),
    /// A request succeeded.
    Ok {
        /// The request's id.
        id: u64,
        /// What it gave.
        reply: &'a Reply,
    },
    /// A request failed.
    Error {
        /// The request's id, if it had one.
        id: Option<u64>,
        /// Why.
        failure: &'a Failure,
    },
    /// The answer to `ping`.
    Pong {
        /// The request's id, if it had one.
        id: Option<u64>,
        /// What the ping carried.
        payload: Option<&'a Payload>,
        /// The broker's time, Unix milliseconds.
        time: u64,
    },
    /// A message of a topic.
    Message {
        /// The topic.
        topic: &'a str,
        /// The message's offset.
        offset: u64,
        /// When it got its offset, Unix milliseconds.
        time: u64,
        /// Who published it, where the topic rule reveals that.
        from: Option<&'a Member>,
        /// What it carries.
        payload: &'a Payload,
    },
    /// Messages are missing.
    Gap(&'a Gap),
    /// The topic's plugin has removed a message.
    Removed {
        /// The topic.
        topic: &'a str,
        /// The message's offset.
        offset: u64,
    },
    /// Somebody came.
    Join {
        /// The topic.
        topic: &'a str,
        /// Who.
        member: &'a Member,
    },
    /// Somebody left.
    Leave {
        /// The topic.
        topic: &'a str,
        /// Who.
        member: &'a Member,
    },
    /// How many are present now, where they are too many for joins and leaves, and the list once they no longer are.
    Presence {
        /// The topic.
        topic: &'a str,
        /// Who.
        present: &'a Present,
    },
    /// A subscription has ended that the session did not end itself.
    Unsubscribed {
        /// The topic.
        topic: &'a str,
        /// Why.
        failure: &'a Failure,
    },
    /// The session's token is about to expire: a `connect` with another one renews it.
    TokenExpiring {
        /// When, Unix milliseconds.
        expires_at: u64,
    },
    /// The connection is about to be closed.
    Closing(&'a Closing),
}
