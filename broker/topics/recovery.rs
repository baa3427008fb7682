//! Recovery: which missed messages a session that resubscribes can be sent, as a pure function of positions.

use rialto_protocol::{GapReason, Position};

/// What a subscription is sent before live messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Whether all missed messages are sent; none if no position was given.
    pub(crate) recovered: Option<bool>,
    /// The messages that are lost: the first and the last offset, and why.
    pub(crate) gap: Option<(u64, u64, GapReason)>,
    /// The messages after this offset are sent; none if there are none.
    pub(crate) after: Option<u64>,
}

/// What of a topic's past is kept, as far as the plan for one session depends on it. What has to be read for that comes in
/// pages: [`KeptRange::next_read`] names the page, [`KeptRange::take`] takes it.
#[derive(Clone, Debug)]
pub(crate) struct KeptRange {
    /// Where the topic stood.
    at: Position,
    /// The first offset that is kept; none before it has been read.
    first: Option<u64>,
    /// After which offset a page was read last, and whether more than that page followed.
    page: Option<(u64, bool)>,
}

impl KeptRange {
    /// Nothing has been read yet.
    pub(crate) fn new(at: Position) -> Self {
        Self { at, first: None, page: None }
    }

    /// After which offset a page has to be read, because the plan depends on it; none when everything is known.
    pub(crate) fn next_read(&self, since: Option<&Position>, last: Option<u64>) -> Option<u64> {
        let now = &self.at;
        let Some((first, (read_after, more))) = self.first.zip(self.page) else {
            let goes_on = since.filter(|since| since.epoch == now.epoch && since.offset <= now.offset);
            let after = goes_on.map_or(now.offset.saturating_sub(last.unwrap_or(0)), |since| since.offset);
            return (after < now.offset).then_some(after);
        };
        let after = plan(since, last, now, first).after?;
        (more && after > read_after.max(first - 1)).then_some(after)
    }

    /// Takes a page: the first offset that is kept, and whether more follows the page.
    pub(crate) fn take(&mut self, after: u64, first: Option<u64>, more: bool) {
        self.first.get_or_insert(first.unwrap_or(self.at.offset + 1));
        self.page = Some((after, more));
    }

    /// The plan for a session that joins when the topic stands at `now`, and whether what it gets is more than one page. What
    /// was published since the read may have pushed out what was kept: nothing before `oldest` is kept any more.
    pub(crate) fn plan(
        &self,
        since: Option<&Position>,
        last: Option<u64>,
        now: &Position,
        oldest: u64,
    ) -> (Plan, bool) {
        let is_same = self.at.epoch == now.epoch;
        let first = if is_same { self.first.unwrap_or(self.at.offset + 1).max(oldest) } else { now.offset + 1 };
        let plan = plan(since, last, now, first);
        (plan, plan.after.is_some() && self.page.is_some_and(|(_, more)| more))
    }
}

