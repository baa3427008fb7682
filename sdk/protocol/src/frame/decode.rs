//! Decodes a frame from either codec. A frame of a type that this version does not know is passed on, not refused.

use std::sync::Arc;

use bytes::Bytes;

use crate::entries::{Entries, FrameError};
use crate::reply::Answer;
use crate::{
    Closing, Codec, ErrorCode, Failure, Gap, GapReason, Limits, Member, Payload, Position, Present, RequestRates,
};

/// One frame from broker to session, as the session hears it.
#[derive(Clone, Debug)]
pub enum ReceivedFrame<'b> {
    /// The broker speaks first.
    Welcome(Greeting),
    /// A request succeeded.
    Ok {
        /// The request's id.
        id: u64,
        /// What it gave; which of its readings is right depends on what was asked.
        answer: Answer<'b>,
    },
    /// A request failed.
    Error {
        /// The request's id, if the broker could read one.
        id: Option<u64>,
        /// Why.
        failure: Failure,
    },
    /// The answer to `ping`.
    Pong {
        /// The request's id, if it had one.
        id: Option<u64>,
        /// What the ping carried.
        payload: Option<Payload>,
        /// The broker's time, Unix milliseconds.
        time: u64,
    },
    /// A message of a topic.
    Message(ReceivedMessage),
    /// Messages are missing.
    Gap(Gap),
    /// The topic's plugin has removed a message.
    Removed {
        /// The topic.
        topic: Arc<str>,
        /// The message's offset.
        offset: u64,
    },
    /// Somebody came.
    Join {
        /// The topic.
        topic: Arc<str>,
        /// Who.
        member: Member,
    },
    /// Somebody left.
    Leave {
        /// The topic.
        topic: Arc<str>,
        /// Who.
        member: Member,
    },
    /// How many are present, where they are too many for joins and leaves, and the list once they no longer are.
    Presence {
        /// The topic.
        topic: Arc<str>,
        /// Who.
        present: Present,
    },
    /// The broker ended a subscription.
    Unsubscribed {
        /// The topic.
        topic: Arc<str>,
        /// Why.
        failure: Failure,
    },
    /// The session's token is about to expire: a `connect` with another one renews it.
    TokenExpiring {
        /// When, Unix milliseconds.
        expires_at: u64,
    },
    /// The connection is about to be closed.
    Closing(Closing),
    /// A frame of a type that this version does not know: a plugin's own (`x-…`), or a later broker's.
    Unknown {
        /// Its type.
        kind: String,
        /// All of it.
        frame: Payload,
    },
}

/// The first frame of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Who the session is.
    pub member: Member,
    /// The user as one token of a topic, where a topic rule has `{user}`.
    pub user_token: Option<Arc<str>>,
    /// When the session's token expires, Unix milliseconds.
    pub expires_at: Option<u64>,
    /// Name and version of the broker.
    pub server: String,
    /// The broker's node.
    pub node: String,
    /// How often the broker pings a silent session, in milliseconds.
    pub ping_ms: u64,
    /// What this broker offers beyond the core, by name.
    pub features: Vec<String>,
    /// The limits the session is held to.
    pub limits: Limits,
}

/// A message of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// The topic.
    pub topic: Arc<str>,
    /// Its offset.
    pub offset: u64,
    /// When it got its offset, Unix milliseconds.
    pub time: u64,
    /// Who published it, where the topic rule reveals that.
    pub from: Option<Member>,
    /// What it carries.
    pub payload: Payload,
}

impl<'b> ReceivedFrame<'b> {
    /// Decodes the content of one WebSocket message. Payloads are parts of the frame, not copies.
    ///
    /// # Errors
    /// [`FrameError`] where a frame of a known type is not what the protocol says. Unknown fields are passed over.
    pub fn decode(codec: Codec, frame: &'b Bytes) -> Result<Self, FrameError> {
        let entries = Entries::of(codec, frame)?;
        let kind = needed("type", entries.text("type"))?;
        match &*kind {
            "welcome" => greeting(&entries).map(Self::Welcome),
            "ok" => Ok(Self::Ok { id: needed("id", entries.number("id"))?, answer: Answer::new(entries) }),
            "error" => Ok(Self::Error { id: entries.number("id")?, failure: failure(&entries)? }),
            "pong" => {
                let time = needed("time", entries.number("time"))?;
                Ok(Self::Pong { id: entries.number("id")?, payload: entries.payload()?, time })
            }
            "message" => message(&entries).map(Self::Message),
            "gap" => gap(&entries).map(Self::Gap),
            "removed" => {
                Ok(Self::Removed { topic: topic(&entries)?, offset: needed("offset", entries.number("offset"))? })
            }
            "join" => Ok(Self::Join { topic: topic(&entries)?, member: passing(&entries)? }),
            "leave" => Ok(Self::Leave { topic: topic(&entries)?, member: passing(&entries)? }),
            "presence" => {
                let present = needed("count", present(&entries))?;
                Ok(Self::Presence { topic: topic(&entries)?, present })
            }
            "unsubscribed" => Ok(Self::Unsubscribed { topic: topic(&entries)?, failure: failure(&entries)? }),
            "token_expiring" => {
                Ok(Self::TokenExpiring { expires_at: needed("expires_at", entries.number("expires_at"))? })
            }
            "closing" => closing(&entries).map(Self::Closing),
            unknown => {
                let whole = Payload::new(codec.into(), frame.clone()).map_err(FrameError::Frame)?;
                Ok(Self::Unknown { kind: unknown.to_owned(), frame: whole })
            }
        }
    }
}

