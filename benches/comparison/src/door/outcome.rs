//! The results of the rounds: ratios with their bounds, and further conditions. Computed, not measured.

use std::time::Duration;

use super::caller::Act;
use super::hostile::{Deadlines, Kind};
use super::{Round, SLACK};
use crate::bystanders::DISTURBING_CORES;
use crate::check::{Check, Outcome};
use crate::row::{Bound, Row, Unit, Verdict};

/// Why waits are not judged.
pub const BUSY: &str = "the machine was busy with something else";
/// The longest wait of 99 in 100 may grow by this factor.
const MUST: f64 = 2.0;
const AIM: f64 = 1.2;
/// Replacing one that was ended takes a moment, so a few are always missing.
const THERE_PART: f64 = 0.95;

/// What the connections of one kind came to, over all rounds.
#[derive(Clone, Debug)]
pub struct Gone {
    /// The kind.
    pub kind: Kind,
    /// How long a broker may bear it.
    pub deadline: Duration,
    /// How many the broker hung up on.
    pub count: usize,
    /// After how long: the first, the middle one, the last.
    pub after: Option<[Duration; 3]>,
    /// Those that were still there at the deadline.
    pub left: usize,
    /// Those that were never let in.
    pub refused: usize,
    /// Whether all were gone in time.
    pub outcome: Outcome,
}

/// One row for each act: hostile ÷ idle, of the rounds in which nobody else kept the machine busy.
pub fn rows(rounds: &[Round]) -> Vec<Row> {
    let row = |act: Act| {
        let p99 = |waits: &super::Waits| waits.micros(act, 0.99);
        let alone = rounds.iter().filter(|round| round.others_cores <= DISTURBING_CORES);
        let ratios = alone.map(|round| p99(&round.hostile.waits) / p99(&round.idle.waits)).collect();
        Row::new(act.name(), Unit::Ratio, Bound::AtMost(MUST), Bound::AtMost(AIM), ratios, BUSY)
    };
    Act::ALL.map(row).to_vec()
}

/// One entry for each kind.
pub fn gone(rounds: &[Round], deadlines: &Deadlines) -> Vec<Gone> {
    let ended = |place: usize| rounds.iter().filter_map(move |round| round.outcome.ended.get(place));
    let kinds = Kind::ALL.into_iter().enumerate();
    let each = kinds.map(|(place, kind)| {
        let mut after: Vec<Duration> = ended(place).flat_map(|ended| ended.after.iter().copied()).collect();
        after.sort();
        let deadline = kind.deadline(deadlines);
        let left = ended(place).map(|ended| ended.left).sum();
        let in_time = left == 0 && after.last().is_some_and(|last| *last <= deadline + SLACK);
        Gone {
            kind,
            deadline,
            count: after.len(),
            after: after.first().zip(after.last()).map(|(first, last)| [*first, after[after.len() / 2], *last]),
            left,
            refused: ended(place).map(|ended| ended.refused).sum(),
            outcome: if in_time { Outcome::Holds } else { Outcome::Broken },
        }
    });
    each.collect()
}

/// That the hostile ones were there, and that nothing of them stayed.
pub fn checks(rounds: &[Round], sockets: usize) -> Vec<Check> {
    let fewest = rounds.iter().map(|round| round.outcome.fewest).min().unwrap_or(0);
    let mean = rounds.iter().map(|round| round.outcome.mean).min_by(f64::total_cmp).unwrap_or(0.0);
    let there = mean >= THERE_PART * sockets as f64;
    let stayed: Vec<usize> =
        rounds.iter().map(|round| round.after.descriptors.saturating_sub(round.before.descriptors)).collect();
    let check = |what: String, seen: String, holds: bool| Check {
        what,
        seen,
        outcome: if holds { Outcome::Holds } else { Outcome::Broken },
    };
    vec![
        check(
            format!("{sockets} hostile sockets are there for as long as it is measured"),
            format!("{mean:.0} on average, never fewer than {fewest}; the worst round"),
            there,
        ),
        check(
            "when they are gone, the broker has no more descriptors open than before".to_owned(),
            format!("{stayed:?} more, round by round"),
            stayed.iter().all(|count| *count == 0),
        ),
    ]
}

