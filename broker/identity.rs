//! Identifiers: random session ids, epochs and node names, which carry no meaning, and the keys of sessions in this process.

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
}
