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

/// Decides for a session that has received everything up to `since`, or requests the `last` messages; with both, `last`
/// applies where recovery from `since` fails. The topic is at `now`, and all messages from offset `first` on are kept.
pub(crate) fn plan(since: Option<&Position>, last: Option<u64>, now: &Position, first: u64) -> Plan {
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

    proptest! {
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
