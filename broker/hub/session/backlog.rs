//! What waits for a session under a delivery policy that may skip messages of one stream. It keeps the order and knows
//! what was skipped; it has no clock and no socket.

use std::collections::{HashMap, VecDeque};
use std::mem::size_of;

use bytes::Bytes;
use rialto_protocol::{GapReason, Key};

/// Messages of one stream that a session was not sent yet, in order, and the offsets it must be told of.
#[derive(Debug)]
pub(in crate::hub) struct Backlog {
    /// The first offset that the session was neither sent nor told as skipped.
    next: u64,
    /// One more than the last offset that came in.
    end: u64,
    /// Whether something gave way for want of room since the session was last told of a gap.
    squeezed: bool,
    waiting: VecDeque<Waiting>,
    /// How many of those that wait were replaced.
    replaced: usize,
    /// Where the message of each key is that waits. Publishers choose the keys, so the map's order is not theirs to know.
    keys: HashMap<Key, u64>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    /// The first offset that was neither waiting nor missed when this came in: what lies between was not for the session.
    begins: u64,
    offset: u64,
    /// None once a later message has taken its place.
    content: Option<(Bytes, Option<Key>)>,
}

/// What a session is to be told next.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::hub) enum NextDelivery {
    /// A message, whole.
    Message(Bytes),
    /// Offsets that it will not see, the last one included.
    Gap { from: u64, to: u64, reason: GapReason },
}

impl Backlog {
    /// Nothing waits; the next message is `next`.
    pub(in crate::hub) fn new(next: u64) -> Self {
        let (waiting, keys) = (VecDeque::new(), HashMap::new());
        Self { next, end: next, squeezed: false, waiting, replaced: 0, keys, bytes: 0 }
    }

    /// What it takes: frames, keys and the place of each.
    pub(in crate::hub) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages that wait.
    pub(in crate::hub) fn messages(&self) -> usize {
        self.waiting.len() - self.replaced
    }

    /// Whether the session was sent or told everything.
    pub(in crate::hub) fn is_settled(&self) -> bool {
        self.next == self.end
    }

    /// Takes a message in without keeping it.
    pub(in crate::hub) fn skip(&mut self, offset: u64) {
        self.reach(offset);
    }

    /// Counts an offset in. What was left out before it is what the session published itself and wanted no echo of; it is no
    /// gap as far as that can be told from what is skipped around it. Gives where what is told with the offset begins.
    fn reach(&mut self, offset: u64) -> u64 {
        debug_assert!(offset >= self.end, "a stream has an order");
        if self.is_settled() {
            self.next = offset;
        }
        let begins = if self.is_settled() { offset } else { self.end };
        self.end = offset + 1;
        begins
    }

    /// Keeps a message, and all before it.
    pub(in crate::hub) fn keep(&mut self, offset: u64, frame: Bytes) {
        self.put(offset, frame, None);
    }

    /// Keeps a message and none before it. Gives how many were skipped.
    pub(in crate::hub) fn keep_only(&mut self, offset: u64, frame: Bytes) -> usize {
        let skipped = self.empty();
        self.put(offset, frame, None);
        skipped
    }

    /// Keeps a message and none before it with the same key. Gives how many were skipped.
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

    /// Gives up the oldest message for want of room. False if there is none.
    pub(in crate::hub) fn give_way(&mut self) -> bool {
        let gone = self.pop();
        self.squeezed |= gone.is_some();
        gone.is_some()
    }

    /// Gives up everything for want of room. Gives how many that were.
    pub(in crate::hub) fn give_way_entirely(&mut self) -> usize {
        let gone = self.empty();
        self.squeezed |= gone > 0;
        gone
    }

    /// Hands out what the session is to be told, in order, until `bytes_max` of messages are out. Gives how many.
    pub(in crate::hub) fn release(&mut self, bytes_max: usize, mut tell: impl FnMut(NextDelivery)) -> usize {
        let (mut bytes, mut messages) = (0, 0);
        while bytes < bytes_max
            && let Some((begins, offset, frame)) = self.pop()
        {
            self.tell_gap(begins, &mut tell);
            self.next = offset + 1;
            bytes += frame.len();
            messages += 1;
            tell(NextDelivery::Message(frame));
        }
        if self.messages() == 0 {
            self.tell_gap(self.end, &mut tell);
        }
        messages
    }

