//! A progress line on the terminal, which is cleared afterwards.

use std::io::{IsTerminal, Write};

use rialto_load::load::{Phase, Progress};
use rialto_load::number::count;

const BAR: usize = 24;

/// The line. Where standard error is no terminal, nothing is shown.
pub(super) struct ProgressLine {
    shown: bool,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { shown: std::io::stderr().is_terminal() && !dumb }
    }

    /// Shows the progress of `what`.
    pub(super) fn show(&self, what: &str, progress: &Progress) {
        if self.shown {
            write(&format!("\r\x1b[2K{}", text(what, progress)));
        }
    }

    /// Clears the line.
    pub(super) fn clear(&self) {
        if self.shown {
            write("\r\x1b[2K");
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// At most 78 characters.
fn text(what: &str, progress: &Progress) -> String {
    let phase = match progress.phase {
        Phase::Connecting => "connecting",
        Phase::WarmingUp => "warming up",
        Phase::Counting => "counting",
        Phase::Draining => "draining",
    };
    let full = ((progress.done.clamp(0.0, 1.0) * BAR as f64) as usize).min(BAR);
    let bar = format!("{}{}", "━".repeat(full), "╌".repeat(BAR - full));
    let mut text = format!("{what}  {phase:<10}  {bar}");
    if progress.deliveries_per_second > 0.0 {
        text.push_str(&format!("  {} deliveries/s", count(progress.deliveries_per_second)));
    }
    text
}

fn write(text: &str) {
    // A closed terminal shows no progress.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_a_terminal() {
        let progress = Progress { phase: Phase::Counting, done: 0.5, deliveries_per_second: 3_512_345.0 };
        let expected = format!("round 1/3  counting    {}{}  3.51 M deliveries/s", "━".repeat(12), "╌".repeat(12));
        assert_eq!(text("round 1/3", &progress), expected);
        assert!(expected.chars().count() <= 78);
    }
}
