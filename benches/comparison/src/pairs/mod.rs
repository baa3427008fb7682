//! Whether a build is slower than an earlier one. Both are measured in turn, pair by pair, so that what drifts hits both
//! alike; what counts is the interval of the median ratio.

mod builds;
mod interval;

pub use builds::{Builds, Pair};
pub use interval::{Interval, median_interval};
use rialto_load::number::ratio;
use rialto_load::statistics::median;
use rialto_load::table::Side::{Left, Right};
use rialto_load::table::Table;
use serde::{Deserialize, Serialize};

/// A build below this share of the speed of the one before is slower.
pub const NOT_SLOWER: f64 = 0.98;
const WORDS_WIDTH_MAX: u16 = 60;

/// One figure of both builds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// What was measured.
    pub figure: String,
    /// Which side is the better one.
    pub better: Better,
    /// Of the earlier build, one for each pair.
    pub before: Vec<f64>,
    /// Of this build, in the same order.
    pub after: Vec<f64>,
}

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// The larger: a rate.
    More,
    /// The smaller: a cost.
    Less,
}

/// What an interval says of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// The whole interval is above 1.
    Faster,
    /// The interval reaches to [`NOT_SLOWER`] or beyond.
    NotSlower,
    /// The whole interval is below [`NOT_SLOWER`].
    Slower,
    /// There are too few pairs for an interval.
    TooFew,
}

impl Paired {
    /// A figure without a pair yet.
    pub fn new(figure: impl Into<String>, better: Better) -> Self {
        Self { figure: figure.into(), better, before: Vec::new(), after: Vec::new() }
    }

    /// Adds a pair. What could not be measured of one of them is no pair.
    pub fn push(&mut self, before: Option<f64>, after: Option<f64>) {
        let is_measured = |value: &f64| value.is_finite() && *value > 0.0;
        if let (Some(before), Some(after)) = (before.filter(is_measured), after.filter(is_measured)) {
            self.before.push(before);
            self.after.push(after);
        }
    }

    /// The speed of this build ÷ that of the one before, of each pair: above 1 is better, of a rate and of a cost.
    pub fn speeds(&self) -> Vec<f64> {
        let pairs = self.before.iter().zip(&self.after);
        pairs
            .map(|(before, after)| match self.better {
                Better::More => after / before,
                Better::Less => before / after,
            })
            .collect()
    }

    /// What the pairs say together.
    pub fn judgement(&self) -> Judgement {
        match median_interval(&self.speeds()) {
            None => Judgement::TooFew,
            Some(interval) if interval.high < NOT_SLOWER => Judgement::Slower,
            Some(interval) if interval.low > 1.0 => Judgement::Faster,
            Some(_) => Judgement::NotSlower,
        }
    }
}

/// All figures, for a terminal.
pub fn text(all: &[Paired]) -> String {
    let mut table = Table::new(&[
        ("figure", Left),
        ("before", Right),
        ("after", Right),
        ("speed", Right),
        ("95 % interval", Right),
        ("pairs", Right),
        ("judgement", Left),
    ]);
    for one in all {
        let speeds = one.speeds();
        let shown = |values: &[f64]| median(values).map_or("–".to_owned(), value);
        let interval = median_interval(&speeds);
        table.push(vec![
            one.figure.clone(),
            shown(&one.before),
            shown(&one.after),
            median(&speeds).map_or("–".to_owned(), three_digits),
            interval.map_or("–".to_owned(), |interval| {
                format!("{} … {}", three_digits(interval.low), three_digits(interval.high))
            }),
            speeds.len().to_string(),
            word(one.judgement()).to_owned(),
        ]);
    }
    format!(
        "{}\nspeed: that of this build ÷ that of the one before; more is better. Slower is who has the whole interval below \
         {}.\n",
        table.text(WORDS_WIDTH_MAX),
        ratio(NOT_SLOWER)
    )
}

fn word(judgement: Judgement) -> &'static str {
    match judgement {
        Judgement::Faster => "faster",
        Judgement::NotSlower => "not slower",
        Judgement::Slower => "SLOWER",
        Judgement::TooFew => "too few pairs",
    }
}

fn value(value: f64) -> String {
    rialto_load::number::count(value)
}

/// A ratio near 1 needs one digit more than others.
fn three_digits(value: f64) -> String {
    format!("{value:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paired(better: Better, pairs: &[(f64, f64)]) -> Paired {
        let mut paired = Paired::new("a figure", better);
        for (before, after) in pairs {
            paired.push(Some(*before), Some(*after));
        }
        paired
    }

    #[test]
    fn a_cost_that_grows_is_a_speed_that_falls() {
        let seven = [(1.0, 1.25); 7];
        assert_eq!(paired(Better::Less, &seven).speeds(), [0.8; 7]);
        assert_eq!(paired(Better::Less, &seven).judgement(), Judgement::Slower);
        assert_eq!(paired(Better::More, &seven).judgement(), Judgement::Faster);
    }

    #[test]
    fn one_bad_pair_in_seven_is_no_judgement() {
        let mut pairs = [(1.0, 0.9); 7];
        pairs[3] = (1.0, 1.0);
        assert_eq!(paired(Better::More, &pairs).judgement(), Judgement::NotSlower);
        assert_eq!(paired(Better::More, &pairs[..3]).judgement(), Judgement::TooFew);
    }

    #[test]
    fn what_was_not_measured_is_no_pair() {
        let mut paired = paired(Better::More, &[(2.0, 1.0)]);
        paired.push(None, Some(1.0));
        paired.push(Some(1.0), Some(f64::NAN));
        paired.push(Some(0.0), Some(1.0));
        assert_eq!(paired.speeds(), [0.5]);
    }

    #[test]
    fn the_table_tells_all() {
        let shown = text(&[paired(Better::More, &[(2e6, 3e6); 7]), Paired::new("nothing", Better::Less)]);
        for part in ["2.00 M", "3.00 M", "1.500 … 1.500", "faster", "too few pairs", "below 0.98"] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
    }
}
