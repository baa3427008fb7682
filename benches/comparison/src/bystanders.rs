//! The processor time of other processes during a measurement: figures of a busy machine are not meaningful.

use std::fs;
use std::time::Instant;

/// From this share of a core on, other processes disturb the measurement.
pub const DISTURBING_CORES: f64 = 0.15;

/// The kernel counts in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;
/// The kernel's own threads are children of this process; what they do may well be our doing.
const KTHREADD: u32 = 2;

/// A moment from which it is counted.
#[derive(Debug)]
pub struct Bystanders {
    begun: Instant,
    server: u32,
    ticks: u64,
}

impl Bystanders {
    /// Counts from now on all but this process, the server, and their children.
    pub fn since_now(server: u32) -> Self {
        Self { begun: Instant::now(), server, ticks: ticks(server) }
    }

    /// How many cores the others kept busy on average.
    pub fn cores(&self) -> f64 {
        let used = ticks(self.server).saturating_sub(self.ticks);
        used as f64 / TICKS_PER_SECOND / self.begun.elapsed().as_secs_f64()
    }
}

fn ticks(server: u32) -> u64 {
    let concerned = [std::process::id(), server, KTHREADD];
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let others = pids.filter(|pid| !concerned.contains(pid)).filter_map(|pid| {
        let stat = stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        (!concerned.contains(&stat.parent)).then_some(stat.ticks)
    });
    others.sum()
}

struct Stat {
    parent: u32,
    /// Its own and those of its children that have ended: so nothing is lost when one ends.
    ticks: u64,
}

/// proc(5). The name in parentheses may hold anything, so fields are counted from its end.
fn stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    let ticks = (11..15).map(number).sum::<Option<u64>>()?;
    Some(Stat { parent: u32::try_from(number(1)?).ok()?, ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_children_count_for_their_parent() {
        let line = "42 (a b) c)) S 7 1 1 0 -1 4194560 100 0 0 0 11 22 3 4 20 0 1 0 100 1 2\n";
        let stat = stat(line).expect("a stat line");
        assert_eq!((stat.parent, stat.ticks), (7, 40));
    }
}
