//! What hooks asked for, as a test looks at it.

use super::Published;
use crate::message::Raw;
use crate::payload::Payload;
use crate::session::Session;
use serde_json::Value;

/// Something that a hook asked for and that happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// A message went out.
    Published(Published),
    /// Something was sent to one session.
    Sent {
        /// To whom.
        session: Session,
        /// What.
        what: Sent,
    },
    /// A session was subscribed.
    Subscribed {
        /// Who.
        session: Session,
        /// To which topic.
        topic: String,
    },
    /// A subscription was ended.
    Unsubscribed {
        /// Whose.
        session: Session,
        /// To which topic.
        topic: String,
    },
    /// A session was ended.
    Disconnected {
        /// Who.
        session: Session,
        /// Why.
        reason: String,
    },
}

/// What was sent to one session.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sent {
    /// A value.
    Payload {
        /// It as plain JSON; bytes are base64 text.
        data: Value,
        /// It as it was encoded.
        payload: Payload,
    },
    /// A message as it is, on a raw endpoint.
    Raw(Raw),
}
