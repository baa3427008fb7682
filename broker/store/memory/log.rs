//! The history of one topic in memory: its newest messages, and its last position. It has no clock and no lock.

use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::Arc;

use crate::message::{Message, SharedMessage};
use crate::store::{Account, End, KeptMessage, Page, Past, Retention, Span};

/// How long the end of an order is kept after the last message of it has gone: 24 hours.
const END_AGE_MS: u64 = 24 * 3_600_000;

/// Room for fewer messages is not given back.
const SPARSE_MIN: usize = 64;

/// What an envelope takes in one codec, roughly, beside the topic.
const ENVELOPE_BYTES: usize = 96;

/// The newest messages of one topic, without a hole: what was removed has a tombstone.
#[derive(Debug)]
pub(super) struct Log {
    epoch: Arc<str>,
    last: u64,
    used_ms: u64,
    retention: Retention,
    account: Arc<Account>,
    entries: VecDeque<Entry>,
    /// How many of the entries are tombstones.
    tombstones: usize,
    payload_bytes: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    at_ms: u64,
    message: SharedMessage,
}

impl Log {
    /// The log that begins with a message that is about to be pushed.
    pub(super) fn before(kept: &KeptMessage, now_ms: u64) -> Self {
        Self {
            epoch: Arc::clone(&kept.epoch),
            last: kept.message.offset - 1,
            used_ms: now_ms,
            retention: kept.retention,
            account: Arc::clone(&kept.account),
            entries: VecDeque::new(),
            tombstones: 0,
            payload_bytes: 0,
            bytes: 2 * size_of::<Self>() + 2 * kept.message.topic.as_str().len(),
        }
    }

    pub(super) fn end(&self) -> End {
        End { epoch: Arc::clone(&self.epoch), last: self.last }
    }

