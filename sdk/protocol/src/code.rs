//! The codes of the protocol: why a request failed and why a connection ended.

use std::fmt;

/// Why a request failed. Clients program against the text form, which never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The frame or one of its fields violates the protocol.
    BadRequest,
    /// Authentication is missing or has failed.
    Unauthorized,
    /// The session may not do this.
    Forbidden,
    /// No such topic, plugin or method.
    NotFound,
    /// The message is larger than the limit.
    TooLarge,
    /// A limit on a number is reached: subscriptions, topics, members.
    TooMany,
    /// The session exceeds a rate limit.
    RateLimited,
    /// The plugin is busy: its mailbox is full; try again.
    Busy,
    /// The token or the position is out of date.
    Expired,
    /// The idempotency key was used with another payload.
    KeyReused,
    /// A plugin rejected the request; `detail` is from the plugin.
    Rejected,
    /// A plugin failed: it trapped, timed out or exceeded a limit.
    PluginFailed,
    /// The feature is not available now, or not enabled.
    Unavailable,
    /// An internal error of the broker.
    Internal,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::TooLarge,
        Self::TooMany,
        Self::RateLimited,
        Self::Busy,
        Self::Expired,
        Self::KeyReused,
        Self::Rejected,
        Self::PluginFailed,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The code with this text form.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// The text form, as in frames.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::TooLarge => "too_large",
            Self::TooMany => "too_many",
            Self::RateLimited => "rate_limited",
            Self::Busy => "busy",
            Self::Expired => "expired",
            Self::KeyReused => "key_reused",
            Self::Rejected => "rejected",
            Self::PluginFailed => "plugin_failed",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why the broker closes a WebSocket: the status codes of RFC 6455 section 7.4 and Rialto's own from 4000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The connection is no longer needed.
    Normal = 1000,
    /// The broker is stopping.
    GoingAway = 1001,
    /// The peer violated RFC 6455.
    ProtocolError = 1002,
    /// A text frame on a MessagePack session, or a binary frame on a JSON session.
    UnsupportedData = 1003,
    /// Text that is not UTF-8.
    InvalidData = 1007,
    /// The peer violated a rule of the broker, such as a deadline.
    PolicyViolation = 1008,
    /// A message over the limit.
    MessageTooBig = 1009,
    /// An internal error of the broker.
    InternalError = 1011,
    /// A limit of the broker is reached; try again later.
    TryAgainLater = 1013,
    /// Slow consumer: the session did not read fast enough for its delivery policy.
    Slow = 4000,
    /// Authentication failed.
    Unauthorized = 4001,
    /// The session's token expired.
    TokenExpired = 4002,
    /// An operator or a plugin ended the session.
    Kicked = 4003,
    /// The peer did not answer a ping.
    NoPong = 4004,
    /// Too many sessions.
    TooMany = 4005,
    /// The session exceeded a rate limit.
    Rate = 4006,
    /// The broker hands its sessions over; resume elsewhere.
    DrainWithResume = 4008,
}

impl CloseCode {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// All codes.
    pub const ALL: [Self; 17] = [
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::UnsupportedData,
        Self::InvalidData,
        Self::PolicyViolation,
        Self::MessageTooBig,
        Self::InternalError,
        Self::TryAgainLater,
        Self::Slow,
        Self::Unauthorized,
        Self::TokenExpired,
        Self::Kicked,
        Self::NoPong,
        Self::TooMany,
        Self::Rate,
        Self::DrainWithResume,
    ];

    /// The code with this number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// Whether a client should reconnect, after the time that it was sent as a hint.
    pub const fn reconnect(self) -> bool {
        matches!(
            self,
            Self::GoingAway
                | Self::InternalError
                | Self::TryAgainLater
                | Self::Slow
                | Self::NoPong
                | Self::TooMany
                | Self::Rate
                | Self::DrainWithResume
        )
    }

    /// Whether an endpoint may put this number into a Close frame (RFC 6455 section 7.4.1 and 7.4.2, IANA registry).
    pub const fn is_legal(number: u16) -> bool {
        matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_close_numbers_are_those_of_the_registry() {
        for (number, legal) in [
            (0, false),
            (999, false),
            (1000, true),
            (1003, true),
            (1004, false),
            (1005, false),
            (1006, false),
            (1007, true),
            (1014, true),
            (1015, false),
            (1016, false),
            (2999, false),
            (3000, true),
            (4999, true),
            (5000, false),
        ] {
            assert_eq!(CloseCode::is_legal(number), legal, "{number}");
        }
    }
}
