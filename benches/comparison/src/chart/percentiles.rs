//! The panel of latencies: for each server its median, 90th and 99th percentile on one logarithmic scale.

use rialto_load::chart::{Anchor, FIGURES_LEFT, MARGIN, ROW_HEIGHT, Svg, WIDTH, name, panel_head};

use super::{class, short};
use crate::summary::{CalmLatency, Summary};
use rialto_load::number::digits;

const NUMBERS_WIDTH: f64 = 148.0;
const LEGEND_HEIGHT: f64 = 20.0;
const SCALE_HEIGHT: f64 = 26.0;

/// Draws it below `top` and returns where it ends.
pub(super) fn draw(svg: &mut Svg, top: f64, summaries: &[Summary], subscribers: &str) -> f64 {
    let meaning = format!(
        "50 messages a second to {subscribers} subscribers, from when each was due. Logarithmic; further left is better."
    );
    let y = panel_head(svg, top, "Milliseconds until the last subscriber has a message", &meaning);
    let mut servers: Vec<(&Summary, CalmLatency)> =
        summaries.iter().filter_map(|server| Some((server, server.calm_latency?))).collect();
    servers.sort_by(|(_, one), (_, other)| one.p99.total_cmp(&other.p99));
    let Some(scale) = Scale::around(servers.iter().map(|(_, latency)| latency)) else {
        svg.text(FIGURES_LEFT, y + 14.0, Anchor::Start, "muted", "not measured");
        return y + ROW_HEIGHT;
    };
    legend(svg, y);
    let y = y + LEGEND_HEIGHT;
    let bottom = y + ROW_HEIGHT * servers.len() as f64;
    scale.draw(svg, y, bottom);
    for (place, (server, latency)) in servers.iter().enumerate() {
        row(svg, y + ROW_HEIGHT * (place as f64 + 0.5), server, latency, &scale);
    }
    bottom + SCALE_HEIGHT
}

fn legend(svg: &mut Svg, y: f64) {
    let middle = y + 3.0;
    let text = |svg: &mut Svg, x: f64, text: &str| svg.text(x, middle + 4.5, Anchor::Start, "small muted", text);
    let x = FIGURES_LEFT;
    svg.circle(x + 6.0, middle, "floor");
    text(svg, x + 17.0, "half of them");
    svg.ring(x + 118.0, middle, "floor");
    text(svg, x + 129.0, "90 %");
    svg.diamond(x + 184.0, middle, "floor");
    text(svg, x + 196.0, "99 %");
    svg.text(WIDTH - MARGIN, middle + 4.5, Anchor::End, "small muted", "50 %   ·   99 %");
}

fn row(svg: &mut Svg, middle: f64, server: &Summary, latency: &CalmLatency, scale: &Scale) {
    let class = class(&server.server);
    let [p50, p90, p99] = [latency.p50, latency.p90, latency.p99].map(|micros| scale.place(micros / 1_000.0));
    name(svg, middle, &short(&server.server), class);
    svg.line((p50, middle), (p99, middle), &format!("{class} span"));
    svg.diamond(p99, middle, class);
    svg.ring(p90, middle, class);
    svg.circle(p50, middle, class);
    let shown = format!("{} · {} ms", digits(latency.p50 / 1_000.0), digits(latency.p99 / 1_000.0));
    let weight = if class == "rialto" { "own" } else { "" };
    svg.text(WIDTH - MARGIN, middle + 5.0, Anchor::End, weight, &shown);
}

/// A logarithmic scale of milliseconds.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    /// One with room for all of them between two of its marks; none if there are none.
    fn around<'a>(latencies: impl Iterator<Item = &'a CalmLatency> + Clone) -> Option<Self> {
        let least = latencies.clone().map(|latency| latency.p50 / 1_000.0).min_by(f64::total_cmp)?;
        let most = latencies.map(|latency| latency.p99 / 1_000.0).max_by(f64::total_cmp)?;
        let (least, most) = (least.max(0.001), most.max(0.002));
        let below = marks().filter(|mark| *mark <= least).last()?;
        let above = marks().find(|mark| *mark >= most && *mark > below)?;
        Some(Self { least: below, most: above })
    }

    fn place(&self, millis: f64) -> f64 {
        let room = WIDTH - MARGIN - NUMBERS_WIDTH - FIGURES_LEFT;
        let part = (millis.max(self.least) / self.least).ln() / (self.most / self.least).ln();
        FIGURES_LEFT + part * room
    }

    fn draw(&self, svg: &mut Svg, top: f64, bottom: f64) {
        // On a long scale the numbers would run into each other.
        let is_long = self.most / self.least > 2_000.0;
        let shown = marks().filter(|mark| (self.least..=self.most).contains(mark));
        for mark in shown.filter(|mark| !is_long || mark.log10().fract() == 0.0) {
            let x = self.place(mark);
            svg.line((x, top), (x, bottom), "rule");
            svg.text(x, bottom + 17.0, Anchor::Middle, "small muted", &format!("{mark}"));
        }
    }
}

/// 0.001, 0.002, 0.005, 0.01 … 50,000 milliseconds.
fn marks() -> impl Iterator<Item = f64> {
    (-3..=4).flat_map(|power| [1, 2, 5].map(|digit| format!("{digit}e{power}").parse().expect("it is a number")))
}
