//! What one subscriber of one topic has got, and what it misses.

use std::ops::Range;

/// One subscriber's place in a topic.
#[derive(Debug, Default)]
pub(crate) struct Subscription {
    /// The sequence that comes next.
    next: u64,
    /// The offset of sequence 0, as soon as it is known.
    base: Option<u64>,
    /// Sequences before `next` that did not come, in order.
    missing: Vec<Range<u64>>,
    /// Nothing more is expected.
    ended: bool,
}

/// How a message arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is the next one, or one after that.
    Next,
    /// After a later one.
    Late,
    /// Not for the first time.
    Again,
}

impl Subscription {
    /// The sequence that comes next.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The next one has come.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.next += 1;
    }

    /// The offset of a sequence, if known.
    #[inline]
    pub(crate) fn offset_of(&self, sequence: u64) -> Option<u64> {
        self.base.map(|base| base.wrapping_add(sequence))
    }

    /// The server says that sequence 0 has the offset after this one.
    pub(crate) fn begin_after(&mut self, offset: u64) {
        self.base.get_or_insert(offset.wrapping_add(1));
    }

    /// Whether this offset fits; the first one decides.
    pub(crate) fn takes_offset(&mut self, sequence: u64, offset: u64) -> bool {
        *self.base.get_or_insert(offset.wrapping_sub(sequence)) == offset.wrapping_sub(sequence)
    }

    /// The sequences that these offsets stand for, among those that were published: those before the first belong to
    /// somebody else. None if they make no sense.
    pub(crate) fn sequences(&self, from: u64, to: u64, published: u64) -> Option<Range<u64>> {
        let base = self.base?;
        let end = to.checked_add(1)?.saturating_sub(base);
        (from <= to && end <= published).then(|| from.saturating_sub(base)..end)
    }

    /// A message came, or the news that it will not.
    pub(crate) fn arrive(&mut self, sequence: u64) -> Arrival {
        if sequence >= self.next {
            if sequence > self.next {
                self.missing.push(self.next..sequence);
            }
            self.next = sequence + 1;
            return Arrival::Next;
        }
        let Some(at) = self.missing.iter().position(|range| range.contains(&sequence)) else { return Arrival::Again };
        let range = self.missing[at].clone();
        let halves = [range.start..sequence, sequence + 1..range.end];
        self.missing.splice(at..=at, halves.into_iter().filter(|half| !half.is_empty()));
        Arrival::Late
    }

    /// Nothing more will come; returns what is still waited for.
    pub(crate) fn end(&mut self, published: u64) -> Vec<u64> {
        self.ended = true;
        self.missing.iter().cloned().flatten().chain(self.next..published).collect()
    }

    /// How many never came, if nothing more comes. After an early end only those count that a later one overtook.
    pub(crate) fn lost(&self, published: u64) -> u64 {
        let missing: u64 = self.missing.iter().map(|range| range.end - range.start).sum();
        missing + if self.ended { 0 } else { published - self.next }
    }
}

#[cfg(test)]
mod tests {
    use super::Arrival::{Again, Late, Next};
    use super::*;

    #[test]
    fn late_and_duplicate_deliveries_are_told_apart_and_the_rest_is_lost() {
        // Sequences as they come in, what they are, and how many of 6 are lost.
        type Case = (&'static [u64], &'static [Arrival], u64);
        let cases: &[Case] = &[
            (&[0, 1, 2, 3, 4, 5], &[Next; 6], 0),
            (&[], &[], 6),
            (&[0, 1, 2], &[Next; 3], 3),
            (&[2, 3], &[Next; 2], 4),
            (&[0, 1, 3, 2, 4, 5], &[Next, Next, Next, Late, Next, Next], 0),
            (&[0, 0, 1, 1], &[Next, Again, Next, Again], 4),
            (&[5, 0, 2, 4, 3, 1], &[Next, Late, Late, Late, Late, Late], 0),
            (&[5, 2, 2, 5], &[Next, Late, Again, Again], 4),
            (&[1, 3, 5, 0, 4, 0], &[Next, Next, Next, Late, Late, Again], 1),
        ];
        for (sequences, arrivals, lost) in cases {
            let mut subscription = Subscription::default();
            let heard: Vec<Arrival> = sequences.iter().map(|sequence| subscription.arrive(*sequence)).collect();
            assert_eq!((&heard[..], subscription.lost(6)), (*arrivals, *lost), "{sequences:?}");
        }
    }

    #[test]
    fn a_disconnected_subscriber_lost_only_overtaken_messages() {
        let mut subscription = Subscription::default();
        for sequence in [0, 2, 5] {
            subscription.arrive(sequence);
        }
        assert_eq!(subscription.lost(9), 6);
        assert_eq!(subscription.end(9), [1, 3, 4, 6, 7, 8]);
        assert_eq!(subscription.lost(9), 3);
    }

    #[test]
    fn offsets_stand_for_sequences() {
        let mut subscription = Subscription::default();
        assert_eq!(subscription.sequences(1, 2, 9), None);
        subscription.begin_after(100);
        for (from, to, expected) in [
            (101, 101, Some(0..1)),
            (103, 105, Some(2..5)),
            (90, 102, Some(0..2)),
            (109, 109, Some(8..9)),
            (109, 110, None),
            (105, 104, None),
            (0, u64::MAX, None),
        ] {
            assert_eq!(subscription.sequences(from, to, 9), expected, "{from} to {to}");
        }
        assert!(subscription.takes_offset(4, 105) && !subscription.takes_offset(4, 106));
        let mut without_position = Subscription::default();
        assert!(without_position.takes_offset(2, 7) && without_position.takes_offset(3, 8));
        assert!(!without_position.takes_offset(4, 8));
    }
}
