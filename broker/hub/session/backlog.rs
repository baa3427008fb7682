//! Backlog: the messages of one stream that wait for a slow consumer, under a policy that may skip some (conflation or
//! dropping). It keeps the order and reports gaps; it has no clock and no socket.

use std::collections::{HashMap, VecDeque};
use std::mem::size_of;

use bytes::Bytes;
use rialto_protocol::{GapReason, Key};

/// Messages of one stream that a session was not sent yet, in order, and the skipped offsets that it must be sent as gaps.
#[derive(Debug)]
pub(in crate::hub) struct Backlog {
    /// The first offset that was neither sent nor reported as a gap.
    next: u64,
    /// One more than the last offset that was added.
    end: u64,
    /// Whether a message was dropped because of the outbox limit since the last gap was reported.
    has_dropped: bool,
    waiting: VecDeque<Waiting>,
    /// How many of the waiting messages were replaced.
    replaced: usize,
    /// The offset of the waiting message of each key. Publishers choose the keys, so the map's hash is keyed.
    keys: HashMap<Key, u64>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    /// The first offset that was neither waiting nor skipped when this was added; offsets from there to the message
    /// were not meant for the session.
    begins: u64,
    offset: u64,
    /// None once a later message has replaced it.
    content: Option<(Bytes, Option<Key>)>,
}

/// What a session is sent next.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::hub) enum NextDelivery {
    /// A message, whole.
    Message(Bytes),
    /// Offsets that it will not receive, the last one included.
    Gap { from: u64, to: u64, reason: GapReason },
}

impl Backlog {
    /// An empty backlog; the next message has the offset `next`.
    pub(in crate::hub) fn new(next: u64) -> Self {
        let (waiting, keys) = (VecDeque::new(), HashMap::new());
        Self { next, end: next, has_dropped: false, waiting, replaced: 0, keys, bytes: 0 }
    }

    /// Its size in memory: frames, keys and entries.
    pub(in crate::hub) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of waiting messages.
    pub(in crate::hub) fn messages(&self) -> usize {
        self.waiting.len() - self.replaced
    }

    /// Whether every message was sent or reported as a gap.
    pub(in crate::hub) fn is_settled(&self) -> bool {
        self.next == self.end
    }

    /// Adds a message as skipped.
    pub(in crate::hub) fn skip(&mut self, offset: u64) {
        self.reach(offset);
    }

    /// Advances to an offset. Offsets left out before it are messages that the session published itself without echo;
    /// they are no gap unless skipped messages surround them. Returns the first offset of a gap that ends before this
    /// one.
    fn reach(&mut self, offset: u64) -> u64 {
        debug_assert!(offset >= self.end, "a stream has an order");
        if self.is_settled() {
            self.next = offset;
        }
        let begins = if self.is_settled() { offset } else { self.end };
        self.end = offset + 1;
        begins
    }

    /// Keeps a message and all earlier ones.
    pub(in crate::hub) fn keep(&mut self, offset: u64, frame: Bytes) {
        self.put(offset, frame, None);
    }

    /// Keeps a message and no earlier one. Returns how many were skipped.
    pub(in crate::hub) fn keep_only(&mut self, offset: u64, frame: Bytes) -> usize {
        let skipped = self.empty();
        self.put(offset, frame, None);
        skipped
    }

    /// Keeps a message and no earlier one with the same key. Returns how many were skipped.
    pub(in crate::hub) fn keep_only_of(&mut self, key: Key, offset: u64, frame: Bytes) -> usize {
        let before = self.keys.insert(key.clone(), offset);
        if let Some(before) = before {
            let place = self.waiting.binary_search_by_key(&before, |waiting| waiting.offset);
            let replaced = &mut self.waiting[place.expect("a key names a message that waits")];
            self.bytes -= replaced.bytes();
            replaced.content = None;
            self.bytes += replaced.bytes();
            self.replaced += 1;
            self.compact();
        }
        self.put(offset, frame, Some(key));
        usize::from(before.is_some())
    }

    /// Puts the frame of a gap in the place of a message that was removed, if it still waits. What comes later does not replace
    /// it.
    pub(in crate::hub) fn replace(&mut self, offset: u64, gap: Bytes) {
        let Ok(place) = self.waiting.binary_search_by_key(&offset, |waiting| waiting.offset) else { return };
        let waiting = &mut self.waiting[place];
        let Some((_, key)) = &waiting.content else { return };
        if let Some(key) = key {
            self.keys.remove(key);
        }
        self.bytes -= waiting.bytes();
        waiting.content = Some((gap, None));
        self.bytes += waiting.bytes();
    }

    /// Drops the oldest message because of the outbox limit. Returns whether there was one.
    pub(in crate::hub) fn skip_oldest(&mut self) -> bool {
        let dropped = self.pop();
        self.has_dropped |= dropped.is_some();
        dropped.is_some()
    }

