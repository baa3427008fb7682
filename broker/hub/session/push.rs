//! Frames for one session, as values until its shard encodes them in the session's wire format.

use bytes::Bytes;
use rialto_protocol::{Failure, Frame, Gap, Payload, Reply};

use crate::hub::InFlightGuard;
use crate::message::{Passage, Wire};
use crate::topic::{Pattern, Topic};
use crate::wire::websocket::{bare_frame, custom_frame, websocket_message};

/// A frame for one session.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) what: What,
    /// The request that this answers is in flight until the frame is in the outbox.
    pub(crate) in_flight: Option<InFlightGuard>,
}

/// The content of a frame.
#[derive(Debug)]
pub(crate) enum What {
    /// The reply to a request. Without an id, success is not reported.
    Reply { id: Option<u64>, outcome: Result<Reply, Failure> },
    /// The reply to `ping`.
    Pong { id: Option<u64>, payload: Option<Payload>, time_ms: u64 },
    /// A presence change: who has joined a topic or left it.
    Passage { topic: Topic, passage: Passage },
    /// Messages of a topic that it will not receive.
    Gap(Gap),
    /// The message of a topic at this offset was removed.
    Removed { topic: Topic, offset: u64 },
    /// A subscription was ended by the broker or a plugin.
    Unsubscribed { topic: Topic, failure: Failure },
    /// A subscription to a pattern was ended by the broker.
    PatternEnded { pattern: Pattern, failure: Failure },
    /// The session's token is about to expire, at this Unix time in milliseconds.
    TokenExpiring { expires_at: u64 },
    /// A frame defined by a plugin; a bare value for a session on a raw endpoint.
    Custom(Payload),
    /// A text message for a session on a raw endpoint.
    Text(String),
    /// A binary message for a session on a raw endpoint.
    Binary(Bytes),
}

impl Push {
    /// Whether the frame must keep its order relative to messages, as those do that say where a subscription begins or
    /// ends.
    pub(in crate::hub) fn keeps_order(&self) -> bool {
        match &self.what {
            What::Reply { outcome: Ok(reply), .. } => {
                matches!(reply, Reply::Subscribed(_) | Reply::SubscribedAll(_) | Reply::Unsubscribed)
            }
            What::Removed { .. } => true,
            What::Passage { .. } | What::Gap(_) | What::Unsubscribed { .. } | What::PatternEnded { .. } => true,
            What::Custom(_) | What::Text(_) | What::Binary(_) => true,
            What::Reply { .. } | What::Pong { .. } | What::TokenExpiring { .. } => false,
        }
    }

    /// The WebSocket frame; none if there is nothing to send.
    pub(in crate::hub) fn encode(&self, wire: Wire) -> Option<Bytes> {
        let frame = match &self.what {
            What::Reply { id, outcome: Ok(reply) } => Frame::Ok { id: (*id)?, reply },
            What::Reply { id, outcome: Err(failure) } => Frame::Error { id: *id, failure },
            What::Pong { id, payload, time_ms } => Frame::Pong { id: *id, payload: payload.as_ref(), time: *time_ms },
            What::Passage { topic, passage } => passage.as_frame(topic.as_str()),
            What::Gap(gap) => Frame::Gap(gap),
            What::Removed { topic, offset } => Frame::Removed { topic: topic.as_str(), offset: *offset },
            What::Unsubscribed { topic, failure } => Frame::Unsubscribed { topic: topic.as_str(), failure },
            What::PatternEnded { pattern, failure } => Frame::Unsubscribed { topic: pattern.as_str(), failure },
            What::TokenExpiring { expires_at } => Frame::TokenExpiring { expires_at: *expires_at },
            What::Custom(payload) => {
                return Some(match wire {
                    Wire::Frames(codec) => custom_frame(codec, payload),
                    Wire::Bare => bare_frame(payload),
                });
            }
            What::Text(text) => return (wire == Wire::Bare).then(|| websocket_message(true, text.as_bytes())),
            What::Binary(bytes) => return (wire == Wire::Bare).then(|| websocket_message(false, bytes)),
        };
        wire.frame(&frame)
    }
}
