//! A panel of bars from zero, one for each server or round.

use super::svg::{Anchor, Svg};
use super::{FIGURES_LEFT, MARGIN, ROW_HEIGHT, WIDTH, name, panel_head};

const BAR_HEIGHT: f64 = 16.0;
/// Room for the number behind the longest bar.
const NUMBER_WIDTH: f64 = 84.0;

/// One server's figure.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its name, left of it.
    pub name: String,
    /// Its class in the style.
    pub class: &'static str,
    /// Its length.
    pub value: f64,
    /// What stands behind it.
    pub shown: String,
}

/// The panel. Lengths are proportional to values: a bar that is half as long is half as much.
#[derive(Clone, Debug)]
pub struct Bars {
    heading: &'static str,
    meaning: String,
    bars: Vec<Bar>,
}

impl Bars {
    /// The best one first.
    pub fn new(heading: &'static str, meaning: String, mut bars: Vec<Bar>, least_first: bool) -> Self {
        bars.sort_by(|one, other| {
            let order = one.value.total_cmp(&other.value);
            if least_first { order } else { order.reverse() }
        });
        Self { heading, meaning, bars }
    }

    /// With the bars as they stand.
    pub fn in_order(heading: &'static str, meaning: String, bars: Vec<Bar>) -> Self {
        Self { heading, meaning, bars }
    }

    /// Draws it below `top` and returns where it ends.
    pub fn draw(&self, svg: &mut Svg, top: f64) -> f64 {
        let mut y = panel_head(svg, top, self.heading, &self.meaning);
        let most = self.bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
        let room = WIDTH - MARGIN - NUMBER_WIDTH - FIGURES_LEFT;
        let bottom = y + ROW_HEIGHT * self.bars.len() as f64;
        for bar in &self.bars {
            let middle = y + ROW_HEIGHT / 2.0;
            let length = (bar.value / most * room).max(1.0);
            name(svg, middle, &bar.name, bar.class);
            svg.bar(FIGURES_LEFT, middle - BAR_HEIGHT / 2.0, length, BAR_HEIGHT, bar.class);
            let class = if bar.class == "rialto" { "own" } else { "" };
            svg.text(FIGURES_LEFT + length + 8.0, middle + 5.0, Anchor::Start, class, &bar.shown);
            y += ROW_HEIGHT;
        }
        if self.bars.is_empty() {
            svg.text(FIGURES_LEFT, y + 14.0, Anchor::Start, "muted", "not measured");
            return y + ROW_HEIGHT;
        }
        svg.line((FIGURES_LEFT, bottom - ROW_HEIGHT * self.bars.len() as f64), (FIGURES_LEFT, bottom), "rule");
        bottom
    }
}