/// Everything that does not hold, in words; empty when all is well.
pub fn reasons_to_fail(rounds: &[Round], deadlines: &Deadlines, sockets: usize) -> Vec<String> {
    let rows = rows(rounds).into_iter().filter(|row| row.verdict == Verdict::Broken);
    let rows = rows.map(|row| format!("{}: p99 grows by more than {MUST} ×: {:.2?}", row.figure, row.rounds));
    let gone = gone(rounds, deadlines).into_iter().filter(|gone| gone.outcome != Outcome::Holds);
    let gone = gone.map(|gone| {
        let last =
            gone.after.map_or_else(|| "none was ended".to_owned(), |[.., last]| format!("the last after {last:.1?}"));
        format!("{}: {} left at their deadline of {:?}, {last}", gone.kind.name(), gone.left, gone.deadline)
    });
    let checks = checks(rounds, sockets).into_iter().filter(|check| check.outcome != Outcome::Holds);
    let checks = checks.map(|check| format!("{}: {}", check.what, check.seen));
    rows.chain(gone).chain(checks).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Phase;
    use super::super::caller::Waits;
    use super::super::exhaustion::{AttackOutcome, Ended};
    use super::*;
    use crate::holding::Holding;

    const DEADLINES: Deadlines =
        Deadlines { header: Duration::from_secs(5), frame: Duration::from_secs(10), write: Duration::from_secs(10) };

    fn phase(wait: Duration) -> Phase {
        let mut waits = Waits::new();
        Act::ALL.into_iter().for_each(|act| waits.note(act, wait));
        Phase { waits, server_cores: 0.1, load_cores: 0.1 }
    }

    fn round(hostile: Duration, header_after: Duration) -> Round {
        let ended = Kind::ALL.map(|kind| {
            let late = if kind == Kind::Silent { header_after } else { kind.deadline(&DEADLINES) };
            Ended { after: vec![late], left: 0, refused: 0 }
        });
        let holding = |descriptors| Holding { descriptors, resident_bytes: 1 };
        Round {
            others_cores: 0.0,
            idle: phase(Duration::from_micros(100)),
            hostile: phase(hostile),
            attack_cores: 0.1,
            outcome: AttackOutcome { ended: ended.to_vec(), mean: 1_990.0, fewest: 1_830 },
            before: holding(10),
            during: holding(2_010),
            after: holding(10),
        }
    }

    fn reasons(rounds: &[Round]) -> Vec<String> {
        reasons_to_fail(rounds, &DEADLINES, 2_000)
    }

    #[test]
    fn figures_within_their_limits_pass() {
        let good = round(Duration::from_micros(190), Duration::from_millis(6_400));
        assert_eq!(reasons(&[good.clone(), good]), Vec::<String>::new());
    }

    #[test]
    fn every_wrong_is_a_reason() {
        let good = round(Duration::from_micros(190), Duration::from_secs(5));
        let slow = round(Duration::from_micros(210), Duration::from_secs(5));
        let late = round(Duration::from_micros(190), Duration::from_millis(6_600));
        let mut few = good.clone();
        few.outcome.mean = 1_800.0;
        let mut open = good.clone();
        open.after.descriptors = 11;
        let mut left = good.clone();
        left.outcome.ended[5].left = 1;
        for (wrong, count, reason) in [
            (slow, 3, "ping → pong: p99 grows by more than 2 ×"),
            (late, 1, "silent: 0 left at their deadline of 5s, the last after 6.6s"),
            (few, 1, "1800 on average, never fewer than 1830"),
            (open, 1, "[0, 1] more, round by round"),
            (left, 1, "pages asked for and not read: 1 left"),
        ] {
            let reasons = reasons(&[good.clone(), wrong]);
            assert_eq!(reasons.len(), count, "{reasons:?}");
            assert!(reasons.iter().any(|one| one.contains(reason)), "{reasons:?}");
        }
    }

    #[test]
    fn a_round_on_a_busy_machine_shows_nothing() {
        let mut busy = round(Duration::from_micros(210), Duration::from_secs(5));
        busy.others_cores = 1.3;
        let good = round(Duration::from_micros(190), Duration::from_secs(5));
        let verdicts = |rounds: &[Round]| rows(rounds).into_iter().map(|row| row.verdict).collect::<Vec<_>>();
        assert_eq!(verdicts(&[busy.clone(), good]), vec![Verdict::Holds; 3]);
        assert_eq!(verdicts(&[busy]), vec![Verdict::NotMeasured(BUSY.to_owned()); 3]);
    }
}
