//! Identifiers: random session ids, epochs and node names, which carry no meaning, and the keys of sessions and streams in this
//! process.

use std::sync::Arc;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The shard and slot of a session. Keys of ended sessions stay invalid for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    pub(crate) shard: u16,
    pub(crate) slot: u32,
    pub(crate) serial: u64,
}

impl SessionKey {
    /// The shard that owns the session.
    pub(crate) fn shard(self) -> usize {
        self.shard.into()
    }
}

/// A stream of messages that the hub delivers to its subscribers: that of a topic, that of the presence in a topic, or that of
/// a pattern. It is valid within this process; a topic that was removed and created again has a new one. Two flag bits tell
/// the kinds apart, so it is as small as a number and costs no look-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId(u64);

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamKind {
    /// The messages of a topic.
    Topic,
    /// Who joins and leaves a topic. A subscription to it is a part of that to the topic.
    Presence,
    /// The messages that a pattern selects.
    Pattern,
}

impl StreamId {
    const PATTERN: u64 = 1 << 63;
    const PRESENCE: u64 = 1 << 62;

    /// The stream of the topic with this number.
    pub(crate) fn topic(number: u64) -> Self {
        debug_assert!(number < Self::PRESENCE, "the flag bits are free");
        Self(number)
    }

    /// The stream of the pattern with this number.
    pub(crate) fn pattern(number: u64) -> Self {
        debug_assert!(number < Self::PRESENCE, "the flag bits are free");
        Self(number | Self::PATTERN)
    }

    /// The presence stream of the topic that this is the stream of.
    pub(crate) fn presence(self) -> Self {
        debug_assert!(self.kind() == StreamKind::Topic, "only topics have presence");
        Self(self.0 | Self::PRESENCE)
    }

    pub(crate) fn kind(self) -> StreamKind {
        match self.0 {
            id if id & Self::PATTERN != 0 => StreamKind::Pattern,
            id if id & Self::PRESENCE != 0 => StreamKind::Presence,
            _ => StreamKind::Topic,
        }
    }
}

/// A session id: 100 random bits as 20 letters and digits.
pub(crate) fn session_id() -> Arc<str> {
    random_text(20)
}

/// An epoch, which names one unbroken sequence of a topic's offsets: 40 random bits.
pub(crate) fn epoch() -> Arc<str> {
    random_text(8)
}

/// The name of this process among the nodes of a cluster.
pub(crate) fn node() -> Arc<str> {
    random_text(8)
}

/// 64 random bits.
pub(crate) fn random() -> u64 {
    getrandom::u64().expect("the operating system gives random bytes")
}

/// A random number below `bound`, which is at least 1; bounds are small, so the modulo bias is negligible.
pub(crate) fn below(bound: u64) -> u64 {
    getrandom::u64().expect("the operating system gives random bytes") % bound
}

fn random_text(length: usize) -> Arc<str> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_distinct_and_printable() {
        let ids: std::collections::HashSet<_> = (0..1_000).map(|_| session_id()).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())));
    }

    #[test]
    fn streams_of_each_kind_are_distinct() {
        for number in [0, 1, StreamId::PRESENCE - 1] {
            let (topic, pattern) = (StreamId::topic(number), StreamId::pattern(number));
            let streams = [topic, topic.presence(), pattern];
            let kinds = [StreamKind::Topic, StreamKind::Presence, StreamKind::Pattern];
            assert_eq!(streams.map(StreamId::kind), kinds, "{number}");
            assert!(topic != topic.presence() && topic != pattern && topic.presence() != pattern);
        }
        assert_eq!(size_of::<StreamId>(), size_of::<u64>());
    }
}
