//! The Plain dialect: each WebSocket message is one content, and nothing else is ever said.

use super::{Delivery, Incoming};
use crate::payload::{self, PROBE};

/// A content is either a message or the probe that shows that the subscriber is one.
#[inline]
pub(super) fn read(content: &[u8]) -> Incoming<'_> {
    const PROBE_BEGINS: u8 = b'f';
    // Only what begins like a probe needs a closer look.
    if content.get(payload::TOPIC_DIGITS) == Some(&PROBE_BEGINS)
        && payload::read(content).is_some_and(|stamp| stamp.sequence == PROBE)
    {
        return Incoming::Confirmed;
    }
    Incoming::Message(Delivery { content, topic: b"", offset: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Stamp;

    #[test]
    fn tells_probes_from_messages() {
        let probe = payload::write(Stamp { topic: 3, sequence: PROBE, time_ns: 0 }, 64);
        assert_eq!(read(&probe), Incoming::Confirmed);
        for sequence in [0, PROBE - 1] {
            let content = payload::write(Stamp { topic: 3, sequence, time_ns: 0 }, 64);
            assert!(matches!(read(&content), Incoming::Message(message) if message.content == &content[..]));
        }
        assert!(matches!(read(b"x"), Incoming::Message(_)));
    }
}
