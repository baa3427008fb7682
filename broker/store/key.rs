//! Idempotency keys: who used them for what, and what that came to. It looks nothing up.

use std::sync::Arc;

use rialto_protocol::{Encoding, Payload, Position};
use sha2::{Digest as _, Sha256};

use crate::topic::Topic;

/// What a key is unique in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Requests about one topic.
    Topic(Topic),
    /// Calls of a plugin that name no topic.
    Plugin(Arc<str>),
}

/// An idempotency key that a caller chose.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) owner: KeyOwner,
    pub(crate) text: Arc<str>,
}

/// Whose idempotency keys these are: the same text is another key for each of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyOwner {
    /// All sessions of one user.
    User(Arc<str>),
    /// All sessions of one client without a user, by the secret that it made up.
    Instance(Arc<str>),
    /// One session without a user whose client has made up no secret.
    Session(Arc<str>),
    /// A program that uses the HTTP API, by the name of its API key.
    Program(Arc<str>),
    /// A plugin, by its name.
    Plugin(Arc<str>),
    /// The program that embeds the broker.
    Embedder,
}

impl KeyOwner {
    /// Bytes of its name.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Embedder => 0,
            Self::User(name)
            | Self::Instance(name)
            | Self::Session(name)
            | Self::Program(name)
            | Self::Plugin(name) => name.len(),
        }
    }
}

/// Tells requests apart that were sent with the same key: the first half of a SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest([u8; 16]);

/// What a request with a key came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRecord {
    pub(crate) digest: Digest,
    pub(crate) outcome: Outcome,
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A publish got this position; none when a plugin swallowed the message.
    Published(Option<Position>),
    /// A call got this answer.
    Answered(Option<Payload>),
}

impl Digest {
    /// Of what a request says besides its key: the method of a call, and the payload.
    pub(crate) fn of(method: Option<&str>, payload: Option<&Payload>) -> Self {
        let mut hash = Sha256::new();
        // Lengths keep the parts apart.
        hash.update([u8::from(method.is_some())]);
        hash.update(method.map_or(0, str::len).to_be_bytes());
        hash.update(method.unwrap_or_default());
        if let Some(payload) = payload {
            hash.update([match payload.encoding() {
                Encoding::Json => 1,
                Encoding::MessagePack => 2,
                Encoding::Bytes => 3,
            }]);
            hash.update(payload.content());
        }
        let mut half = [0; 16];
        half.copy_from_slice(&hash.finalize()[..16]);
        Self(half)
    }
}

impl Outcome {
    /// Bytes that it holds beyond its own size.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Published(_) | Self::Answered(None) => 0,
            Self::Answered(Some(payload)) => payload.content().len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_differ_have_different_digests() {
        let text = |text: &str| Payload::json(text).expect("a text");
        let all = [
            Digest::of(None, None),
            Digest::of(Some(""), None),
            Digest::of(Some("a"), None),
            Digest::of(None, Some(&text("a"))),
            Digest::of(None, Some(&text("b"))),
            Digest::of(None, Some(&Payload::bytes("\"a\""))),
            Digest::of(Some("a"), Some(&text("a"))),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other != one), "{index}");
        }
        assert_eq!(Digest::of(Some("a"), Some(&text("a"))), all[6]);
    }
}
