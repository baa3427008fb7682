//! Live messages of a stream that are held for one session while the last page of its past is being read. It has no clock.

use std::sync::Arc;

use crate::hub::{SessionKey, StreamId};
use crate::message::SharedMessage;

/// As much as a page of the past: beyond that the session reads another page instead.
pub(crate) const LIVE_MESSAGES_MAX: usize = 300;
const LIVE_BYTES_MAX: usize = 64 * 1024;

/// The messages of one stream from some offset on, without a hole.
pub(in crate::hub) struct LiveBuffer {
    /// The replay that they are held for.
    pub(super) replay: u64,
    pub(super) stream: StreamId,
    messages: Vec<SharedMessage>,
    taken: usize,
    bytes: usize,
}

impl LiveBuffer {
    pub(super) fn new(replay: u64, stream: StreamId) -> Self {
        Self { replay, stream, messages: Vec::new(), taken: 0, bytes: 0 }
    }

    /// Takes messages, except for those that the session wants no echo of. Returns false when they are too many.
    pub(super) fn take(&mut self, messages: &[SharedMessage], session: SessionKey) -> bool {
        self.taken += messages.len();
        self.bytes += messages.iter().map(|message| message.payload.content().len()).sum::<usize>();
        if self.taken > LIVE_MESSAGES_MAX || self.bytes > LIVE_BYTES_MAX {
            return false;
        }
        self.messages.extend(messages.iter().filter(|message| message.except != Some(session)).cloned());
        true
    }

    /// A message was removed: where it is held, a tombstone takes its place.
    pub(super) fn remove(&mut self, offset: u64) {
        strike(&mut self.messages, offset);
        self.bytes = self.messages.iter().map(|message| message.payload.content().len()).sum();
    }

    /// Bytes of payload.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(in crate::hub) fn messages(&self) -> &[SharedMessage] {
        &self.messages
    }
}

/// Puts a tombstone in the place of a message, if it is among these.
pub(super) fn strike(messages: &mut [SharedMessage], offset: u64) {
    if let Some(message) = messages.iter_mut().find(|message| message.offset == offset) {
        *message = Arc::new(message.tombstone());
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::Payload;

    use super::*;
    use crate::message::{Draft, Message};
    use crate::topic::Topic;

    fn message(offset: u64, bytes: usize, except: Option<SessionKey>) -> SharedMessage {
        let draft = Draft { payload: Payload::bytes(vec![0; bytes]), from: None, except };
        Arc::new(Message::new(StreamId::topic(1), Topic::parse("t").expect("a topic"), offset, 0, draft))
    }

    #[test]
    fn holds_no_more_than_a_page() {
        let session = SessionKey { shard: 0, slot: 1, serial: 1 };
        let buffer = || LiveBuffer::new(7, StreamId::topic(1));
        let mut few = buffer();
        assert!(few.take(&[message(1, 10, None), message(2, 10, Some(session)), message(3, 10, None)], session));
        let offsets: Vec<u64> = few.messages().iter().map(|message| message.offset).collect();
        assert_eq!((offsets, few.bytes()), (vec![1, 3], 30));
        few.remove(1);
        assert!(few.messages()[0].is_tombstone() && !few.messages()[1].is_tombstone());
        assert_eq!(few.bytes(), 10);
        let mut many = buffer();
        let small: Vec<SharedMessage> = (1..=300).map(|offset| message(offset, 1, None)).collect();
        assert!(many.take(&small, session) && !many.take(&[message(301, 1, None)], session));
        let mut large = buffer();
        assert!(large.take(&[message(1, 60_000, None)], session) && !large.take(&[message(2, 60_000, None)], session));
    }
}