    fn tell_gap(&mut self, end: u64, tell: &mut impl FnMut(NextDelivery)) {
        if self.next < end {
            let reason = if self.squeezed { GapReason::Slow } else { GapReason::Conflated };
            tell(NextDelivery::Gap { from: self.next, to: end - 1, reason });
            self.next = end;
            self.squeezed = false;
        }
    }

    fn put(&mut self, offset: u64, frame: Bytes, key: Option<Key>) {
        let begins = self.reach(offset);
        let waiting = Waiting { begins, offset, content: Some((frame, key)) };
        self.bytes += waiting.bytes();
        self.waiting.push_back(waiting);
    }

    /// Takes out the oldest message: where what is told with it begins, its offset and its frame.
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

    /// Forgets the places of messages that were replaced, once they are more than the others.
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
            // A key stands in the table too.
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

    fn told(backlog: &mut Backlog, bytes_max: usize) -> String {
        let mut text = Vec::new();
        backlog.release(bytes_max, |told| {
            text.push(match told {
                NextDelivery::Message(frame) => String::from_utf8(frame.to_vec()).expect("digits"),
                NextDelivery::Gap { from, to, reason } => format!("({from}-{to} {reason:?})"),
            });
        });
        text.join(" ")
    }

    #[test]
    fn each_policy_keeps_its_messages_and_tells_the_others() {
        let mut all = Backlog::new(1);
        (1..=4).for_each(|offset| all.keep(offset, frame(offset)));
        assert!(all.give_way() && all.give_way());
        assert_eq!(told(&mut all, 1), "(1-2 Slow) 3");
        assert_eq!(told(&mut all, 9), "4");
        assert!(all.is_settled());

        let mut last = Backlog::new(5);
        let skipped: usize = (5..=9).map(|offset| last.keep_only(offset, frame(offset))).sum();
        assert_eq!((skipped, told(&mut last, 9).as_str()), (4, "(5-8 Conflated) 9"));

        let mut by_key = Backlog::new(1);
        let keys = [1, 2, 1, 3, 2, 1];
        let skipped: usize =
            (1..).zip(keys).map(|(offset, of)| by_key.keep_only_of(key(of), offset, frame(offset))).sum();
        assert_eq!((skipped, told(&mut by_key, 99).as_str()), (3, "(1-3 Conflated) 4 5 6"));
        assert_eq!(by_key.bytes(), 0);
    }

    #[test]
    fn what_is_skipped_last_is_told_too() {
        let mut backlog = Backlog::new(1);
        backlog.keep(1, frame(1));
        backlog.keep(2, frame(2));
        assert_eq!(backlog.give_way_entirely(), 2);
        backlog.skip(3);
        assert!(!backlog.is_settled());
        assert_eq!(told(&mut backlog, 9), "(1-3 Slow)");
        assert!(backlog.is_settled());
        backlog.keep(4, frame(4));
        backlog.skip(5);
        assert_eq!(told(&mut backlog, 9), "4 (5-5 Conflated)");
    }

    #[test]
    fn what_was_not_for_the_session_is_no_gap() {
        let mut backlog = Backlog::new(1);
        for offset in [1, 2, 5, 7] {
            backlog.keep(offset, frame(offset));
        }
        assert!(backlog.give_way());
        assert_eq!(told(&mut backlog, 2), "(1-1 Slow) 2 5");
        backlog.give_way_entirely();
        backlog.keep(9, frame(9));
        assert_eq!(told(&mut backlog, 9), "(6-7 Slow) 9");
        backlog.skip(11);
        backlog.keep_only(13, frame(13));
        assert_eq!(told(&mut backlog, 9), "(11-11 Conflated) 13");
        assert!(backlog.is_settled());
    }

    proptest! {
        /// Whatever happens, the session is told every offset once and in order, keys are kept apart and bytes add up.
        #[test]
        fn nothing_is_lost_and_nothing_doubled(
            policy in 0..3, steps in prop::collection::vec((0..8_u8, 0..6_u64, 1..40_usize), 1..200),
        ) {
            let mut backlog = Backlog::new(1);
            let (mut offset, mut expected) = (1, 1);
            let mut latest: HashMap<u64, u64> = HashMap::new();
            let mut skipped = 0;
            let mut counted = 0;
            for (step, of, bytes) in steps {
                match step {
                    0 => skipped += usize::from(backlog.give_way()),
                    1 => skipped += backlog.give_way_entirely(),
                    2 => {
                        backlog.skip(offset);
                        skipped += 1;
                        offset += 1;
                    }
                    3 => {
                        backlog.release(bytes, |told| match told {
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
            backlog.release(usize::MAX, |told| match told {
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