    /// Drops all messages because of the outbox limit. Returns how many.
    pub(in crate::hub) fn skip_all(&mut self) -> usize {
        let dropped = self.empty();
        self.has_dropped |= dropped > 0;
        dropped
    }

    /// Removes messages and the gaps before them, in order, until `bytes_max` of messages are out. Returns how many
    /// messages.
    pub(in crate::hub) fn release(&mut self, bytes_max: usize, mut report: impl FnMut(NextDelivery)) -> usize {
        let (mut bytes, mut messages) = (0, 0);
        while bytes < bytes_max
            && let Some((begins, offset, frame)) = self.pop()
        {
            self.report_gap(begins, &mut report);
            self.next = offset + 1;
            bytes += frame.len();
            messages += 1;
            report(NextDelivery::Message(frame));
        }
        if self.messages() == 0 {
            self.report_gap(self.end, &mut report);
        }
        messages
    }

    fn report_gap(&mut self, end: u64, report: &mut impl FnMut(NextDelivery)) {
        if self.next < end {
            let reason = if self.has_dropped { GapReason::Slow } else { GapReason::Conflated };
            report(NextDelivery::Gap { from: self.next, to: end - 1, reason });
            self.next = end;
            self.has_dropped = false;
        }
    }

    fn put(&mut self, offset: u64, frame: Bytes, key: Option<Key>) {
        let begins = self.reach(offset);
        let waiting = Waiting { begins, offset, content: Some((frame, key)) };
        self.bytes += waiting.bytes();
        self.waiting.push_back(waiting);
    }

    /// Removes the oldest message: the first offset of a gap that ends before it, its offset and its frame.
    fn pop(&mut self) -> Option<(u64, u64, Bytes)> {
        loop {
            let waiting = self.waiting.pop_front()?;
            self.bytes -= waiting.bytes();
            let Some((frame, key)) = waiting.content else {
                self.replaced -= 1;
                continue;
            };
            if let Some(key) = key {
                self.keys.remove(&key);
            }
            return Some((waiting.begins, waiting.offset, frame));
        }
    }

    fn empty(&mut self) -> usize {
        let messages = self.messages();
        self.waiting.clear();
        self.keys.clear();
        (self.replaced, self.bytes) = (0, 0);
        messages
    }

