//! The messages of one turn, sorted by stream so that each stream's frames become one contiguous buffer. It delivers
//! nothing.

use std::rc::Rc;

use bytes::Bytes;
use rialto_protocol::Codec;
use rustc_hash::FxHashMap;

use super::outbox::Chunk;
use crate::message::Shared;
use crate::metrics::Metrics;

/// Messages by stream, in order within each stream. Its memory is used again from turn to turn.
#[derive(Default)]
pub(super) struct Pile {
    groups: Vec<Group>,
    used: usize,
    places: FxHashMap<u64, usize>,
}

/// The messages of one stream.
#[derive(Default)]
pub(super) struct Group {
    pub(super) stream: u64,
    pub(super) messages: Vec<Shared>,
}

impl Pile {
    pub(super) fn add(&mut self, message: Shared) {
        let stream = message.stream;
        // Most turns are about one stream; the table is asked only when the stream changes.
        if self.used > 0 && self.groups[self.used - 1].stream == stream {
            self.groups[self.used - 1].messages.push(message);
            return;
        }
        let place = *self.places.entry(stream).or_insert(self.used);
        if place == self.used {
            if self.used == self.groups.len() {
                self.groups.push(Group::default());
            }
            self.groups[place].stream = stream;
            self.used += 1;
        }
        self.groups[place].messages.push(message);
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups[..self.used]
    }

    pub(super) fn clear(&mut self) {
        for group in &mut self.groups[..self.used] {
            group.messages.clear();
        }
        self.places.clear();
        self.used = 0;
    }
}

impl Group {
    /// All frames of the group as one buffer that its sessions share.
    pub(super) fn chunk(&self, codec: Codec, metrics: &Metrics) -> Chunk {
        if let [only] = &self.messages[..] {
            return Chunk::Messages(Rc::new(only.frame(codec, metrics).clone()));
        }
        let mut joined = Vec::with_capacity(self.messages.iter().map(|one| one.frame(codec, metrics).len()).sum());
        for message in &self.messages {
            joined.extend_from_slice(message.frame(codec, metrics));
        }
        Chunk::Messages(Rc::new(Bytes::from(joined)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rialto_protocol::Payload;

    use super::*;
    use crate::message::{Draft, Message};
    use crate::topic::Topic;

    fn message(stream: u64, offset: u64) -> Shared {
        let topic = Topic::parse("t").expect("a topic");
        let draft = Draft { payload: Payload::json(&offset).expect("a number"), from: None };
        Arc::new(Message::new(stream, topic, offset, 0, draft))
    }

    #[test]
    fn groups_keep_the_order_within_each_stream() {
        let mut pile = Pile::default();
        for _ in 0..2 {
            for (stream, offset) in [(1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (2, 2)] {
                pile.add(message(stream, offset));
            }
            let seen: Vec<(u64, Vec<u64>)> = pile
                .groups()
                .iter()
                .map(|group| (group.stream, group.messages.iter().map(|message| message.offset).collect()))
                .collect();
            assert_eq!(seen, [(1, vec![1, 2, 3]), (2, vec![1, 2]), (3, vec![1])]);
            pile.clear();
            assert!(pile.groups().is_empty());
        }
    }
}
