//! How often the same thing is logged: a bounded number of lines a second of each kind, and how many were left out. Whoever
//! can cause a line cannot fill a disk with it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// What a line tells, and of which part of a plugin or of the broker. Both are texts of this program, so there are few.
pub(crate) type LineKind = (&'static str, &'static str);

/// The lines of one plugin, or of one part of the broker.
#[derive(Debug, Default)]
pub(crate) struct LogPace(Mutex<HashMap<LineKind, Paced>>);

#[derive(Debug)]
struct Paced {
    /// When the second began in which lines are counted.
    since: Instant,
    written: u32,
    left_out: u64,
}

impl LogPace {
    /// Whether one of `per_s` lines of this kind in a second is left. If so, how many were left out before it.
    pub(crate) fn take(&self, kind: LineKind, per_s: u32) -> Option<u64> {
        self.take_at(kind, per_s, Instant::now())
    }

    fn take_at(&self, kind: LineKind, per_s: u32, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let paced = kinds.entry(kind).or_insert(Paced { since: now, written: 0, left_out: 0 });
        if now.saturating_duration_since(paced.since) >= SECOND {
            (paced.since, paced.written) = (now, 0);
        }
        if paced.written >= per_s {
            paced.left_out += 1;
            return None;
        }
        paced.written += 1;
        Some(std::mem::take(&mut paced.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_its_lines_in_each_second_and_the_next_one_tells_what_was_left_out() {
        let (pace, start) = (LogPace::default(), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        let failed = ("failed", "on-publish");
        assert_eq!(pace.take_at(failed, 2, at(0)), Some(0));
        assert_eq!(pace.take_at(failed, 2, at(10)), Some(0));
        for ms in 20..25 {
            assert_eq!(pace.take_at(failed, 2, at(ms)), None);
        }
        assert_eq!(pace.take_at(("failed", "on-call"), 2, at(30)), Some(0), "another kind");
        assert_eq!(pace.take_at(failed, 2, at(999)), None);
        assert_eq!(pace.take_at(failed, 2, at(1_000)), Some(6));
        assert_eq!(pace.take_at(failed, 2, at(1_001)), Some(0));
    }
}
