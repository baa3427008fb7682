//! The two codecs of the protocol and the WebSocket subprotocols that name them.

/// How the frames of a session are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// JSON (RFC 8259) in text frames.
    Json,
    /// MessagePack in binary frames.
    MessagePack,
}

impl Codec {
    /// Both codecs, for tables indexed by [`Codec::index`].
    pub const ALL: [Self; 2] = [Self::Json, Self::MessagePack];

    /// The WebSocket subprotocol (RFC 6455 section 1.9) that stands for this codec.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "rialto.v1.json",
            Self::MessagePack => "rialto.v1.msgpack",
        }
    }

    /// The codec a subprotocol stands for.
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.subprotocol() == name)
    }

    /// The place of this codec in a table with one entry per codec.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The codec's name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MessagePack => "msgpack",
        }
    }
}
