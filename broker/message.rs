//! A message at its offset in a topic, and its encoded frames. Each codec encodes it at most once.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rialto_protocol::{Codec, Frame, Gap, GapReason, Member, Payload, Present};

use crate::identity::{SessionKey, StreamId};
use crate::metrics::Metrics;
use crate::topic::Topic;
use crate::wire::websocket::{bare_frame, websocket_frame};

/// A published message. All recipients share it.
#[derive(Debug)]
pub(crate) struct Message {
    /// The stream that the hub delivers it by.
    pub(crate) stream: StreamId,
    pub(crate) topic: Topic,
    pub(crate) offset: u64,
    pub(crate) time_ms: u64,
    /// Who published it, where the topic's rule reveals that. Not in a box: a message must not be as large as a topic's entry, or
    /// the allocator has pages with both, and returns none of them when topics are removed.
    pub(crate) from: Option<Member>,
    pub(crate) payload: Payload,
    /// The publisher's session, if it asked not to be sent its own message (`echo: false`).
    pub(crate) except: Option<SessionKey>,
    /// What it is, if it is not a publisher's message.
    notice: Option<Box<Notice>>,
    frames: [OnceLock<Bytes>; 2],
    /// In a box, because most topics have no subscriber on a raw endpoint.
    bare: OnceLock<Box<Bytes>>,
}

/// How frames are sent to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// As frames of the protocol in a codec.
    Frames(Codec),
    /// As bare payloads, on a raw endpoint: JSON in text messages, opaque bytes in binary ones. No other frame is sent.
    Bare,
}

impl Wire {
    pub(crate) const ALL: [Self; 3] = [Self::Frames(Codec::ALL[0]), Self::Frames(Codec::ALL[1]), Self::Bare];

    /// Its index in [`Wire::ALL`].
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Frames(codec) => codec.index(),
            Self::Bare => 2,
        }
    }

    /// The bytes of a frame of the protocol; none on a raw endpoint.
    pub(crate) fn frame(self, frame: &Frame<'_>) -> Option<Bytes> {
        match self {
            Self::Frames(codec) => Some(websocket_frame(codec, frame)),
            Self::Bare => None,
        }
    }
}

/// What is delivered, or kept, like a message.
#[derive(Debug)]
enum Notice {
    /// A presence event.
    Passage(Passage),
    /// A message was here and was removed.
    Removed,
}

/// A presence event: a member joined or left. It is delivered like a message, on a stream of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    Join(Member),
    Leave(Member),
    /// The number of members while they are too many to be listed, and the list once they no longer are.
    Count(Present),
}

/// A message before it has an offset; the engine makes a [`Message`] of it.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) payload: Payload,
    /// Who published it, where the topic's rule reveals that.
    pub(crate) from: Option<Member>,
    /// The session that is not sent the message.
    pub(crate) except: Option<SessionKey>,
}

impl Message {
    pub(crate) fn new(stream: StreamId, topic: Topic, offset: u64, time_ms: u64, draft: Draft) -> Self {
        let Draft { payload, from, except } = draft;
        Self {
            stream,
            topic,
            offset,
            time_ms,
            // Messages do not show what a token says of its bearer, so they do not keep it either.
            from: from.map(|from| Member { info: None, ..from }),
            payload,
            except,
            notice: None,
            frames: Default::default(),
            bare: OnceLock::new(),
        }
    }

    /// A presence event as a message.
    pub(crate) fn of_passage(stream: StreamId, topic: Topic, passage: Passage) -> Self {
        let draft = Draft { payload: Payload::bytes(Bytes::new()), from: None, except: None };
        let notice = Some(Box::new(Notice::Passage(passage)));
        Self { notice, ..Self::new(stream, topic, 0, 0, draft) }
    }

    /// What takes the place of this message when it is removed: a gap of one offset.
    pub(crate) fn tombstone(&self) -> Self {
        let draft = Draft { payload: Payload::bytes(Bytes::new()), from: None, except: self.except };
        let notice = Some(Box::new(Notice::Removed));
        Self { notice, ..Self::new(self.stream, self.topic.clone(), self.offset, self.time_ms, draft) }
    }

    /// Whether it is the place of a message that was removed.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.notice.as_ref().is_some_and(|notice| matches!(**notice, Notice::Removed))
    }

    /// The whole WebSocket frame, header included; server frames are not masked, so all subscribers share the bytes.
    pub(crate) fn frame(&self, wire: Wire, metrics: &Metrics) -> &Bytes {
        let codec = match wire {
            Wire::Frames(codec) => codec,
            Wire::Bare => return self.bare.get_or_init(|| Box::new(bare_frame(&self.payload))),
        };
        self.frames[codec.index()].get_or_init(|| {
            metrics.frame_encoded(codec);
            match self.is_tombstone() {
                true => websocket_frame(codec, &Frame::Gap(&removed_gap(&self.topic, self.offset))),
                false => websocket_frame(codec, &self.as_frame()),
            }
        })
    }

    fn as_frame(&self) -> Frame<'_> {
        if let Some(Notice::Passage(passage)) = self.notice.as_deref() {
            return passage.as_frame(self.topic.as_str());
        }
        Frame::Message {
            topic: self.topic.as_str(),
            offset: self.offset,
            time: self.time_ms,
            from: self.from.as_ref(),
            payload: &self.payload,
        }
    }
}

impl Passage {
    /// The frame of the event.
    pub(crate) fn as_frame<'p>(&'p self, topic: &'p str) -> Frame<'p> {
        match self {
            Self::Join(member) => Frame::Join { topic, member },
            Self::Leave(member) => Frame::Leave { topic, member },
            Self::Count(present) => Frame::Presence { topic, present },
        }
    }
}

/// The gap that a session gets in the place of a message that was removed.
pub(crate) fn removed_gap(topic: &Topic, offset: u64) -> Gap {
    Gap { topic: topic.as_str().into(), from: offset, to: offset, reason: GapReason::Removed }
}

/// A message as the shards share it.
pub(crate) type SharedMessage = Arc<Message>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_encoded_once_per_codec() {
        let metrics = Metrics::default();
        let payload = Payload::json(&"hi").expect("a string is a payload");
        let topic = Topic::parse("a").expect("a topic");
        let message = Message::new(StreamId::topic(1), topic, 7, 9, Draft { payload, from: None, except: None });
        for _ in 0..3 {
            let frame = message.frame(Wire::Frames(Codec::Json), &metrics);
            assert_eq!(&frame[2..], br#"{"type":"message","topic":"a","offset":7,"time":9,"data":"hi"}"#);
            message.frame(Wire::Frames(Codec::MessagePack), &metrics);
        }
        let counted = metrics.snapshot();
        assert_eq!((counted.frames_encoded_json_total, counted.frames_encoded_msgpack_total), (1, 1));
    }
}
