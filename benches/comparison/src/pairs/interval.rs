//! The interval in which a median lies, from few values and without an assumption of how they are spread.

/// An interval, its ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

const CONFIDENCE: f64 = 0.95;

/// The shortest symmetric pair of order statistics between which the median lies with 95 % confidence; none with fewer
/// than six values. The number of values below the median is binomial with one half (Conover, Practical Nonparametric
/// Statistics, "confidence interval for a quantile").
pub fn median_interval(values: &[f64]) -> Option<Interval> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let outside = (0..sorted.len() / 2).take_while(|rank| coverage(sorted.len(), *rank) >= CONFIDENCE).last()?;
    Some(Interval { low: sorted[outside], high: sorted[sorted.len() - 1 - outside] })
}

/// How probably the median lies between the values of this rank from below and from above, counted from 0.
fn coverage(count: usize, rank: usize) -> f64 {
    let mut chance = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let mut below = 0.0;
    for successes in 0..=rank {
        below += chance;
        chance *= (count - successes) as f64 / (successes + 1) as f64;
    }
    1.0 - 2.0 * below
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(count: u32) -> Option<(f64, f64)> {
        let values: Vec<f64> = (1..=count).rev().map(f64::from).collect();
        median_interval(&values).map(|interval| (interval.low, interval.high))
    }

    /// As in the tables of the sign test.
    #[test]
    fn ranks_are_those_of_the_tables() {
        for (count, expected) in [
            (0, None),
            (5, None),
            (6, Some((1.0, 6.0))),
            (7, Some((1.0, 7.0))),
            (9, Some((2.0, 8.0))),
            (12, Some((3.0, 10.0))),
            (20, Some((6.0, 15.0))),
        ] {
            assert_eq!(ends(count), expected, "{count}");
        }
    }

    #[test]
    fn the_coverage_is_the_binomial_one() {
        assert!((coverage(7, 0) - (1.0 - 2.0 / 128.0)).abs() < 1e-12);
        assert!((coverage(9, 1) - (1.0 - 20.0 / 512.0)).abs() < 1e-12);
    }
}
