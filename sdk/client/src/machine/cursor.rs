//! The position of one subscription in its topic: which messages and gaps are new, which offsets are missing, and where to
//! resume. It hands out no offset twice within an epoch.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use rialto_protocol::{Gap, Position, Subscribed};

/// How many of the client's own messages are remembered ahead of what was handed out.
const OWN_MAX: usize = 1_024;

/// What a subscription asked for when it began, or began again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StartPoint {
    pub(crate) since: Option<Position>,
    pub(crate) last: Option<u64>,
}

/// A position that moves forward.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cursor {
    /// None before the first answer.
    epoch: Option<Arc<str>>,
    /// The last offset that was handed out or reported as missing.
    offset: u64,
    /// How many of the last messages are kept is not known when they are asked for: up to here no offset counts as missing, as
    /// long as nothing was handed out.
    promised_after: u64,
    /// Where the topic stood at the last answer: messages up to here are past ones.
    past_to: u64,
    /// Offsets ahead of the position that the client published itself without echo. They are not missing, and not handed out
    /// when the past is sent.
    own: BTreeSet<u64>,
}

impl Cursor {
    /// Where to resume; none before the first answer.
    pub(crate) fn position(&self) -> Option<Position> {
        self.epoch.as_ref().map(|epoch| Position { epoch: Arc::clone(epoch), offset: self.offset })
    }

    /// Begins anew: the next request asks for no position.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes the answer to a subscription.
    pub(crate) fn begin(&mut self, start_point: &StartPoint, subscribed: &Subscribed) {
        let Some(head) = &subscribed.position else { return };
        let same = |since: &Position| since.epoch == head.epoch && since.offset <= head.offset;
        let (offset, promised_after) = match start_point {
            // A gap may follow, and the messages after it.
            StartPoint { since: Some(since), .. } if same(since) => (since.offset, self.promised_after),
            // All of the new epoch is new.
            StartPoint { since: Some(_), .. } => (0, 0),
            StartPoint { last: Some(last), .. } => (head.offset - head.offset.min(*last), head.offset),
            _ => (head.offset, 0),
        };
        let own =
            if self.epoch.as_ref() == Some(&head.epoch) { std::mem::take(&mut self.own) } else { BTreeSet::new() };
        *self = Self { epoch: Some(Arc::clone(&head.epoch)), offset, promised_after, past_to: head.offset, own };
    }

    /// The offsets before a message that should have come and that no gap has reported.
    pub(crate) fn hole_before(&self, offset: u64) -> Option<RangeInclusive<u64>> {
        let first = self.offset.max(self.promised_after).saturating_add(1);
        (self.epoch.is_some() && first < offset).then(|| first..=offset - 1)
    }

    /// Whether a message is to be handed out.
    pub(crate) fn message(&mut self, offset: u64) -> bool {
        let is_new = offset > self.offset;
        let is_own = self.own.contains(&offset);
        if is_new {
            self.move_to(offset);
            self.promised_after = 0;
        }
        is_new && !is_own
    }

    /// The client published this itself, without echo.
    pub(crate) fn published(&mut self, position: &Position) {
        if self.epoch.as_ref() == Some(&position.epoch) && position.offset > self.offset {
            self.own.insert(position.offset);
            if self.own.len() > OWN_MAX {
                self.own.pop_first();
            }
            self.move_to(self.offset);
        }
    }

    /// What of a gap is to be reported.
    pub(crate) fn gap(&mut self, gap: Gap) -> Option<Gap> {
        let from = gap.from.max(self.offset.max(self.promised_after).saturating_add(1));
        self.move_to(gap.to.max(self.offset));
        (from <= gap.to).then_some(Gap { from, ..gap })
    }

    /// Moves forward, also over what the client published itself.
    fn move_to(&mut self, offset: u64) {
        self.offset = offset;
        while let Some(first) = self.own.first().copied().filter(|first| *first <= self.offset.saturating_add(1)) {
            self.own.pop_first();
            self.offset = self.offset.max(first);
        }
    }

    /// Whether a message was published before the last answer.
    pub(crate) fn is_past(&self, offset: u64) -> bool {
        offset <= self.past_to
    }