    /// Who holds it.
    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// When something was added last.
    pub(super) fn used_ms(&self) -> u64 {
        self.used_ms
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many messages it has, without those that were removed.
    pub(super) fn messages(&self) -> usize {
        self.entries.len() - self.tombstones
    }

    /// Adds the next message and removes those beyond the retention rule.
    pub(super) fn push(&mut self, kept: KeptMessage, now_ms: u64) {
        let KeptMessage { message, epoch, retention, .. } = kept;
        if epoch != self.epoch || message.offset != self.last + 1 {
            // What came before cannot be joined to this one without a hole.
            self.remove_oldest(self.entries.len());
            self.epoch = epoch;
        }
        (self.last, self.used_ms, self.retention) = (message.offset, now_ms, retention);
        self.payload_bytes += message.payload.content().len();
        self.bytes += weight(&message);
        self.entries.push_back(Entry { at_ms: now_ms, message });
        self.trim(now_ms);
    }

    /// Puts a tombstone in the place of a message. Returns whether the message was there.
    pub(super) fn remove(&mut self, epoch: &str, offset: u64) -> bool {
        let Some(first) = self.entries.front().map(|oldest| oldest.message.offset) else { return false };
        let place = offset.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        let Some(entry) = place.and_then(|place| self.entries.get_mut(place)) else { return false };
        if *self.epoch != *epoch || entry.message.is_tombstone() {
            return false;
        }
        let tombstone = Arc::new(entry.message.tombstone());
        self.payload_bytes -= entry.message.payload.content().len();
        self.bytes = self.bytes - weight(&entry.message) + weight(&tombstone);
        self.tombstones += 1;
        entry.message = tombstone;
        true
    }

    /// Removes what is beyond the retention rule. Returns whether anything is left, be it only the last position.
    pub(super) fn trim(&mut self, now_ms: u64) -> bool {
        let Retention { messages, bytes, age_ms } = self.retention;
        while self.entries.len() > messages
            // The newest stays, however large it is: the log has no hole.
            || (self.payload_bytes > bytes && self.entries.len() > 1)
            || self.entries.front().is_some_and(|oldest| now_ms.saturating_sub(oldest.at_ms) > age_ms)
        {
            self.remove_oldest(1);
        }
        !self.entries.is_empty() || now_ms.saturating_sub(self.used_ms) <= age_ms.max(END_AGE_MS)
    }

    /// Applies another retention rule; without one no message is kept.
    pub(super) fn set_retention(&mut self, retention: Option<Retention>, now_ms: u64) {
        self.retention = retention.unwrap_or(Retention { messages: 0, ..self.retention });
        self.trim(now_ms);
    }

    /// Removes the older half of the messages. Returns false if there was only one, or none.
    pub(super) fn halve(&mut self) -> bool {
        let half = self.entries.len() / 2;
        self.remove_oldest(half);
        half > 0
    }

    pub(super) fn read(&self, span: Span, page: Page) -> Past {
        let Some(first) = self.entries.front().map(|oldest| oldest.message.offset) else { return Past::default() };
        let place = |offset: u64| usize::try_from(offset.saturating_sub(first)).map_or(usize::MAX, |place| place);
        let length = self.entries.len();
        let mut bytes = 0;
        let mut fits = |entry: &&Entry| {
            bytes += entry.message.payload.content().len();
            bytes <= page.bytes
        };
        let range = match span {
            Span::After(offset) => {
                let start = place(offset.saturating_add(1)).min(length);
                let count = self.entries.range(start..).take(page.messages).take_while(&mut fits).count();
                start..(start + count.max(1)).min(length)
            }
            Span::Before(offset) => {
                let end = place(offset).min(length);
                let count = self.entries.range(..end).rev().take(page.messages).take_while(&mut fits).count();
                end.saturating_sub(count.max(1))..end
            }
        };
        let more = match span {
            Span::After(_) => range.end < length,
            Span::Before(_) => range.start > 0,
        };
        let messages = self.entries.range(range).map(|entry| Arc::clone(&entry.message)).collect();
        Past { first: Some(first), messages, more }
    }

    fn remove_oldest(&mut self, messages: usize) {
        for Entry { message, .. } in self.entries.drain(..messages) {
            self.payload_bytes -= message.payload.content().len();
            self.bytes -= weight(&message);
            self.tombstones -= usize::from(message.is_tombstone());
        }
        // What was there for many is not kept for few.
        if self.entries.capacity() > SPARSE_MIN && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }
}

/// What a message takes in memory at most: as it came, and as a frame in both codecs.
fn weight(message: &Message) -> usize {
    let envelope = ENVELOPE_BYTES + message.topic.as_str().len();
    size_of::<Message>() + size_of::<Entry>() + 3 * message.payload.content().len() + 2 * envelope
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rialto_protocol::Payload;

    use super::*;
    use crate::identity::StreamId;
    use crate::message::Draft;
    use crate::topic::Topic;

    fn kept(epoch: &str, offset: u64, bytes: usize, retention: Retention) -> KeptMessage {
        let draft = Draft { payload: Payload::bytes(vec![0; bytes]), from: None, except: None };
        let topic = Topic::parse("t").expect("a topic");
        KeptMessage {
            message: Arc::new(Message::new(StreamId::topic(1), topic, offset, 0, draft)),
            epoch: epoch.into(),
            retention,
            account: Account::of_test(),
        }
    }

    fn offsets(past: &Past) -> Vec<u64> {
        past.messages.iter().map(|message| message.offset).collect()
    }

    const WIDE: Retention = Retention { messages: 100, bytes: 10_000, age_ms: 1_000 };

    #[test]
    fn keeps_what_the_rule_says_and_not_more() {
        let (mut log, mut empty) = (Log::before(&kept("e", 1, 0, WIDE), 0), 0);
        for offset in 1..=10 {
            empty = log.bytes();
            log.push(kept("e", offset, 10, Retention { messages: 4, ..WIDE }), offset * 100);
        }
        assert!(empty > 0);
        let all = Page { messages: 100, bytes: 10_000 };
        assert_eq!(offsets(&log.read(Span::After(0), all)), [7, 8, 9, 10]);
        log.push(kept("e", 11, 10, Retention { bytes: 25, ..WIDE }), 1_100);
        assert_eq!(offsets(&log.read(Span::After(0), all)), [10, 11]);
        log.push(kept("e", 12, 26, Retention { bytes: 25, ..WIDE }), 1_100);
        assert_eq!(offsets(&log.read(Span::After(0), all)), [12], "larger than all that may be kept, and the newest");
        log.push(kept("e", 13, 10, Retention { bytes: 25, ..WIDE }), 1_100);
        assert!(log.trim(2_050));
        assert_eq!(offsets(&log.read(Span::After(0), all)), [13]);
        assert!(log.trim(2_101), "the end is still known");
        assert_eq!((log.messages(), log.end().last), (0, 13));
        assert!(!log.trim(1_101 + END_AGE_MS));
        log.push(kept("e", 15, 10, WIDE), 3_000);
        log.push(kept("new", 16, 10, WIDE), 3_000);
        assert_eq!(offsets(&log.read(Span::After(0), all)), [16], "after a hole or in another epoch, a new run begins");
        assert!(!log.halve());
        log.push(kept("new", 17, 10, WIDE), 3_000);
        assert!(log.halve() && log.messages() == 1);
        log.push(kept("new", 18, 10, WIDE), 3_000);
        log.set_retention(Some(Retention { messages: 1, ..WIDE }), 3_000);
        assert_eq!(offsets(&log.read(Span::After(0), all)), [18]);
        log.set_retention(None, 3_000);
        assert_eq!((log.messages(), log.end().last), (0, 18));
    }

    #[test]
    fn a_removed_message_leaves_a_tombstone_and_gives_its_memory_back() {
        let mut log = Log::before(&kept("e", 1, 0, WIDE), 0);
        for offset in 1..=4 {
            log.push(kept("e", offset, 100, WIDE), 0);
        }
        let (full, payload) = (log.bytes(), log.payload_bytes);
        assert!(log.remove("e", 2) && !log.remove("e", 2), "once");
        assert!(!log.remove("other", 3) && !log.remove("e", 0) && !log.remove("e", 5), "what is not there");
        assert_eq!((log.messages(), log.payload_bytes, full - log.bytes()), (3, payload - 100, 300));
        let past = log.read(Span::After(0), Page { messages: 100, bytes: 10_000 });
        assert_eq!(offsets(&past), [1, 2, 3, 4], "no hole");
        let tombstones: Vec<bool> = past.messages.iter().map(|message| message.is_tombstone()).collect();
        assert_eq!(tombstones, [false, true, false, false]);
        // A tombstone goes as a message does, and nothing of it is left.
        log.set_retention(Some(Retention { messages: 2, ..WIDE }), 0);
        assert_eq!((log.messages(), log.tombstones, log.payload_bytes), (2, 0, 200));
        log.set_retention(None, 0);
        assert_eq!((log.messages(), log.payload_bytes), (0, 0));
        assert_eq!(log.bytes(), Log::before(&kept("e", 1, 0, WIDE), 0).bytes());
    }

    proptest! {
        #[test]
        fn a_page_is_a_part_without_holes(
            first in 1_u64..5, sizes in prop::collection::vec(0_usize..20, 0..12),
            at in 0_u64..20, messages in 1_usize..6, bytes in 1_usize..40, after: bool,
        ) {
            let mut log = Log::before(&kept("e", first, 0, WIDE), 0);
            for (offset, size) in (first..).zip(&sizes) {
                log.push(kept("e", offset, *size, WIDE), 0);
            }
            let span = if after { Span::After(at) } else { Span::Before(at) };
            let past = log.read(span, Page { messages, bytes });
            let all: Vec<(u64, usize)> = (first..).zip(sizes.iter().copied()).collect();
            let wanted: Vec<(u64, usize)> =
                all.iter().copied().filter(|(offset, _)| if after { *offset > at } else { *offset < at }).collect();
            let mut model: Vec<u64> = Vec::new();
            let mut left = bytes;
            let order: Vec<(u64, usize)> = if after { wanted.clone() } else { wanted.iter().rev().copied().collect() };
            for (offset, size) in order {
                if model.len() == messages || (size > left && !model.is_empty()) {
                    break;
                }
                model.push(offset);
                left = left.saturating_sub(size);
            }
            // The first message of a page may be larger than the page; nothing follows it then.
            if let [only, ..] = model[..] && all.iter().any(|(offset, size)| *offset == only && *size > bytes) {
                model.truncate(1);
            }
            model.sort_unstable();
            prop_assert_eq!(past.more, model.len() < wanted.len());
            prop_assert_eq!(offsets(&past), model);
            prop_assert_eq!(past.first, all.first().map(|(offset, _)| *offset));
        }
    }
}
