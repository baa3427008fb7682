//! Errors: one enum for requests, one for the end of a client.

use std::time::Duration;

use rialto_protocol::value::ValueError;
use rialto_protocol::{ErrorCode, Failure};
use thiserror::Error;

/// Why a request failed.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// The broker said no. Nothing happened.
    #[error("{0}")]
    Refused(Failure),
    /// No answer came within the request's deadline.
    #[error("no answer within {within:?}")]
    TimedOut {
        /// The deadline.
        within: Duration,
        /// Whether the broker may have done what was asked.
        may_have_acted: bool,
    },
    /// The connection was lost before the answer came, and the request was one that must not be sent twice.
    #[error("the connection was lost before the answer came")]
    Lost,
    /// The client has ended.
    #[error("{ending}")]
    Closed {
        /// Why.
        ending: Ending,
        /// Whether the broker may have done what was asked.
        may_have_acted: bool,
    },
    /// The broker takes no frames as large as this request. It was not sent.
    #[error("the request has {bytes} bytes, and the broker takes {limit}")]
    TooLarge {
        /// The size of the frame.
        bytes: usize,
        /// The broker's limit.
        limit: usize,
    },
    /// The payload is none that the protocol carries. It was not sent.
    #[error("the payload: {0}")]
    Payload(#[from] ValueError),
    /// This client has a subscription to this topic already.
    #[error("topic \"{0}\" is subscribed to already")]
    Subscribed(String),
    /// A change was asked for of a topic that is not this subscription's.
    #[error("topic \"{0}\" is not one of this subscription")]
    NotSubscribed(String),
    /// A subscription needs a topic.
    #[error("no topic is named")]
    NoTopic,
    /// Patterns are live only: they have no past, no presence, and every message waits.
    #[error("pattern \"{0}\": a position, past messages, presence and delivery policies are for topics only")]
    Pattern(String),
}

impl Error {
    /// Whether the broker may have done what was asked, although that is not known. Never true of a request that the broker
    /// refused.
    #[must_use]
    pub fn may_have_acted(&self) -> bool {
        match self {
            Self::TimedOut { may_have_acted, .. } | Self::Closed { may_have_acted, .. } => *may_have_acted,
            Self::Lost => true,
            _ => false,
        }
    }

    /// The broker's code, where it refused.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(failure) => Some(failure.code),
            _ => None,
        }
    }

    /// When to try again, where the broker said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(failure) => failure.retry_after_ms.map(Duration::from_millis),
            _ => None,
        }
    }
}

/// Why a client has ended. It does not come back by itself.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Ending {
    /// The program asked for it.
    #[error("the client was closed")]
    Asked,
    /// The address is none that this client can reach.
    #[error("address \"{0}\": {1}")]
    Address(String, String),
    /// No session could be begun in the time that [`connect`](crate::Builder::connect) was given.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The broker refused the WebSocket upgrade for good.
    #[error("the broker refused the connection with status {status}: {reason}")]
    Door {
        /// The HTTP status.
        status: u16,
        /// What came with it.
        reason: String,
    },
    /// The broker closed the connection with a code that means "stop".
    #[error("the broker closed the session with {code}: {reason}")]
    Closed {
        /// The close code (RFC 6455 section 7.4, and Rialto's from 4000).
        code: u16,
        /// What came with it.
        reason: String,
    },
    /// The broker did not take what the client signed in with, a token, a password or headers, and not a fresh one either.
    #[error("the broker did not take what the client signed in with: {0}")]
    Unauthorized(String),
}