    /// What of a gap concerns messages that were published after the last answer.
    pub(crate) fn live_part(&self, gap: Gap) -> Option<Gap> {
        let from = gap.from.max(self.past_to.saturating_add(1));
        (from <= gap.to).then_some(Gap { from, ..gap })
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::GapReason;

    use super::*;

    fn at(epoch: &str, offset: u64) -> Position {
        Position { epoch: epoch.into(), offset }
    }

    fn answer(position: Position, recovered: Option<bool>) -> Subscribed {
        Subscribed { topic: "t".into(), position: Some(position), recovered, more: None, present: None }
    }

    fn gap(from: u64, to: u64) -> Gap {
        Gap { topic: "t".into(), from, to, reason: GapReason::Expired }
    }

    fn begun(since: Option<Position>, last: Option<u64>, head: Position) -> Cursor {
        let mut cursor = Cursor::default();
        let recovered = since.as_ref().map(|_| true);
        cursor.begin(&StartPoint { since, last }, &answer(head, recovered));
        cursor
    }

    #[test]
    fn a_subscription_begins_where_it_was_asked_to() {
        for (since, last, expected) in [
            (None, None, at("e", 10)),
            (None, Some(3), at("e", 7)),
            (None, Some(99), at("e", 0)),
            (Some(at("e", 4)), None, at("e", 4)),
            (Some(at("e", 4)), Some(2), at("e", 4)),
            (Some(at("e", 10)), None, at("e", 10)),
            (Some(at("e", 11)), None, at("e", 0)),
            (Some(at("old", 4)), Some(99), at("e", 0)),
        ] {
            let cursor = begun(since.clone(), last, at("e", 10));
            assert_eq!(cursor.position(), Some(expected), "{since:?} {last:?}");
        }
        assert_eq!(Cursor::default().position(), None);
    }

    #[test]
    fn no_offset_is_handed_out_twice() {
        let mut cursor = begun(None, Some(3), at("e", 10));
        let handed: Vec<u64> = [8, 9, 8, 9, 10, 10, 11].into_iter().filter(|offset| cursor.message(*offset)).collect();
        assert_eq!(handed, [8, 9, 10, 11]);
        assert_eq!(cursor.gap(gap(9, 11)), None);
        assert!(!cursor.message(11));
    }

    #[test]
    fn positions_move_over_gaps_so_that_they_are_not_asked_for_again() {
        let mut cursor = begun(Some(at("e", 4)), None, at("e", 10));
        assert_eq!(cursor.gap(gap(5, 8)), Some(gap(5, 8)));
        assert_eq!(cursor.position(), Some(at("e", 8)));
        assert_eq!(cursor.gap(gap(7, 9)), Some(gap(9, 9)), "only what was not reported yet");
        assert!(cursor.message(10));
        assert_eq!(cursor.position(), Some(at("e", 10)));
    }

    #[test]
    fn what_was_never_promised_is_no_gap() {
        // Five were asked for, and the connection was lost before one of them came.
        let mut cursor = begun(None, Some(5), at("e", 10));
        let since = cursor.position().expect("it began");
        cursor.begin(&StartPoint { since: Some(since), last: Some(5) }, &answer(at("e", 14), Some(false)));
        let mut other = cursor.clone();
        assert_eq!(other.gap(gap(6, 9)), None);
        assert!(other.message(10));
        assert_eq!(cursor.gap(gap(6, 12)), Some(gap(11, 12)), "but what came after the subscription is");
    }

    #[test]
    fn what_was_published_without_echo_is_neither_missing_nor_handed_out() {
        let mut cursor = begun(None, None, at("e", 10));
        for offset in [12, 11, 14] {
            cursor.published(&at("e", offset));
        }
        cursor.published(&at("other", 13));
        assert_eq!(cursor.position(), Some(at("e", 12)), "those that follow on are passed over");
        let since = cursor.position();
        cursor.begin(&StartPoint { since, last: None }, &answer(at("e", 15), Some(true)));
        let handed: Vec<u64> = [13, 14, 15].into_iter().filter(|offset| cursor.message(*offset)).collect();
        assert_eq!(handed, [13, 15]);
    }

    #[test]
    fn past_is_what_was_published_before_the_answer() {
        let mut cursor = begun(None, Some(3), at("e", 10));
        assert_eq!(cursor.position(), Some(at("e", 7)));
        assert!(cursor.is_past(10) && !cursor.is_past(11));
        assert_eq!(cursor.live_part(gap(9, 12)), Some(gap(11, 12)));
        assert_eq!(cursor.live_part(gap(9, 10)), None);
        assert!(cursor.message(11));
        assert_eq!(cursor.position(), Some(at("e", 11)));
        assert!(!cursor.message(11));
    }

    #[test]
    fn a_hole_is_what_was_promised_and_not_reported() {
        let mut cursor = begun(None, Some(5), at("e", 10));
        assert_eq!(cursor.hole_before(9), None, "fewer are kept than were asked for");
        assert_eq!(cursor.hole_before(13), Some(11..=12));
        assert!(cursor.message(9));
        assert_eq!(cursor.hole_before(12), Some(10..=11));
        assert_eq!(cursor.gap(gap(10, 11)), Some(gap(10, 11)));
        assert_eq!((cursor.hole_before(12), cursor.hole_before(3)), (None, None));
        assert_eq!(Cursor::default().hole_before(3), None, "it has no position");
    }
}