/// Decides for a session that has received everything up to `since`, or requests the `last` messages; with both, `last`
/// applies where recovery from `since` fails. The topic is at `now`, and all messages from offset `first` on are kept.
fn plan(since: Option<&Position>, last: Option<u64>, now: &Position, first: u64) -> Plan {
    let kept = first.saturating_sub(1).min(now.offset);
    let tail = |last: u64| kept.max(now.offset.saturating_sub(last));
    let after = |offset: u64| (offset < now.offset).then_some(offset);
    let Some(since) = since else {
        return Plan { recovered: None, gap: None, after: last.map(tail).and_then(after) };
    };
    let is_same = since.epoch == now.epoch && since.offset <= now.offset;
    if is_same && since.offset >= kept {
        return Plan { recovered: Some(true), gap: None, after: after(since.offset) };
    }
    let (from, reason) = if is_same { (since.offset + 1, GapReason::Expired) } else { (1, GapReason::Reset) };
    let start = last.map_or(now.offset, tail);
    Plan { recovered: Some(false), gap: (from <= start).then_some((from, start, reason)), after: after(start) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(epoch: &str, offset: u64) -> Position {
        Position { epoch: epoch.into(), offset }
    }

    #[test]
    fn recovery_succeeds_only_when_all_missed_messages_are_kept() {
        use GapReason::{Expired, Reset};
        // (since, last, first kept) with the topic at e:10; then recovered, gap, after.
        let cases = [
            (None, None, 1, None, None, None),
            (None, Some(3), 1, None, None, Some(7)),
            (None, Some(3), 9, None, None, Some(8)),
            (None, Some(3), 11, None, None, None),
            (None, Some(99), 1, None, None, Some(0)),
            (Some(("e", 10)), None, 11, Some(true), None, None),
            (Some(("e", 9)), None, 10, Some(true), None, Some(9)),
            (Some(("e", 0)), None, 1, Some(true), None, Some(0)),
            (Some(("e", 4)), Some(2), 5, Some(true), None, Some(4)),
            (Some(("e", 4)), None, 6, Some(false), Some((5, 10, Expired)), None),
            (Some(("e", 4)), Some(99), 6, Some(false), Some((5, 5, Expired)), Some(5)),
            (Some(("e", 4)), Some(2), 6, Some(false), Some((5, 8, Expired)), Some(8)),
            (Some(("e", 11)), None, 1, Some(false), Some((1, 10, Reset)), None),
            (Some(("old", 4)), None, 1, Some(false), Some((1, 10, Reset)), None),
            (Some(("old", 4)), Some(99), 1, Some(false), None, Some(0)),
            (Some(("old", 4)), Some(3), 1, Some(false), Some((1, 7, Reset)), Some(7)),
        ];
        for (since, last, first, recovered, gap, after) in cases {
            let since = since.map(|(epoch, offset)| at(epoch, offset));
            let got = plan(since.as_ref(), last, &at("e", 10), first);
            assert_eq!(got, Plan { recovered, gap, after }, "{since:?} {last:?} {first}");
        }
        assert_eq!(plan(Some(&at("old", 4)), None, &at("e", 0), 1).gap, None, "nothing with an offset is missing");
    }

    /// Plans as a subscribe does: reads pages of `page` messages until everything is known. Returns how many it read.
    fn read_and_plan(
        since: Option<&Position>,
        last: Option<u64>,
        now: &Position,
        first: u64,
        page: u64,
    ) -> (Plan, bool, usize) {
        let mut kept = KeptRange::new(now.clone());
        let mut reads = 0;
        while let Some(after) = kept.next_read(since, last) {
            reads += 1;
            kept.take(
                after,
                (first <= now.offset).then_some(first),
                now.offset.saturating_sub(after.max(first - 1)) > page,
            );
        }
        let (plan, more) = kept.plan(since, last, now, 1);
        (plan, more, reads)
    }

    #[test]
    fn nothing_is_read_where_the_plan_does_not_depend_on_it() {
        let now = at("e", 10);
        for (since, last, reads) in [
            (Some(at("e", 10)), None, 0),
            (Some(at("old", 4)), None, 0),
            (Some(at("e", 11)), Some(0), 0),
            (Some(at("e", 4)), None, 1),
            (None, Some(3), 1),
            (Some(at("e", 1)), Some(5), 2),
        ] {
            assert_eq!(read_and_plan(since.as_ref(), last, &now, 4, 5).2, reads, "{since:?} {last:?}");
        }
        let mut kept = KeptRange::new(at("old", 10));
        kept.take(4, Some(1), false);
        let (plan, _) = kept.plan(Some(&at("old", 4)), Some(9), &now, 1);
        assert_eq!(plan.gap, Some((1, 10, GapReason::Reset)), "of a new epoch nothing is known to be kept");
    }

    #[test]
    fn what_was_pushed_out_after_the_read_is_not_promised() {
        let mut kept = KeptRange::new(at("e", 58));
        kept.take(38, Some(39), false);
        let (plan, _) = kept.plan(None, Some(30), &at("e", 59), 40);
        assert_eq!((plan.after, plan.gap, plan.recovered), (Some(39), None, None), "`last` promises what is kept now");
        let (plan, _) = kept.plan(Some(&at("e", 38)), None, &at("e", 59), 40);
        assert_eq!((plan.after, plan.gap), (None, Some((39, 59, GapReason::Expired))));
        assert_eq!(plan.recovered, Some(false), "something is missing");
    }

    proptest! {
        #[test]
        fn what_is_read_is_enough_for_the_plan(
            since in prop::option::of((any::<bool>(), 0_u64..15)), last in prop::option::of(0_u64..15),
            now in 0_u64..12, kept in 0_u64..12, page in 1_u64..5,
        ) {
            let first = now.saturating_sub(kept) + 1;
            let since = since.map(|(same, offset)| at(if same { "e" } else { "old" }, offset));
            let now = at("e", now);
            let (got, more, reads) = read_and_plan(since.as_ref(), last, &now, first, page);
            let expected = plan(since.as_ref(), last, &now, first);
            prop_assert_eq!(got, expected);
            prop_assert_eq!(more, expected.after.is_some_and(|after| now.offset - after > page));
            prop_assert!(reads <= 2);
        }

        #[test]
        fn every_offset_is_known_reported_or_sent(
            same: bool, since in 0_u64..15, last in prop::option::of(0_u64..15), now in 0_u64..12, kept in 0_u64..12,
        ) {
            let first = now.saturating_sub(kept) + 1;
            let given = at(if same { "e" } else { "old" }, since);
            let Plan { recovered, gap, after } = plan(Some(&given), last, &at("e", now), first);
            let known = if same && since <= now { since } else { 0 };
            let reported = gap.map_or(known, |(from, to, _)| { assert_eq!(from, known + 1); to });
            prop_assert_eq!(after.unwrap_or(now), reported, "what is sent follows what was reported");
            prop_assert!(after.is_none_or(|after| after + 1 >= first), "only what is kept is sent");
            prop_assert_eq!(recovered == Some(true), same && since <= now && gap.is_none() && known + 1 >= first.min(now + 1));
        }
    }
}
