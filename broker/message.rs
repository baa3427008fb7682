//! A message in its place in a topic, and the bytes it travels as. Each codec's bytes are made at most once.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rialto_protocol::{Codec, Encoding, Frame, Member, Payload, Present};

use crate::identity::SessionKey;
use crate::metrics::Metrics;
use crate::topic::Topic;

/// A message that has its offset. Shared by all who receive it.
#[derive(Debug)]
pub(crate) struct Message {
    /// Names the topic's stream in this process; topics that were forgotten and came back have a new one.
    pub(crate) stream: u64,
    pub(crate) topic: Topic,
    pub(crate) offset: u64,
    pub(crate) time_ms: u64,
    pub(crate) from: Option<Member>,
    pub(crate) payload: Payload,
    /// The session that is not sent it, because it published it and wanted no echo.
    pub(crate) except: Option<SessionKey>,
    /// What it tells, where it is no message of a publisher.
    passage: Option<Box<Passage>>,
    frames: [OnceLock<Bytes>; 2],
    /// In a box, because most topics have nobody on a raw endpoint.
    bare: OnceLock<Box<Bytes>>,
}

/// How what is said to a session travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// As frames of the protocol in a codec.
    Frames(Codec),
    /// As bare payloads, on a raw endpoint: JSON in text messages, opaque bytes in binary ones. Nothing else is said.
    Bare,
}

impl Wire {
    pub(crate) const ALL: [Self; 3] = [Self::Frames(Codec::ALL[0]), Self::Frames(Codec::ALL[1]), Self::Bare];

    /// Its place in [`Wire::ALL`].
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Frames(codec) => codec.index(),
            Self::Bare => 2,
        }
    }

    /// A frame of the protocol as it travels, if it does.
    pub(crate) fn frame(self, frame: &Frame<'_>) -> Option<Bytes> {
        match self {
            Self::Frames(codec) => Some(websocket_frame(codec, frame)),
            Self::Bare => None,
        }
    }
}

/// Who came to a topic or left it. It travels like a message, on a stream of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    Join(Member),
    Leave(Member),
    /// How many there are, where they are too many for the others, and who they are once they no longer are.
    Count(Present),
}

/// What a publisher gives; the engine makes a [`Message`] of it.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) payload: Payload,
    /// Who published it, where the topic's rule reveals that.
    pub(crate) from: Option<Member>,
    /// The session that is not sent it.
    pub(crate) except: Option<SessionKey>,
}

impl Message {
    pub(crate) fn new(stream: u64, topic: Topic, offset: u64, time_ms: u64, draft: Draft) -> Self {
        let Draft { payload, from, except } = draft;
        Self {
            stream,
            topic,
            offset,
            time_ms,
            from,
            payload,
            except,
            passage: None,
            frames: Default::default(),
            bare: OnceLock::new(),
        }
    }

    /// What is told those who want to know who is present.
    pub(crate) fn of_passage(stream: u64, topic: Topic, passage: Passage) -> Self {
        let draft = Draft { payload: Payload::bytes(Bytes::new()), from: None, except: None };
        Self { passage: Some(Box::new(passage)), ..Self::new(stream, topic, 0, 0, draft) }
    }

    /// The whole WebSocket frame, header included; server frames are not masked, so all subscribers share the bytes.
    pub(crate) fn frame(&self, wire: Wire, metrics: &Metrics) -> &Bytes {
        let codec = match wire {
            Wire::Frames(codec) => codec,
            Wire::Bare => return self.bare.get_or_init(|| Box::new(bare_frame(&self.payload))),
        };
        self.frames[codec.index()].get_or_init(|| {
            metrics.frame_encoded(codec);
            websocket_frame(codec, &self.as_frame())
        })
    }