/// A field that must be there.
pub(crate) fn needed<T>(name: &'static str, field: Result<Option<T>, FrameError>) -> Result<T, FrameError> {
    field?.ok_or(FrameError::Missing(name))
}

pub(crate) fn topic(entries: &Entries<'_>) -> Result<Arc<str>, FrameError> {
    Ok(Arc::from(&*needed("topic", entries.text("topic"))?))
}

pub(crate) fn position(entries: &Entries<'_>) -> Result<Option<Position>, FrameError> {
    let Some(position) = entries.map("position")? else { return Ok(None) };
    let epoch = needed("epoch", position.text("epoch"))?;
    Ok(Some(Position { epoch: Arc::from(&*epoch), offset: needed("offset", position.number("offset"))? }))
}

pub(crate) fn member(entries: &Entries<'_>) -> Result<Member, FrameError> {
    let session = needed("session", entries.text("session"))?;
    let user = entries.text_or_null("user")?;
    let user = user.map(|user| Arc::from(&*user));
    Ok(Member { session: Arc::from(&*session), user, info: info(entries)? })
}

/// What others see of a user.
pub(crate) fn info(entries: &Entries<'_>) -> Result<Option<Arc<Payload>>, FrameError> {
    Ok(entries.value("info")?.map(Arc::new))
}

/// Who published a message, where that is told.
pub(crate) fn publisher(entries: &Entries<'_>) -> Result<Option<Member>, FrameError> {
    entries.map("from")?.map(|from| member(&from)).transpose()
}

/// A code that this version does not know is a fault like any other.
pub(crate) fn failure(entries: &Entries<'_>) -> Result<Failure, FrameError> {
    let code = needed("code", entries.text("code"))?;
    Ok(Failure {
        code: ErrorCode::from_name(&code).unwrap_or(ErrorCode::Internal),
        message: entries.text("message")?.unwrap_or_default().into_owned(),
        retry_after_ms: entries.number("retry_after_ms")?,
        detail: entries.value("detail")?,
    })
}

pub(crate) fn present(entries: &Entries<'_>) -> Result<Option<Present>, FrameError> {
    let Some(count) = entries.number("count")? else { return Ok(None) };
    Ok(Some(Present { count, members: entries.each("members", member)? }))
}

fn passing(entries: &Entries<'_>) -> Result<Member, FrameError> {
    member(&needed("member", entries.map("member"))?)
}

fn greeting(entries: &Entries<'_>) -> Result<Greeting, FrameError> {
    let limits = needed("limits", entries.map("limits"))?;
    let limit = |name| Ok(usize::try_from(needed(name, limits.number(name))?).unwrap_or(usize::MAX));
    Ok(Greeting {
        member: member(entries)?,
        user_token: entries.text("user_token")?.map(|token| Arc::from(&*token)),
        expires_at: entries.number("expires_at")?,
        server: entries.text("server")?.unwrap_or_default().into_owned(),
        node: entries.text("node")?.unwrap_or_default().into_owned(),
        ping_ms: needed("ping_ms", entries.number("ping_ms"))?,
        features: entries.texts("features")?.unwrap_or_default(),
        limits: Limits {
            message_bytes: limit("message_bytes")?,
            subscriptions: limit("subscriptions")?,
            outbox_bytes: limit("outbox_bytes")?,
            rates: rates(&limits)?,
        },
    })
}

/// How much the session may ask for in a second; nothing is limited where nothing is said.
pub(crate) fn rates(entries: &Entries<'_>) -> Result<RequestRates, FrameError> {
    let Some(rates) = entries.map("rates")? else { return Ok(RequestRates::NONE) };
    let to_rate = |per_s: u64| u32::try_from(per_s).unwrap_or(u32::MAX);
    let rate = |name| rates.number(name).map(|per_s| per_s.map(to_rate));
    Ok(RequestRates {
        publishes: rate("publishes")?,
        bytes: rate("bytes")?,
        subscribes: rate("subscribes")?,
        calls: rate("calls")?,
    })
}

fn message(entries: &Entries<'_>) -> Result<ReceivedMessage, FrameError> {
    Ok(ReceivedMessage {
        topic: topic(entries)?,
        offset: needed("offset", entries.number("offset"))?,
        time: needed("time", entries.number("time"))?,
        from: publisher(entries)?,
        payload: needed("data", entries.payload())?,
    })
}

fn gap(entries: &Entries<'_>) -> Result<Gap, FrameError> {
    let reason = needed("reason", entries.text("reason"))?;
    Ok(Gap {
        topic: topic(entries)?,
        from: needed("from", entries.number("from"))?,
        to: needed("to", entries.number("to"))?,
        reason: GapReason::from_name(&reason),
    })
}

fn closing(entries: &Entries<'_>) -> Result<Closing, FrameError> {
    let code = needed("code", entries.number("code"))?;
    Ok(Closing {
        code: u16::try_from(code).map_err(|_| FrameError::Kind("code", "a close code"))?,
        message: entries.text("message")?.unwrap_or_default().into_owned(),
        retry_after_ms: entries.number("retry_after_ms")?,
    })
}
