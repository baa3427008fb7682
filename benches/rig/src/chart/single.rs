//! One load against one server as a picture: what each round delivered, and how long the last subscriber waited.

use super::bars::{Bar, Bars};
use super::svg::{Anchor, Svg};
use super::{MARGIN, PANEL_GAP, STYLE, WIDTH};
use crate::number::{count, digits};
use crate::row::median;
use crate::scenario::{Measurement, Percentiles};
use crate::summary::{self, deliveries_per_second};

const TITLE: &str = "Fan-out over WebSocket";

/// Draws the rounds of one load. `load` says what it was, `machine` where.
pub fn single(load: &str, machine: &str, measurements: &[Measurement]) -> String {
    let mut svg = Svg::default();
    svg.text(MARGIN, 42.0, Anchor::Start, "title", TITLE);
    svg.text(MARGIN, 64.0, Anchor::Start, "small muted", load);
    svg.text(MARGIN, 82.0, Anchor::Start, "small muted", machine);
    let mut y = throughput(measurements).draw(&mut svg, 118.0);
    y = latency(measurements).draw(&mut svg, y + PANEL_GAP) + PANEL_GAP;
    svg.text(MARGIN, y, Anchor::Start, "small muted", &verdict(measurements));
    let description = "Deliveries a second of each round, and latency.";
    svg.finish(WIDTH, y + 24.0, TITLE, description, STYLE)
}

fn throughput(measurements: &[Measurement]) -> Bars {
    let bar = |one: &Measurement| {
        let value = deliveries_per_second(one).unwrap_or_default();
        bar(format!("round {}", one.round + 1), value, count(value))
    };
    let meaning = "Messages received by all subscribers together. Longer is better.".to_owned();
    Bars::in_order("Deliveries per second", meaning, measurements.iter().map(bar).collect())
}

fn latency(measurements: &[Measurement]) -> Bars {
    let over = |percentile: fn(&Percentiles) -> f64| {
        let all: Vec<f64> = measurements.iter().map(|one| percentile(&one.latency) / 1_000.0).collect();
        median(&all).unwrap_or_default()
    };
    let values = [
        ("half of them", over(|latency| latency.p50)),
        ("90 %", over(|latency| latency.p90)),
        ("99 %", over(|latency| latency.p99)),
        ("99.9 %", over(|latency| latency.p999)),
        ("the slowest", over(|latency| latency.max)),
    ];
    let bars = values.map(|(name, millis)| bar(name.to_owned(), millis, format!("{} ms", digits(millis))));
    let meaning = "From when each message was due; medians of the rounds. Shorter is better.".to_owned();
    Bars::in_order("Milliseconds until the last subscriber has a message", meaning, bars.to_vec())
}

fn bar(name: String, value: f64, shown: String) -> Bar {
    Bar { name, class: "rialto", value, shown }
}

fn verdict(measurements: &[Measurement]) -> String {
    let wrong: u64 = measurements.iter().map(|one| summary::count(one.faults)).sum();
    let skipped: u64 = measurements.iter().map(|one| one.skipped).sum();
    match wrong {
        0 => {
            format!("Every delivery was checked: none lost, disordered, doubled or altered; {skipped} told as skipped.")
        }
        wrong => format!("{wrong} deliveries were lost, disordered, doubled or altered; {skipped} told as skipped."),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::open_elements;
    use super::*;
    use crate::plan::SATURATED;
    use crate::sample;
    use crate::scenario::Faults;

    #[test]
    fn shows_rounds_in_order_and_what_went_wrong() {
        let mut runs: Vec<Measurement> = [3.0, 4.0]
            .iter()
            .zip(0..)
            .map(|(rate, round)| sample::measurement("x", SATURATED, round, *rate, 1.0))
            .collect();
        let drawn = single("a load of <everything>", "Z80", &runs);
        assert_eq!(open_elements(&drawn), Vec::<&str>::new());
        let (first, second) = (drawn.find(">round 1<"), drawn.find(">round 2<"));
        assert!(first.is_some() && first < second, "{drawn}");
        assert!(drawn.contains("a load of &lt;everything&gt;") && drawn.contains("none lost"), "{drawn}");
        runs[1].faults = Faults { lost: 7, ..Faults::default() };
        assert!(single("", "", &runs).contains("7 deliveries were lost"));
        assert!(!single("", "", &[]).contains("NaN"));
    }
}
