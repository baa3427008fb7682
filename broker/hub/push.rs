//! Frames for one session, kept as values until the session's shard writes them in the session's codec.

use bytes::Bytes;
use rialto_protocol::{Codec, Failure, Frame, Gap, Payload, Reply};

use crate::message::websocket_frame;

/// A frame for one session.
#[derive(Debug)]
pub(crate) enum Push {
    /// The answer to a request. Without an id, success is not told.
    Reply { id: Option<u64>, outcome: Result<Reply, Failure> },
    /// The answer to `ping`.
    Pong { id: Option<u64>, payload: Option<Payload>, time_ms: u64 },
    /// Missing messages: stands in line with the messages of its topic.
    Gap(Gap),
}

impl Push {
    /// Whether the frame must keep its place among the messages.
    pub(super) fn in_line(&self) -> bool {
        matches!(self, Self::Gap(_))
    }

    /// The WebSocket frame, if there is anything to tell.
    pub(super) fn encode(&self, codec: Codec) -> Option<Bytes> {
        let frame = match self {
            Self::Reply { id, outcome: Ok(reply) } => Frame::Ok { id: (*id)?, reply },
            Self::Reply { id, outcome: Err(failure) } => Frame::Error { id: *id, failure },
            Self::Pong { id, payload, time_ms } => Frame::Pong { id: *id, payload: payload.as_ref(), time: *time_ms },
            Self::Gap(gap) => Frame::Gap(gap),
        };
        Some(websocket_frame(codec, &frame))
    }
}
