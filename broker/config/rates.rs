//! `[rates]` and its check: how much sessions, users and addresses may ask for in a second. It counts nothing.

use super::{
    section::{Report, Section, Value},
    setting::settings,
};

settings! {
    /// Rate limits for what sessions ask for: of one session, of all sessions of a user, and of all sessions without a user
    /// that come from one address (of IPv6 its first 64 bits). 0 is no limit, the default of all. Each allows a burst of one
    /// second's worth. What is beyond is refused with `rate_limited` and `retry_after_ms`. Topic rules may have rates of their
    /// own, beside these.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rates: "[rates]" {
        /// Publishes per second of one session.
        session_publishes: u32 = 0, 0 to 1_000_000 items;
        /// Bytes of payload that one session publishes per second.
        session_bytes: u32 = 0, 0 to 1_000_000_000 bytes;
        /// Topics and patterns that one session subscribes to per second.
        session_subscribes: u32 = 0, 0 to 1_000_000 items;
        /// Calls, and requests for history and presence, per second of one session.
        session_calls: u32 = 0, 0 to 1_000_000 items;
        /// Publishes per second of all sessions of a user.
        user_publishes: u32 = 0, 0 to 1_000_000 items;
        /// Bytes of payload that all sessions of a user publish per second.
        user_bytes: u32 = 0, 0 to 1_000_000_000 bytes;
        /// Topics and patterns that all sessions of a user subscribe to per second.
        user_subscribes: u32 = 0, 0 to 1_000_000 items;
        /// Calls, and requests for history and presence, per second of all sessions of a user.
        user_calls: u32 = 0, 0 to 1_000_000 items;
        /// Publishes per second of all sessions without a user from one address.
        address_publishes: u32 = 0, 0 to 1_000_000 items;
        /// Bytes of payload that all sessions without a user from one address publish per second.
        address_bytes: u32 = 0, 0 to 1_000_000_000 bytes;
        /// Topics and patterns that all sessions without a user from one address subscribe to per second.
        address_subscribes: u32 = 0, 0 to 1_000_000 items;
        /// Calls, and requests for history and presence, per second of all sessions without a user from one address.
        address_calls: u32 = 0, 0 to 1_000_000 items;
        /// New sessions per second from one address: WebSockets, streams and polls. Beyond it they get 429.
        address_sessions: u32 = 0, 0 to 1_000_000 items;
        /// Refusals per second after which a session that goes on all the same is closed with 4006.
        refusals: u32 = 100, 1 to 1_000_000 items;
    }
}

/// How much one client may ask for per second in all topics of a rule, beside what [`Rates`] says; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicRates {
    /// Publishes.
    pub publishes: u32,
    /// Bytes of payload that it publishes.
    pub bytes: u32,
    /// Subscriptions, also by patterns that may select these topics.
    pub subscribes: u32,
    /// Calls, and requests for history and presence.
    pub calls: u32,
}

impl TopicRates {
    /// Whether anything is limited.
    pub(crate) fn are_any(&self) -> bool {
        *self != Self::default()
    }
}

impl Rates {
    /// Whether requests are limited at all.
    pub(crate) fn are_any(&self) -> bool {
        Self { refusals: 0, address_sessions: 0, ..*self } != Self { refusals: 0, ..Self::default() }
    }
}

pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>) -> Rates {
    let mut rates = Rates::default();
    if let Some(section) = Section::open(report, "[rates]", &Rates::TABLE, value) {
        rates.read_keys(report, &section);
    }
    rates
}
