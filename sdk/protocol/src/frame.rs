//! Frames: what the broker says to a session, and how it is written in either codec.

use std::sync::Arc;

use crate::reply::{Present, Reply, write_present, write_reply};
use crate::value::{json, msgpack};
use crate::writer::{Writer, write_failure, write_from, write_member, write_payload};
use crate::{Codec, ErrorCode, Payload};

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
}

/// The first frame of a session.
#[derive(Clone, Debug)]
pub struct Welcome<'a> {
    /// Who the session is.
    pub member: &'a Member,
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
}

impl GapReason {
    /// The reason as it stands in frames.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Reset => "reset",
            Self::Slow => "slow",
            Self::Conflated => "conflated",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Expired, Self::Reset, Self::Slow, Self::Conflated].into_iter().find(|reason| reason.as_str() == name)
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
    /// The connection is about to be closed.
    Closing(&'a Closing),
}

impl Frame<'_> {
    /// Appends the frame to `out`.
    pub fn encode(&self, codec: Codec, out: &mut Vec<u8>) {
        match codec {
            Codec::Json => self.write(&mut json::Writer::new(out)),
            Codec::MessagePack => self.write(&mut msgpack::Writer::new(out)),
        }
    }

    fn write(&self, out: &mut impl Writer) {
        out.map();
        match self {
            Self::Welcome(welcome) => write_welcome(out, welcome),
            Self::Ok { id, reply } => {
                out.text_field("type", "ok");
                out.number_field("id", *id);
                write_reply(out, reply);
            }
            Self::Error { id, failure } => {
                out.text_field("type", "error");
                if let Some(id) = id {
                    out.number_field("id", *id);
                }
                write_failure(out, failure);
            }
            Self::Pong { id, payload, time } => {
                out.text_field("type", "pong");
                if let Some(id) = id {
                    out.number_field("id", *id);
                }
                out.number_field("time", *time);
                if let Some(payload) = payload {
                    write_payload(out, payload);
                }
            }
            Self::Message { topic, offset, time, from, payload } => {
                out.text_field("type", "message");
                out.text_field("topic", topic);
                out.number_field("offset", *offset);
                out.number_field("time", *time);
                write_from(out, *from);
                write_payload(out, payload);
            }
            Self::Gap(gap) => {
                out.text_field("type", "gap");
                out.text_field("topic", &gap.topic);
                out.number_field("from", gap.from);
                out.number_field("to", gap.to);
                out.text_field("reason", gap.reason.as_str());
            }
            Self::Join { topic, member } => write_passage(out, "join", topic, member),
            Self::Leave { topic, member } => write_passage(out, "leave", topic, member),
            Self::Presence { topic, present } => {
                out.text_field("type", "presence");
                out.text_field("topic", topic);
                write_present(out, present);
            }
            Self::Unsubscribed { topic, failure } => {
                out.text_field("type", "unsubscribed");
                out.text_field("topic", topic);
                write_failure(out, failure);
            }
            Self::Closing(closing) => {
                out.text_field("type", "closing");
                out.number_field("code", closing.code.into());
                out.text_field("message", &closing.message);
                if let Some(retry_after_ms) = closing.retry_after_ms {
                    out.number_field("retry_after_ms", retry_after_ms);
                }
            }
        }
        out.end();
    }
}

fn write_welcome(out: &mut impl Writer, welcome: &Welcome<'_>) {
    out.text_field("type", "welcome");
    write_member(out, welcome.member);
    out.text_field("server", welcome.server);
    out.text_field("node", welcome.node);
    out.number_field("ping_ms", welcome.ping_ms);
    out.key("features");
    out.array();
    for feature in welcome.features {
        out.text(feature);
    }
    out.end();
    out.key("limits");
    out.map();
    out.number_field("message_bytes", welcome.limits.message_bytes as u64);
    out.number_field("subscriptions", welcome.limits.subscriptions as u64);
    out.number_field("outbox_bytes", welcome.limits.outbox_bytes as u64);
    out.end();
}

fn write_passage(out: &mut impl Writer, kind: &str, topic: &str, member: &Member) {
    out.text_field("type", kind);
    out.text_field("topic", topic);
    out.key("member");
    out.map();
    write_member(out, member);
    out.end();
}
