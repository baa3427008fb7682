//! A report as a picture. It measures nothing.

mod percentiles;

use rialto_load::chart::{Anchor, Bar, Bars, MARGIN, PANEL_GAP, STYLE, Svg, WIDTH};
use rialto_load::number::{bytes, count};

use crate::plan::SATURATED;
use crate::report::Report;
use crate::server::RIALTO;
use crate::summary::Summary;

const TITLE: &str = "Fan-out over WebSocket: Rialto and others";
const NAME_LENGTH_MAX: usize = 17;
const FOOT_LENGTH_MAX: usize = 112;

/// Draws the report.
pub fn svg(report: &Report) -> String {
    let summaries = report.summaries();
    let subscribers = subscribers(report);
    let mut svg = Svg::default();
    let mut y = head(&mut svg, report);
    y = throughput(&summaries, &subscribers).draw(&mut svg, y);
    y = percentiles::draw(&mut svg, y + PANEL_GAP, &summaries, &subscribers);
    y = memory(&summaries).draw(&mut svg, y + PANEL_GAP);
    y = foot(&mut svg, y + PANEL_GAP, report);
    let description = format!("Deliveries a second, latency and memory of {} servers.", summaries.len());
    svg.finish(WIDTH, y, TITLE, &description, STYLE)
}

/// How many each message went to.
fn subscribers(report: &Report) -> String {
    let saturated = report.measurements.iter().find(|one| one.scenario.name == SATURATED);
    saturated.map_or("All".to_owned(), |one| match one.scenario.subscribers {
        thousands if thousands % 1_000 == 0 => format!("{},000", thousands / 1_000),
        few => few.to_string(),
    })
}

/// Title, machine and the meaning of colours; returns where the next thing may begin.
fn head(svg: &mut Svg, report: &Report) -> f64 {
    svg.text(MARGIN, 42.0, Anchor::Start, "title", TITLE);
    let rounds = match report.rounds {
        _ if report.quick => "a quick run, not to be judged".to_owned(),
        1 => "1 round".to_owned(),
        rounds => format!("medians of {rounds} rounds"),
    };
    let made = format!("{}; {rounds}, {}", report.machine, report.date);
    svg.text(MARGIN, 64.0, Anchor::Start, "small muted", &made);
    let mut x = MARGIN;
    for (class, meaning, width) in [
        ("rialto", "Rialto, one shard", 164.0),
        ("floor", "floor: does nothing but write to sockets", 304.0),
        ("peer", "other servers, one core each", 0.0),
    ] {
        svg.bar(x, 78.0, 12.0, 12.0, class);
        svg.text(x + 18.0, 88.5, Anchor::Start, "small", meaning);
        x += width;
    }
    124.0
}

fn throughput(summaries: &[Summary], subscribers: &str) -> Bars {
    let bars = summaries.iter().filter_map(|server| bar(server, server.deliveries_per_second, count));
    Bars::new(
        "Deliveries per second",
        format!("{subscribers} subscribers of one topic, 128 bytes, 32 messages in flight. Longer is better."),
        bars.collect(),
        false,
    )
}

fn memory(summaries: &[Summary]) -> Bars {
    let bars = summaries.iter().filter_map(|server| bar(server, server.idle_bytes, bytes));
    Bars::new(
        "Memory per idle session",
        "Resident memory of the server's processes, each session subscribed. Shorter is better.".to_owned(),
        bars.collect(),
        true,
    )
}

fn bar(server: &Summary, value: Option<f64>, show: fn(f64) -> String) -> Option<Bar> {
    let value = value?.max(0.0);
    Some(Bar { name: short(&server.server), class: class(&server.server), value, shown: show(value) })
}

/// Versions, and whose figures are missing.
fn foot(svg: &mut Svg, top: f64, report: &Report) -> f64 {
    let summaries = report.summaries();
    let peers = summaries.iter().filter(|server| class(&server.server) == "peer");
    let named = peers.filter(|server| server.version.starts_with(|first: char| first.is_ascii_digit()));
    let mut parts: Vec<String> = named.map(|server| format!("{} {}", server.server, server.version)).collect();
    parts.extend(report.skipped.iter().map(|absent| format!("not compared: {}", absent.name)));
    let mut y = top;
    for line in textwrap::wrap(&parts.join(" · "), FOOT_LENGTH_MAX) {
        svg.text(MARGIN, y, Anchor::Start, "small muted", &line);
        y += 18.0;
    }
    y + 6.0
}

fn class(server: &str) -> &'static str {
    match server {
        RIALTO => "rialto",
        server if server.starts_with("floor") => "floor",
        _ => "peer",
    }
}

fn short(name: &str) -> String {
    match name.char_indices().nth(NAME_LENGTH_MAX) {
        Some(_) => name.chars().take(NAME_LENGTH_MAX - 1).chain(['…']).collect(),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Found;
    use crate::sample;

    fn is_well_formed(drawn: &str) {
        let xml = roxmltree::Document::parse(drawn).unwrap_or_else(|error| panic!("{error}\n{drawn}"));
        assert!(xml.root_element().has_tag_name(("http://www.w3.org/2000/svg", "svg")), "{drawn}");
    }

    #[test]
    fn names_are_escaped() {
        let drawn = svg(&sample::report());
        is_well_formed(&drawn);
        assert!(drawn.contains("&lt;uWebSockets &amp; &quot;…</text>"), "{drawn}");
        assert!(!drawn.contains("<uWeb") && !drawn.contains("<script"), "{drawn}");
    }

    #[test]
    fn says_what_it_shows() {
        let drawn = svg(&sample::report());
        for part in [
            "Z80, 2 cores",
            "medians of 2 rounds, 2026-11-22",
            ">3.50 M<",
            ">1.81 KB<",
            ">2.00 · 8.00 ms<",
            "1,000 subscribers of one topic",
            "not compared: nchan (nginx)",
            "prefers-color-scheme:dark",
        ] {
            assert!(drawn.contains(part), "{part} is not in\n{drawn}");
        }
    }

    #[test]
    fn draws_what_there_is() {
        let nothing = Report::new(sample::circumstances(), Found::default());
        let drawn = svg(&nothing);
        is_well_formed(&drawn);
        assert_eq!(drawn.matches("not measured").count(), 3);
        assert!(!drawn.contains("NaN") && !drawn.contains("inf\""), "{drawn}");
    }

    #[test]
    fn names_have_room() {
        assert_eq!(short("nats-server"), "nats-server");
        assert_eq!(short("a server with a long name"), "a server with a …");
    }
}
