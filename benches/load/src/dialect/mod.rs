//! The protocols inside the WebSocket messages: what is said to a server and what it says. It touches no socket.

mod mqtt;
mod nats;
mod plain;
mod rialto;

use std::ops::Range;

use rialto_protocol::Codec;

use crate::frame;
use crate::payload::topic_name;
use crate::scenario::{Dialect, Scenario};
use rialto::Rialto;

/// How one connection speaks: a dialect, and in Rialto's a codec.
#[derive(Debug)]
pub(crate) enum Wire {
    Rialto(Rialto),
    Plain,
    Nats,
    Mqtt,
}

/// What a connection is there for.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// Receives these topics.
    Subscriber(Range<u32>),
    /// Sends to these topics.
    Publisher(Range<u32>),
}

/// Something that a server said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    /// A message.
    Message(Delivery<'a>),
    /// These offsets of a topic will not come.
    Gap { topic: u32, from: u64, to: u64 },
    /// A topic is subscribed after this offset.
    Position { topic: u32, offset: u64 },
    /// One of the steps that [`Wire::confirmations`] counts is done.
    Confirmed,
    /// The server says no.
    Refused(String),
    /// What the server wants to have back.
    Answer(&'static [u8]),
}

/// A message and what its envelope said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery<'a> {
    pub(crate) content: &'a [u8],
    /// The topic's hexadecimal digits; empty where the dialect names no topic.
    pub(crate) topic: &'a [u8],
    /// The place in the topic; only Rialto's messages have one.
    pub(crate) offset: Option<u64>,
}

/// What a server said is not in its dialect.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not in its dialect: {0}")]
pub(crate) struct Strange(pub(crate) String);

impl Wire {
    /// The ways in which the subscribers of a scenario speak, to be used in turn.
    pub(crate) fn all(dialect: Dialect, scenario: &Scenario) -> Vec<Self> {
        use crate::scenario::Codecs;
        let content_bytes = Self::content_bytes(dialect, scenario.payload_bytes);
        let rialto =
            |codec| Self::Rialto(Rialto::new(codec, content_bytes, scenario.delivery.as_deref(), scenario.acks));
        match (dialect, scenario.codecs) {
            (Dialect::Plain, _) => vec![Self::Plain],
            (Dialect::Nats, _) => vec![Self::Nats],
            (Dialect::Mqtt, _) => vec![Self::Mqtt],
            (Dialect::Rialto, Codecs::Json) => vec![rialto(Codec::Json)],
            (Dialect::Rialto, Codecs::Msgpack) => vec![rialto(Codec::MessagePack)],
            (Dialect::Rialto, Codecs::Both) => vec![rialto(Codec::Json), rialto(Codec::MessagePack)],
        }
    }

    /// Bytes of the content in a payload of so many bytes: Rialto's payloads are JSON strings, with their quotes.
    pub(crate) fn content_bytes(dialect: Dialect, payload_bytes: u32) -> usize {
        let quotes = if dialect == Dialect::Rialto { 2 } else { 0 };
        (payload_bytes as usize).saturating_sub(quotes)
    }

    /// Whether messages carry offsets.
    pub(crate) fn has_offsets(&self) -> bool {
        matches!(self, Self::Rialto(_))
    }

    /// Whether nothing tells a subscriber that it is one, so that it has to be tried.
    pub(crate) fn needs_probe(&self) -> bool {
        matches!(self, Self::Plain)
    }

    /// Whether a connection can concern more than one topic.
    pub(crate) fn joins_topics(&self) -> bool {
        !matches!(self, Self::Plain)
    }

    /// The path and the subprotocol to ask for.
    pub(crate) fn endpoint(&self, role: &Role) -> (String, Option<&'static str>) {
        match (self, role) {
            (Self::Rialto(rialto), _) => ("/ws".to_owned(), Some(rialto.codec.subprotocol())),
            (Self::Plain, Role::Subscriber(topics)) => (format!("/sub/{}", topic_name(topics.start)), None),
            (Self::Plain, Role::Publisher(topics)) => (format!("/pub/{}", topic_name(topics.start)), None),
            (Self::Nats, _) => ("/".to_owned(), None),
            (Self::Mqtt, _) => ("/".to_owned(), Some("mqtt")),
        }
    }

    /// Appends, as WebSocket messages, what a client says at first. `name` differs between clients.
    pub(crate) fn introduce(&self, name: &str, role: &Role, out: &mut Vec<u8>) {
        match self {
            Self::Rialto(rialto) => {
                if let Role::Subscriber(topics) = role {
                    rialto.subscribe(topics.clone(), out);
                }
            }
            Self::Plain => {}
            Self::Nats => frame::append_client(frame::BINARY, &[&nats::introduction(role)], out),
            Self::Mqtt => frame::append_client(frame::BINARY, &[&mqtt::introduction(name, role)], out),
        }
    }

    /// How many [`Incoming::Confirmed`] follow the introduction.
    pub(crate) fn confirmations(&self, role: &Role) -> u32 {
        match (self, role) {
            (Self::Rialto(_), Role::Subscriber(topics)) => Rialto::confirmations(topics),
            (Self::Plain, Role::Subscriber(_)) => 1,
            (Self::Rialto(_) | Self::Plain, Role::Publisher(_)) => 0,
            (Self::Nats, _) => 1,
            (Self::Mqtt, _) => mqtt::confirmations(role),
        }
    }

    /// Appends a publish, as a WebSocket message.
    pub(crate) fn publish(&self, topic: u32, content: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Rialto(rialto) => rialto.publish(topic, content, out),
            Self::Plain => frame::append_client(frame::TEXT, &[content], out),
            Self::Nats => {
                let head = nats::publish_head(topic, content.len());
                frame::append_client(frame::BINARY, &[&head, content, b"\r\n"], out);
            }
            Self::Mqtt => {
                let head = mqtt::publish_head(topic, content.len());
                frame::append_client(frame::BINARY, &[&head, content], out);
            }
        }
    }

    /// Whether WebSocket messages are but pieces of a stream.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Nats | Self::Mqtt)
    }

    /// Tells what is in a WebSocket message and returns how much of it was understood: all, unless the dialect is a
    /// stream.
    #[inline]
    pub(crate) fn read(&self, message: &[u8], each: &mut impl FnMut(Incoming<'_>)) -> Result<usize, Strange> {
        match self {
            Self::Rialto(rialto) => rialto.read(message, each).map(|()| message.len()),
            Self::Plain => {
                each(plain::read(message));
                Ok(message.len())
            }
            Self::Nats => nats::read(message, each),
            Self::Mqtt => mqtt::read(message, each),
        }
    }
}
