//! What a client reports to its program: about the connection as a whole, and about one subscription.

use std::sync::Arc;
use std::time::Duration;

use rialto_protocol::{Failure, Gap, Limits, Member, Payload, Position, Present, ReceivedMessage};

use crate::Ending;

/// What happened to the connection, or to any subscription on it; see [`Client::events`](crate::Client::events).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A session has begun. Subscriptions and unanswered requests follow by themselves.
    Connected(Session),
    /// The connection was lost, or an attempt to connect failed. The client comes back by itself.
    Disconnected {
        /// The WebSocket close code or the HTTP status; none when there was neither.
        code: Option<u16>,
        /// What is known about why.
        reason: String,
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// A subscription goes on in a new session.
    Resumed(Resumed),
    /// Messages of a topic will not come; once, however many subscriptions select it.
    Gap(Gap),
    /// What a plugin pushed to this session alone.
    Pushed {
        /// Its type, `x-…`.
        kind: String,
        /// All of it.
        frame: Payload,
    },
    /// The client has ended and does not come back.
    Closed(Ending),
}

/// A session, as the broker introduced it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id, and who it authenticated as.
    pub member: Member,
    /// Name and version of the broker.
    pub server: String,
    /// The broker's node.
    pub node: String,
    /// The limits it is held to. Its rates are those of its user, once it has one; topic rules may have lower ones.
    pub limits: Limits,
}

/// How a subscription goes on in a new session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The topic or pattern.
    pub topic: Arc<str>,
    /// Where the topic stands; none for a pattern.
    pub position: Option<Position>,
    /// Whether nothing was missed. If not, gaps report what was missed; of patterns and subscriptions that are live only
    /// it is not reported.
    pub recovered: bool,
}

/// What a subscription receives, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// A message.
    Message(ReceivedMessage),
    /// Messages that will not come.
    Gap(Gap),
    /// The topic's plugin has removed a message: what was received of it is not to be shown any more.
    Removed {
        /// The topic.
        topic: Arc<str>,
        /// The message's offset.
        offset: u64,
    },
    /// The subscription goes on in a new session.
    Resumed(Resumed),
    /// A member joined.
    Join {
        /// The topic.
        topic: Arc<str>,
        /// Who.
        member: Member,
    },
    /// A member left.
    Leave {
        /// The topic.
        topic: Arc<str>,
        /// Who.
        member: Member,
    },
    /// Who is present now, or how many where they are too many to be listed; it replaces what was known before.
    Presence {
        /// The topic.
        topic: Arc<str>,
        /// Who.
        present: Present,
    },
    /// The broker ended the subscription to a topic, or refused it in a new session.
    Ended {
        /// The topic or pattern.
        topic: Arc<str>,
        /// Why.
        failure: Failure,
    },
}

impl Item {
    /// The topic it is about; for a pattern [`Item::Resumed`] and [`Item::Ended`] name the pattern.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        match self {
            Self::Message(message) => &message.topic,
            Self::Gap(gap) => &gap.topic,
            Self::Resumed(resumed) => &resumed.topic,
            Self::Removed { topic, .. }
            | Self::Join { topic, .. }
            | Self::Leave { topic, .. }
            | Self::Presence { topic, .. }
            | Self::Ended { topic, .. } => topic,
        }
    }
}