    fn as_frame(&self) -> Frame<'_> {
        if let Some(passage) = &self.passage {
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
    /// The frame that tells it.
    pub(crate) fn as_frame<'p>(&'p self, topic: &'p str) -> Frame<'p> {
        match self {
            Self::Join(member) => Frame::Join { topic, member },
            Self::Leave(member) => Frame::Leave { topic, member },
            Self::Count(present) => Frame::Presence { topic, present },
        }
    }
}

/// A message as it is handed from shard to shard.
pub(crate) type SharedMessage = Arc<Message>;

const HEADER_BYTES_MAX: usize = 10;
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

/// A frame of the protocol as one unmasked WebSocket frame (RFC 6455 section 5.2): text for JSON, binary for MessagePack.
pub(crate) fn websocket_frame(codec: Codec, frame: &Frame<'_>) -> Bytes {
    let mut bytes = vec![0; HEADER_BYTES_MAX];
    frame.encode(codec, &mut bytes);
    let mut header = [0; HEADER_BYTES_MAX];
    let opcode = match codec {
        Codec::Json => TEXT,
        Codec::MessagePack => BINARY,
    };
    let length = websocket_header(opcode, bytes.len() - HEADER_BYTES_MAX, &mut header);
    let start = HEADER_BYTES_MAX - length;
    bytes[start..HEADER_BYTES_MAX].copy_from_slice(&header[..length]);
    Bytes::from(bytes).slice(start..)
}

/// A payload without any envelope: JSON as a text message, opaque bytes as a binary one.
pub(crate) fn bare_frame(payload: &Payload) -> Bytes {
    match payload.encoding() {
        Encoding::Bytes => websocket_message(false, payload.content()),
        Encoding::Json | Encoding::MessagePack => websocket_message(true, &payload.to_json()),
    }
}

/// A map of a plugin's own as a frame in a codec.
pub(crate) fn custom_frame(codec: Codec, payload: &Payload) -> Bytes {
    let mut bytes = Vec::new();
    payload.encode(codec, &mut bytes);
    websocket_message(codec == Codec::Json, &bytes)
}

/// Any text or binary message as one unmasked WebSocket frame.
pub(crate) fn websocket_message(text: bool, payload: &[u8]) -> Bytes {
    let mut header = [0; HEADER_BYTES_MAX];
    let length = websocket_header(if text { TEXT } else { BINARY }, payload.len(), &mut header);
    [&header[..length], payload].concat().into()
}

/// How long the unmasked frame is that begins here, header included.
pub(crate) fn websocket_frame_bytes(frames: &[u8]) -> usize {
    let length = |bytes: usize| frames[2..2 + bytes].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    match frames[1] {
        127 => 10 + length(8),
        126 => 4 + length(2),
        short => 2 + usize::from(short),
    }
}

/// A control frame (RFC 6455 section 5.5): ping, pong or close, with at most 125 bytes.
pub(crate) fn websocket_control(opcode: u8, payload: &[u8]) -> Bytes {
    debug_assert!(payload.len() <= 125, "control frames carry at most 125 bytes");
    let mut bytes = Vec::with_capacity(2 + payload.len());
    bytes.push(0x80 | opcode);
    bytes.push(u8::try_from(payload.len()).expect("control frames carry at most 125 bytes"));
    bytes.extend_from_slice(payload);
    bytes.into()
}

/// Writes the header of an unmasked frame with the shortest length form and returns its length.
fn websocket_header(first: u8, payload_bytes: usize, header: &mut [u8; HEADER_BYTES_MAX]) -> usize {
    header[0] = first;
    if payload_bytes < 126 {
        header[1] = payload_bytes as u8;
        2
    } else if let Ok(short) = u16::try_from(payload_bytes) {
        header[1] = 126;
        header[2..4].copy_from_slice(&short.to_be_bytes());
        4
    } else {
        header[1] = 127;
        header[2..10].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_take_the_shortest_length_form() {
        for (payload_bytes, expected) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut header = [0; HEADER_BYTES_MAX];
            let length = websocket_header(TEXT, payload_bytes, &mut header);
            assert_eq!(&header[..length], expected, "{payload_bytes}");
            assert_eq!(websocket_frame_bytes(&header), length + payload_bytes);
        }
    }

    #[test]
    fn a_message_is_encoded_once_per_codec() {
        let metrics = Metrics::default();
        let payload = Payload::json(&"hi").expect("a string is a payload");
        let topic = Topic::parse("a").expect("a topic");
        let message = Message::new(1, topic, 7, 9, Draft { payload, from: None, except: None });
        for _ in 0..3 {
            let frame = message.frame(Wire::Frames(Codec::Json), &metrics);
            assert_eq!(&frame[2..], br#"{"type":"message","topic":"a","offset":7,"time":9,"data":"hi"}"#);
            message.frame(Wire::Frames(Codec::MessagePack), &metrics);
        }
        let counted = metrics.snapshot();
        assert_eq!((counted.frames_encoded_json_total, counted.frames_encoded_msgpack_total), (1, 1));
    }
}
