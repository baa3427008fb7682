//! A report in words and tables, for a terminal or as Markdown. It computes nothing but what is shown.

use crate::check::Outcome;
use crate::report::Report;
use crate::row::{Bound, Row, Unit, Verdict};
use rialto_load::number::{bytes, count, digits, micros, ratio};
use rialto_load::table::Side::{Left, Right};
use rialto_load::table::Table;

const WORDS_WIDTH_MAX: u16 = 40;
const WIDTH_MAX: usize = 118;
const QUICK: &str = "quick run: not to be judged";

/// For a terminal.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    for line in head(report) {
        text.push_str(&wrapped(&line));
    }
    text.push('\n');
    text.push_str(&to_reach(report).text(WORDS_WIDTH_MAX));
    text.push('\n');
    text.push_str(&servers(report).text(WORDS_WIDTH_MAX));
    text.push('\n');
    for line in checks(report).iter().chain(&missing(report)) {
        text.push_str(&wrapped(line));
    }
    text
}

/// For a page.
pub fn markdown(report: &Report) -> String {
    let list = |lines: Vec<String>| lines.iter().map(|line| format!("- {line}\n")).collect::<String>();
    format!(
        "{}\n{}\n{}\n{}{}",
        list(head(report)),
        to_reach(report).markdown(),
        servers(report).markdown(),
        list(checks(report)),
        list(missing(report)),
    )
}

fn head(report: &Report) -> Vec<String> {
    let mut lines = vec![
        format!("Made {} on {}", report.date, report.machine),
        format!("with: {} ({}; medians, and lowest … highest)", report.command, rounds(report.rounds)),
    ];
    lines.extend(report.notes.iter().cloned());
    if report.quick {
        lines.push(format!("This was a {QUICK}."));
    }
    lines
}

fn rounds(rounds: u32) -> String {
    if rounds == 1 { "1 round".to_owned() } else { format!("{rounds} rounds") }
}

fn to_reach(report: &Report) -> Table {
    let mut table = Table::new(&[
        ("figure", Left),
        ("must", Right),
        ("aim", Right),
        ("median", Right),
        ("rounds", Right),
        ("to the aim", Right),
        ("verdict", Left),
    ]);
    for row in &report.rows {
        table.push(vec![
            row.figure.clone(),
            bound(row.must, row.unit),
            bound(row.aim, row.unit),
            row.median.map_or("–".to_owned(), |median| row.unit.shown(median)),
            spread(row),
            row.aim_missed_percent.map_or(String::new(), aim),
            verdict(&row.verdict),
        ]);
    }
    table
}

fn spread(row: &Row) -> String {
    match row.spread {
        Some(spread) if row.rounds.len() > 1 => {
            format!("{} … {}", row.unit.shown(spread.min), row.unit.shown(spread.max))
        }
        _ => String::new(),
    }
}

fn bound(bound: Bound, unit: Unit) -> String {
    match bound {
        Bound::AtLeast(least) => format!("≥ {}", unit.shown(least)),
        Bound::AtMost(most) => format!("≤ {}", unit.shown(most)),
    }
}

fn aim(missed_percent: f64) -> String {
    if missed_percent == 0.0 { "reached".to_owned() } else { format!("{missed_percent:.0} % away") }
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Holds => "holds".to_owned(),
        Verdict::Broken => "BROKEN".to_owned(),
        Verdict::NotJudged => QUICK.to_owned(),
        Verdict::NotMeasured(reason) => format!("not measured: {reason}"),
        Verdict::Due(feature) => format!("due with {feature}"),
    }
}

fn servers(report: &Report) -> Table {
    let mut table = Table::new(&[
        ("server", Left),
        ("version", Left),
        ("deliveries/s", Right),
        ("÷ floor", Right),
        ("CPU/delivery", Right),
        ("of a core", Right),
        ("at 50 msg/s", Right),
        ("p99 at 50 msg/s", Right),
        ("bytes/idle session", Right),
        ("after a message", Right),
    ]);
    let shown = |value: Option<f64>, show: fn(f64) -> String| value.map_or("–".to_owned(), show);
    for server in report.summaries() {
        let mark = if server.faults > 0 { " (!)" } else { "" };
        table.push(vec![
            format!("{}{mark}", server.server),
            version(&server.version),
            shown(server.deliveries_per_second, count),
            shown(server.of_floor, ratio),
            shown(server.cpu_micros, |value| format!("{} µs", digits(value))),
            shown(server.core_share, |share| format!("{:.0} %", share * 100.0)),
            shown(server.calm_cpu_micros, |value| format!("{} µs", digits(value))),
            shown(server.calm_latency.map(|latency| latency.p99), micros),
            shown(server.idle_bytes, bytes),
            shown(server.idle_bytes_after_message, bytes),
        ]);
    }
    table
}

/// Of what somebody gave with `--also` the whole text would be too much.
fn version(version: &str) -> String {
    const LENGTH_MAX: usize = 32;
    match version.char_indices().nth(LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &version[..end]),
        None => version.to_owned(),
    }
}

fn checks(report: &Report) -> Vec<String> {
    let lines = report.checks.iter().map(|check| {
        let outcome = match check.outcome {
            Outcome::Holds => "holds",
            Outcome::Broken => "BROKEN",
            Outcome::Theirs => "(!) not so, but not ours",
            Outcome::NotMeasured => "not shown",
        };
        format!("{outcome}: {}: {}", check.what, check.seen)
    });
    lines.collect()
}

fn missing(report: &Report) -> Vec<String> {
    let skipped = report.skipped.iter().map(ToString::to_string);
    let failures = report.failures.iter().map(|failure| format!("FAILED {failure}"));
    skipped.chain(failures).collect()
}

fn wrapped(line: &str) -> String {
    let options = textwrap::Options::new(WIDTH_MAX).subsequent_indent("    ").break_words(false);
    textwrap::fill(line, options) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_listing_is_complete() {
        for shown in [text(&sample::report()), markdown(&sample::report())] {
            let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
            for part in [
                "2026-11-22 on Z80, 2 cores, 24 GB, Linux 6",
                "benches/run --rounds 2 (2 rounds",
                "Servers on core 0, load on core 1.",
                "BROKEN",
                "not measured: it is in no registry",
                "due with the durable store",
                "SKIPPED nchan (nginx): no program `nginx`. To have it: benches/run",
                "round 2: it did not answer",
                "1.81 KB",
                "not so, but not ours: nothing else keeps the machine busy",
            ] {
                assert!(shown.contains(part), "{part} is not in\n{shown}");
            }
        }
    }

    #[test]
    fn lines_fit_a_wide_terminal() {
        let report = sample::report();
        let widest = text(&report).lines().map(|line| line.chars().count()).max();
        assert!(widest < Some(150), "{widest:?}");
    }
}
