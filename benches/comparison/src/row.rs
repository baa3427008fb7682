//! One figure that has to be reached: what it must be, what it should be, and how near each round came. Plain values.

use rialto_load::number::{bytes, count, ratio};
use rialto_load::statistics::median;
use serde::{Deserialize, Serialize};

/// A figure with its judgement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub figure: String,
    /// What the numbers are.
    pub unit: Unit,
    /// Every round has to keep within it.
    pub must: Bound,
    /// Where the figure should be in the end.
    pub aim: Bound,
    /// One value for each round.
    pub rounds: Vec<f64>,
    /// The middle one of them.
    pub median: Option<f64>,
    /// The lowest and the highest of them.
    pub spread: Option<Spread>,
    /// How far the median is from the aim, in percent of the aim; 0 once it is reached.
    pub aim_missed_percent: Option<f64>,
    /// Whether it is as it must be.
    pub verdict: Verdict,
}

/// What a row's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// One measured value divided by another.
    Ratio,
    /// Bytes.
    Bytes,
    /// Percent.
    Percent,
    /// How many in a second.
    PerSecond,
}

/// A side of a number on which it is good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Not less.
    AtLeast(f64),
    /// Not more.
    AtMost(f64),
}

/// The lowest and the highest of several values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

/// Whether a row is as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// In every round.
    Holds,
    /// Not in every round.
    Broken,
    /// A quick run is not to be judged.
    NotJudged,
    /// For this reason.
    NotMeasured(String),
    /// It comes with a feature that is not there yet, or with that feature's own bench.
    Due(String),
}

impl Unit {
    /// A value as people read it.
    pub fn shown(self, value: f64) -> String {
        match self {
            Self::Ratio => ratio(value),
            Self::Bytes => bytes(value),
            Self::Percent => format!("{value:.1} %"),
            Self::PerSecond => format!("{}/s", count(value)),
        }
    }
}

impl Bound {
    /// Whether `value` is on the good side.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    /// How far `value` is on the bad side, in percent of the bound; 0 on the good one.
    pub fn missed_percent(self, value: f64) -> f64 {
        let missed = match self {
            Self::AtLeast(least) => (least - value) / least,
            Self::AtMost(most) => (value - most) / most,
        };
        missed.max(0.0) * 100.0
    }
}

impl Row {
    /// A row of what the rounds showed, judged; without any round it is not measured, for the reason given.
    pub fn new(figure: &str, unit: Unit, must: Bound, aim: Bound, rounds: Vec<f64>, without: &str) -> Self {
        let median = median(&rounds);
        let verdict = match median {
            None => Verdict::NotMeasured(without.to_owned()),
            Some(_) if rounds.iter().all(|value| must.holds(*value)) => Verdict::Holds,
            Some(_) => Verdict::Broken,
        };
        Self {
            figure: figure.to_owned(),
            unit,
            must,
            aim,
            median,
            spread: spread(&rounds),
            aim_missed_percent: median.map(|median| aim.missed_percent(median)),
            rounds,
            verdict,
        }
    }

    /// A row whose feature is still to come.
    pub fn due(figure: &str, unit: Unit, must: Bound, aim: Bound, feature: &str) -> Self {
        Self { verdict: Verdict::Due(feature.to_owned()), ..Self::new(figure, unit, must, aim, Vec::new(), "") }
    }

    /// The same without a judgement, where there was one.
    #[must_use]
    pub fn unjudged(mut self) -> Self {
        if matches!(self.verdict, Verdict::Holds | Verdict::Broken) {
            self.verdict = Verdict::NotJudged;
        }
        self
    }
}

fn spread(values: &[f64]) -> Option<Spread> {
    let min = values.iter().copied().min_by(f64::total_cmp)?;
    let max = values.iter().copied().max_by(f64::total_cmp)?;
    Some(Spread { min, max })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Bound::{AtLeast, AtMost};

    fn row(must: Bound, aim: Bound, rounds: &[f64]) -> Row {
        Row::new("figure", Unit::Ratio, must, aim, rounds.to_vec(), "nobody ran")
    }

    #[test]
    fn every_round_must_hold() {
        let cases: [(Bound, &[f64], Verdict); 6] = [
            (AtLeast(0.6), &[0.7, 0.6, 0.9], Verdict::Holds),
            (AtLeast(0.6), &[0.9, 0.59, 0.9], Verdict::Broken),
            (AtMost(1.5), &[1.5], Verdict::Holds),
            (AtMost(1.5), &[1.4, 1.6], Verdict::Broken),
            (AtMost(1.5), &[1.4, f64::NAN], Verdict::Broken),
            (AtMost(1.5), &[], Verdict::NotMeasured("nobody ran".to_owned())),
        ];
        for (must, rounds, verdict) in cases {
            assert_eq!(row(must, must, rounds).verdict, verdict, "{must:?} {rounds:?}");
        }
    }

    #[test]
    fn tells_middle_spread_and_distance() {
        let shown = row(AtLeast(0.6), AtLeast(0.8), &[0.7, 0.6, 0.9]);
        assert_eq!((shown.median, shown.spread), (Some(0.7), Some(Spread { min: 0.6, max: 0.9 })));
        assert!((shown.aim_missed_percent.expect("it was measured") - 12.5).abs() < 1e-9);
        assert_eq!(row(AtMost(2.0), AtMost(1.0), &[1.0, 1.5]).aim_missed_percent, Some(25.0));
        assert_eq!(row(AtMost(2.0), AtMost(1.0), &[0.5]).aim_missed_percent, Some(0.0));
    }

    #[test]
    fn values_have_their_unit() {
        assert_eq!(Unit::Percent.shown(5.0), "5.0 %");
        assert_eq!(Unit::PerSecond.shown(150_000.0), "150 k/s");
    }

    #[test]
    fn a_quick_run_is_not_judged() {
        assert_eq!(row(AtLeast(1.0), AtLeast(1.0), &[0.1]).unjudged().verdict, Verdict::NotJudged);
        let due = Row::due("hooks", Unit::Ratio, AtLeast(1.0), AtLeast(2.0), "hooks");
        assert_eq!(due.clone().unjudged(), due);
    }
}
