//! Charts as self-contained SVG for light and dark pages: panels under one another. They measure nothing.

mod bars;
mod single;
mod svg;

pub use bars::{Bar, Bars};
pub use single::single;
pub use svg::{Anchor, Svg};

/// The width of every chart.
pub const WIDTH: f64 = 800.0;
/// What stays free at its edges.
pub const MARGIN: f64 = 24.0;
/// Where names end and figures begin.
pub const FIGURES_LEFT: f64 = 168.0;
/// The height of one figure.
pub const ROW_HEIGHT: f64 = 27.0;
/// What stays free between two panels.
pub const PANEL_GAP: f64 = 34.0;

/// Blue, orange and grey stay apart for all kinds of colour blindness, on white as on black.
pub const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;font-size:14px;fill:#1f2328}\
.title{font-size:21px;font-weight:600}.heading{font-size:16px;font-weight:600}.small{font-size:12.5px}\
.muted{fill:#59636e}.own{font-weight:600}.page{fill:#fff}.rule{stroke:#d1d9e0;stroke-width:1}\
.rialto{fill:#0969da;stroke:#0969da}.floor{fill:#818b98;stroke:#818b98}.peer{fill:#e16f24;stroke:#e16f24}\
rect,circle,path{stroke-width:0}.ring{fill:#fff;stroke-width:2}.span{stroke-width:2.5}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.muted{fill:#9ca6b1}.page{fill:#0d1117}.rule{stroke:#3d444d}\
.rialto{fill:#58a6ff;stroke:#58a6ff}.floor{fill:#7d8590;stroke:#7d8590}.peer{fill:#f0883e;stroke:#f0883e}\
.ring{fill:#0d1117}}";

/// A panel's heading; returns where its figures begin.
pub fn panel_head(svg: &mut Svg, top: f64, heading: &str, meaning: &str) -> f64 {
    svg.text(MARGIN, top + 4.0, Anchor::Start, "heading", heading);
    svg.text(MARGIN, top + 24.0, Anchor::Start, "small muted", meaning);
    top + 38.0
}

/// A server's name beside its figures.
pub fn name(svg: &mut Svg, middle: f64, name: &str, class: &str) {
    let class = if class == "rialto" { "own" } else { "" };
    svg.text(FIGURES_LEFT - 12.0, middle + 5.0, Anchor::End, class, name);
}