    /// Removes the entries of replaced messages once they outnumber the others.
    fn compact(&mut self) {
        if self.replaced > self.waiting.len() / 2 {
            self.bytes -= self.replaced * size_of::<Waiting>();
            self.waiting.retain(|waiting| waiting.content.is_some());
            self.replaced = 0;
        }
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        let content = self.content.as_ref().map_or(0, |(frame, key)| {
            // A key is in the table too.
            frame.len() + key.as_ref().map_or(0, |key| 2 * (key.size() + size_of::<Key>()))
        });
        content + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rialto_protocol::{Payload, Pointer};

    use super::*;

    fn frame(offset: u64) -> Bytes {
        offset.to_string().into()
    }

    fn key(of: u64) -> Key {
        Key::of(&Payload::json(&of).expect("a number"), &Pointer::parse("").expect("a pointer"))
    }

    fn reported(backlog: &mut Backlog, bytes_max: usize) -> String {
        let mut text = Vec::new();
        backlog.release(bytes_max, |reported| {
            text.push(match reported {
                NextDelivery::Message(frame) => String::from_utf8(frame.to_vec()).expect("digits"),
                NextDelivery::Gap { from, to, reason } => format!("({from}-{to} {reason:?})"),
            });
        });
        text.join(" ")
    }

    #[test]
    fn each_policy_keeps_its_messages_and_reports_the_others_as_gaps() {
        let mut all = Backlog::new(1);
        (1..=4).for_each(|offset| all.keep(offset, frame(offset)));
        assert!(all.skip_oldest() && all.skip_oldest());
        assert_eq!(reported(&mut all, 1), "(1-2 Slow) 3");
        assert_eq!(reported(&mut all, 9), "4");
        assert!(all.is_settled());

        let mut last = Backlog::new(5);
        let skipped: usize = (5..=9).map(|offset| last.keep_only(offset, frame(offset))).sum();
        assert_eq!((skipped, reported(&mut last, 9).as_str()), (4, "(5-8 Conflated) 9"));

        let mut by_key = Backlog::new(1);
        let keys = [1, 2, 1, 3, 2, 1];
        let skipped: usize =
            (1..).zip(keys).map(|(offset, of)| by_key.keep_only_of(key(of), offset, frame(offset))).sum();
        assert_eq!((skipped, reported(&mut by_key, 99).as_str()), (3, "(1-3 Conflated) 4 5 6"));
        assert_eq!(by_key.bytes(), 0);
    }

    #[test]
    fn a_gap_at_the_end_is_reported() {
        let mut backlog = Backlog::new(1);
        backlog.keep(1, frame(1));
        backlog.keep(2, frame(2));
        assert_eq!(backlog.skip_all(), 2);
        backlog.skip(3);
        assert!(!backlog.is_settled());
        assert_eq!(reported(&mut backlog, 9), "(1-3 Slow)");
        assert!(backlog.is_settled());
        backlog.keep(4, frame(4));
        backlog.skip(5);
        assert_eq!(reported(&mut backlog, 9), "4 (5-5 Conflated)");
    }

    #[test]
    fn a_gap_takes_the_place_of_a_removed_message() {
        let gap = || Bytes::from_static(b"gap");
        let mut all = Backlog::new(1);
        (1..=3).for_each(|offset| all.keep(offset, frame(offset)));
        all.replace(2, gap());
        all.replace(9, gap());
        assert_eq!(reported(&mut all, 99), "1 gap 3");

        let mut by_key = Backlog::new(1);
        for (offset, of) in (1..).zip([1, 2, 1]) {
            by_key.keep_only_of(key(of), offset, frame(offset));
        }
        by_key.replace(1, gap());
        by_key.replace(3, gap());
        assert_eq!(by_key.keep_only_of(key(1), 4, frame(4)), 0, "what was removed is not replaced");
        assert_eq!(reported(&mut by_key, 99), "(1-1 Conflated) 2 gap 4");
        assert_eq!(by_key.bytes(), 0);

        let mut last = Backlog::new(1);
        last.keep_only(1, frame(1));
        last.replace(1, gap());
        last.keep_only(2, frame(2));
        assert_eq!(reported(&mut last, 9), "(1-1 Conflated) 2");
    }

    #[test]
    fn messages_without_echo_are_no_gap() {
        let mut backlog = Backlog::new(1);
        for offset in [1, 2, 5, 7] {
            backlog.keep(offset, frame(offset));
        }
        assert!(backlog.skip_oldest());
        assert_eq!(reported(&mut backlog, 2), "(1-1 Slow) 2 5");
        backlog.skip_all();
        backlog.keep(9, frame(9));
        assert_eq!(reported(&mut backlog, 9), "(6-7 Slow) 9");
        backlog.skip(11);
        backlog.keep_only(13, frame(13));
        assert_eq!(reported(&mut backlog, 9), "(11-11 Conflated) 13");
        assert!(backlog.is_settled());
    }

    proptest! {
        /// In any sequence, every offset is sent or reported once and in order, each key keeps its last message, and
        /// bytes add up.
        #[test]
        fn every_offset_is_sent_or_reported_once(
            policy in 0..3, steps in prop::collection::vec((0..8_u8, 0..6_u64, 1..40_usize), 1..200),
        ) {
            let mut backlog = Backlog::new(1);
            let (mut offset, mut expected) = (1, 1);
            let mut latest: HashMap<u64, u64> = HashMap::new();
            let mut skipped = 0;
            let mut counted = 0;
            for (step, of, bytes) in steps {
                match step {
                    0 => skipped += usize::from(backlog.skip_oldest()),
                    1 => skipped += backlog.skip_all(),
                    2 => {
                        backlog.skip(offset);
                        skipped += 1;
                        offset += 1;
                    }
                    3 => {
                        backlog.release(bytes, |reported| match reported {
                            NextDelivery::Message(frame) => {
                                assert_eq!(frame, self::frame(expected));
                                expected += 1;
                            }
                            NextDelivery::Gap { from, to, .. } => {
                                assert_eq!(from, expected);
                                assert!(to >= from);
                                counted += (to - from + 1) as usize;
                                expected = to + 1;
                            }
                        });
                    }
                    _ => {
                        skipped += match policy {
                            0 => {
                                backlog.keep(offset, frame(offset));
                                0
                            }
                            1 => backlog.keep_only(offset, frame(offset)),
                            _ => backlog.keep_only_of(key(of), offset, frame(offset)),
                        };
                        latest.insert(of, offset);
                        offset += 1;
                    }
                }
                prop_assert!(policy != 1 || backlog.messages() <= 1);
                prop_assert!(policy != 2 || backlog.messages() <= latest.len());
                let bytes: usize = backlog.waiting.iter().map(Waiting::bytes).sum();
                prop_assert_eq!(backlog.bytes(), bytes);
            }
            backlog.release(usize::MAX, |reported| match reported {
                NextDelivery::Message(frame) => {
                    assert_eq!(frame, self::frame(expected));
                    expected += 1;
                }
                NextDelivery::Gap { from, to, .. } => {
                    assert_eq!(from, expected);
                    counted += (to - from + 1) as usize;
                    expected = to + 1;
                }
            });
            prop_assert_eq!(expected, offset);
            prop_assert_eq!(counted, skipped);
            prop_assert!(backlog.is_settled());
        }
    }
}
