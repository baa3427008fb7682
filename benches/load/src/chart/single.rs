//! One load against one server as a picture: what each round delivered, and how long the last subscriber waited.

use super::bars::{Bar, Bars};
use super::svg::{Anchor, Svg};
use super::{MARGIN, PANEL_GAP, STYLE, WIDTH};
use crate::number::{count, digits};
use crate::scenario::{Measurement, Percentiles};
use crate::statistics::median;

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
        let value = one.deliveries_per_second().unwrap_or_default();
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
    let wrong: u64 = measurements.iter().map(|one| one.faults.count()).sum();
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
    use super::*;
    use crate::scenario::{Codecs, Faults, Pace, Scenario};

    fn measurement(round: u32, millions: f64) -> Measurement {
        let scenario = Scenario {
            name: "saturated".to_owned(),
            topics: 1,
            subscribers: 1_000,
            topics_per_connection: 1,
            payload_bytes: 128,
            codecs: Codecs::Json,
            delivery: None,
            acks: false,
            pace: Pace::Window(32),
            stalled: 0,
            warm_up_seconds: 0.5,
            seconds: 4.0,
        };
        let delivered = (millions * 4e6) as u64;
        Measurement {
            server: "x".to_owned(),
            scenario,
            round,
            seconds: 4.0,
            published: delivered / 1_000,
            delivered,
            cpu_seconds: None,
            resident_bytes: None,
            latency: Percentiles { count: 200, p50: 2e3, p90: 4e3, p99: 8e3, p999: 8.5e3, max: 9e3 },
            faults: Faults::default(),
            skipped: 0,
            disconnected: 0,
        }
    }

    #[test]
    fn shows_rounds_in_order_and_what_went_wrong() {
        let mut runs: Vec<Measurement> =
            [3.0, 4.0].iter().zip(0..).map(|(millions, round)| measurement(round, *millions)).collect();
        let drawn = single("a load of <everything>", "Z80", &runs);
        let xml = roxmltree::Document::parse(&drawn).unwrap_or_else(|error| panic!("{error}\n{drawn}"));
        assert!(xml.root_element().has_tag_name(("http://www.w3.org/2000/svg", "svg")), "{drawn}");
        let (first, second) = (drawn.find(">round 1<"), drawn.find(">round 2<"));
        assert!(first.is_some() && first < second, "{drawn}");
        assert!(drawn.contains("a load of &lt;everything&gt;") && drawn.contains("none lost"), "{drawn}");
        runs[1].faults = Faults { lost: 7, ..Faults::default() };
        assert!(single("", "", &runs).contains("7 deliveries were lost"));
        assert!(!single("", "", &[]).contains("NaN"));
    }
}
