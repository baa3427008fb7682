//! The messages of one turn, grouped by stream so that each stream's frames become one contiguous batch. It delivers
//! nothing.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::hub::session::batch::Batch;
use crate::hub::{Selectors, SessionKey, StreamId};
use crate::message::{SharedMessage, Wire};
use crate::metrics::Metrics;

/// Most bytes of a batch of several messages: a session that has read a part of a batch keeps all of it in memory.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Messages by stream, in order within each stream. The memory is reused from turn to turn.
#[derive(Default)]
pub(in crate::hub) struct TurnMessages {
    groups: Vec<Group>,
    used: usize,
    places: FxHashMap<StreamId, usize>,
}

/// The messages of one stream.
#[derive(Default)]
pub(in crate::hub) struct Group {
    pub(in crate::hub) stream: StreamId,
    pub(in crate::hub) messages: Vec<SharedMessage>,
    /// The patterns that select the last message. Patterns that differ for an earlier one have no subscribers here: a shard
    /// delivers the messages of its turn before it subscribes or unsubscribes a session.
    pub(in crate::hub) selectors: Option<Selectors>,
    /// The publishers that requested no echo of some of them.
    pub(in crate::hub) spared: Vec<SessionKey>,
}

impl TurnMessages {
    pub(in crate::hub) fn add(&mut self, message: SharedMessage, selectors: Option<Selectors>) {
        let place = self.place(message.stream);
        let group = &mut self.groups[place];
        group.selectors = selectors;
        group.spared.extend(message.except);
        group.messages.push(message);
    }

    fn place(&mut self, stream: StreamId) -> usize {
        // Most turns are about one stream; the table is used only when the stream changes.
        if self.used > 0 && self.groups[self.used - 1].stream == stream {
            return self.used - 1;
        }
        let place = *self.places.entry(stream).or_insert(self.used);
        if place == self.used {
            if self.used == self.groups.len() {
                self.groups.push(Group::default());
            }
            self.groups[place].stream = stream;
            self.used += 1;
        }
        place
    }

    pub(in crate::hub) fn groups(&self) -> &[Group] {
        &self.groups[..self.used]
    }

    pub(in crate::hub) fn clear(&mut self) {
        for group in &mut self.groups[..self.used] {
            group.messages.clear();
            group.selectors = None;
            group.spared.clear();
        }
        self.places.clear();
        self.used = 0;
    }
}

impl Group {
    /// The group without the messages of which a session, their publisher, requested no echo.
    pub(in crate::hub) fn without(&self, key: SessionKey) -> Self {
        let messages = self.messages.iter().filter(|message| message.except != Some(key)).cloned().collect();
        Self { stream: self.stream, messages, ..Self::default() }
    }

    /// The frames of the group as batches that its recipients share: one, unless it would be very large. With `hold` the
    /// messages can be taken back into a backlog.
    pub(in crate::hub) fn batches(&self, wire: Wire, hold: bool, metrics: &Metrics) -> impl Iterator<Item = Rc<Batch>> {
        let mut rest = &self.messages[..];
        std::iter::from_fn(move || {
            let (now, later) = rest.split_at(fitting(rest, wire, metrics));
            rest = later;
            if now.is_empty() {
                return None;
            }
            let batch = Batch::join(now, wire, metrics);
            if hold {
                batch.keep_messages(now);
            }
            Some(Rc::new(batch))
        })
    }
}

/// How many of the messages fit into one batch: at least one.
fn fitting(messages: &[SharedMessage], wire: Wire, metrics: &Metrics) -> usize {
    let mut bytes = 0;
    let fits = |message: &&SharedMessage| {
        bytes += message.frame(wire, metrics).len();
        bytes <= CHUNK_BYTES_MAX
    };
    messages.iter().take_while(fits).count().max(1).min(messages.len())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rialto_protocol::{Codec, Payload};

    use super::*;
    use crate::hub::session::batch::tests::messages;
    use crate::message::{Draft, Message};
    use crate::topic::Topic;

    #[test]
    fn large_groups_are_cut_between_messages() {
        let metrics = Metrics::default();
        let topic = Topic::parse("t").expect("a topic");
        for (count, payload_bytes, chunks) in
            [(1, 10, 1), (50, 1_000, 1), (20, 100_000, 10), (3, 300_000, 3), (0, 0, 0)]
        {
            let mut group = Group::default();
            let mut whole = Vec::new();
            for offset in 0..count {
                let draft = Draft { payload: Payload::bytes(vec![0; payload_bytes]), from: None, except: None };
                let message = Arc::new(Message::new(StreamId::topic(1), topic.clone(), offset, 0, draft));
                whole.extend_from_slice(message.frame(Wire::Frames(Codec::MessagePack), &metrics));
                group.messages.push(message);
            }
            let cut: Vec<_> = group.batches(Wire::Frames(Codec::MessagePack), false, &metrics).collect();
            assert_eq!(cut.len(), chunks, "{count} of {payload_bytes}");
            assert_eq!(cut.iter().flat_map(|batch| batch.bytes.iter().copied()).collect::<Vec<u8>>(), whole);
        }
    }

    #[test]
    fn groups_keep_the_order_within_each_stream() {
        let mut turn_messages = TurnMessages::default();
        for _ in 0..2 {
            for (stream, offset) in [(1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (2, 2)] {
                turn_messages.add(messages(stream, offset..=offset).remove(0), None);
            }
            let seen: Vec<(StreamId, Vec<u64>)> = turn_messages
                .groups()
                .iter()
                .map(|group| (group.stream, group.messages.iter().map(|message| message.offset).collect()))
                .collect();
            let expected = [(1, vec![1, 2, 3]), (2, vec![1, 2]), (3, vec![1])];
            assert_eq!(seen, expected.map(|(stream, offsets)| (StreamId::topic(stream), offsets)));
            turn_messages.clear();
            assert!(turn_messages.groups().is_empty());
        }
    }
}
