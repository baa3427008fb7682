//! One event of a recording: what a hook was called with, asked, was told and came to.

use super::text;
use crate::imports::{Entry, Level, Refusal};
use crate::message::Raw;
use crate::payload::Payload;
use crate::session::Session;
use serde::{Deserialize, Serialize};

/// One hook call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its number among the events of its instance; `start` is 0.
    pub number: u64,
    /// The time of day that the hook saw, Unix milliseconds.
    pub now_ms: u64,
    /// What it was called with.
    pub event: Event,
    /// What it asked and was told, in order.
    pub calls: Vec<HostCall>,
    /// What it came to.
    pub outcome: Outcome,
}

/// What a hook was called with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "hook", rename_all = "kebab-case")]
pub enum Event {
    /// The instance started.
    Start {
        /// Its settings, as JSON.
        config: String,
        /// The one topic it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
    },
    /// A session connected to a raw endpoint.
    OnConnect {
        /// Who.
        session: Session,
        /// Where.
        endpoint: String,
    },
    /// A session on a raw endpoint ended.
    OnDisconnect {
        /// Who.
        session: Session,
        /// Where.
        endpoint: String,
    },
    /// A session on a raw endpoint sent a message.
    OnMessage {
        /// Who.
        session: Session,
        /// Where.
        endpoint: String,
        /// What.
        message: Raw,
    },
    /// A session wanted to subscribe.
    OnSubscribe {
        /// Who.
        session: Session,
        /// To what.
        topic: String,
    },
    /// A session left.
    OnUnsubscribe {
        /// Who.
        session: Session,
        /// What.
        topic: String,
    },
    /// Someone published.
    OnPublish {
        /// Who, if a session did.
        session: Option<Session>,
        /// Where.
        topic: String,
        /// What.
        payload: Payload,
    },
    /// Someone called.
    OnCall {
        /// Who, if a session did.
        session: Option<Session>,
        /// Which topic, if any.
        topic: Option<String>,
        /// What for.
        method: String,
        /// With what.
        payload: Option<Payload>,
    },
    /// A session on a raw endpoint was authenticated, or was not.
    OnAuthenticated {
        /// Who.
        session: Session,
        /// Why it was not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<String>,
    },
    /// A timer was due.
    OnTimer {
        /// Its name.
        name: String,
        /// What it was set with.
        payload: Option<Payload>,
    },
}

impl Event {
    /// The hook's name in the plugin protocol.
    pub fn hook(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::OnConnect { .. } => "on-connect",
            Self::OnDisconnect { .. } => "on-disconnect",
            Self::OnMessage { .. } => "on-message",
            Self::OnSubscribe { .. } => "on-subscribe",
            Self::OnUnsubscribe { .. } => "on-unsubscribe",
            Self::OnPublish { .. } => "on-publish",
            Self::OnCall { .. } => "on-call",
            Self::OnAuthenticated { .. } => "on-authenticated",
            Self::OnTimer { .. } => "on-timer",
        }
    }

    /// What it is about, in a word.
    pub fn about(&self) -> &str {
        match self {
            Self::Start { .. } => "the instance",
            Self::OnConnect { endpoint, .. }
            | Self::OnDisconnect { endpoint, .. }
            | Self::OnMessage { endpoint, .. } => endpoint,
            Self::OnSubscribe { topic, .. } | Self::OnUnsubscribe { topic, .. } | Self::OnPublish { topic, .. } => {
                topic
            }
            Self::OnCall { method, .. } => method,
            Self::OnAuthenticated { session, .. } => &session.id,
            Self::OnTimer { name, .. } => name,
        }
    }
}

/// One host call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostCall {
    /// What the hook asked for.
    #[serde(rename = "ask")]
    pub request: HostRequest,
    /// What the host returned.
    #[serde(rename = "told")]
    pub reply: HostReply,
}

/// A call of a hook to its host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the methods of `Imports` say what these are")]
pub enum HostRequest {
    Publish {
        topic: String,
        payload: Payload,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exclude: Option<String>,
    },
    Remove {
        topic: String,
        offset: u64,
    },
    Send {
        session: String,
        payload: Payload,
    },
    SendRaw {
        session: String,
        message: Raw,
    },
    Sessions {
        topic: String,
        after: Option<String>,
        limit: u32,
    },
    SessionCount {
        topic: String,
    },
    Subscribe {
        session: String,
        topic: String,
    },
    Unsubscribe {
        session: String,
        topic: String,
    },
    Disconnect {
        session: String,
        reason: String,
    },
    /// Without the secret, which no file is to have.
    Authenticate {
        session: String,
        user: String,
    },
    SetTimer {
        name: String,
        delay_ms: u64,
        payload: Option<Payload>,
    },
    CancelTimer {
        name: String,
    },
    TimerDue {
        name: String,
    },
    Get {
        key: String,
    },
    Put {
        key: String,
        #[serde(with = "text::bytes")]
        value: Vec<u8>,
    },
    Delete {
        key: String,
    },
    Scan {
        prefix: String,
        after: Option<String>,
        limit: u32,
    },
    Log {
        #[serde(with = "text::level")]
        level: Level,
        text: String,
    },
    Now,
    Random,
}

/// What a host returns to a hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the methods of `Imports` say what these are")]
pub enum HostReply {
    Done,
    Refused(Refusal),
    Value(#[serde(with = "text::maybe_bytes")] Option<Vec<u8>>),
    Entries(#[serde(with = "text::entries")] Vec<Entry>),
    Sessions(Vec<Session>),
    Number(u64),
    Due(Option<u64>),
}

/// What a hook came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It returned `ok`, and nothing besides.
    Accepted,
    /// `start` said what the plugin serves.
    Serves(Vec<String>),
    /// A message goes out with this payload instead.
    Replaced(Payload),
    /// A message goes nowhere.
    Swallowed,
    /// The answer to a call.
    Reply(Option<Payload>),
    /// The plugin said no.
    Rejected {
        /// Why.
        reason: String,
        /// With what.
        detail: Option<Payload>,
    },
    /// The plugin said that it cannot work.
    Failed(String),
    /// It panicked or trapped; the text says where.
    Trap(String),
    /// A limit ended it.
    Limit(String),
    /// It took too long.
    Deadline,
}
