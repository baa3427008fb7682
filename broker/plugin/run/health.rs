//! The failure policy of a plugin: when it is restarted after a failure, and when it is quarantined. It holds no instance.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A failed start is retried after the first value, with exponential backoff up to the second.
const RESTART_FIRST: Duration = Duration::from_millis(100);
const RESTART_LAST: Duration = Duration::from_secs(30);

/// How many failures lead to quarantine, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailurePolicy {
    /// The number of failures that leads to quarantine …
    pub(crate) failures: usize,
    /// … when they happen within this time.
    pub(crate) within: Duration,
    /// How long quarantine lasts; none is until a reload.
    pub(crate) quarantine: Option<Duration>,
}

/// The recent failures of a plugin, and its quarantine.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Health {
    failures: VecDeque<Instant>,
    quarantined: Option<Quarantine>,
}

#[derive(Clone, Copy, Debug)]
struct Quarantine {
    until: Option<Instant>,
}

impl Health {
    /// Records a failure. Returns whether it leads to quarantine.
    pub(in crate::plugin) fn fail(&mut self, policy: &FailurePolicy, now: Instant) -> bool {
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|first| now.duration_since(*first) > policy.within) {
            self.failures.pop_front();
        }
        if self.failures.len() < policy.failures {
            return false;
        }
        self.failures.clear();
        self.quarantined = Some(Quarantine { until: policy.quarantine.map(|quarantine| now + quarantine) });
        true
    }

    /// Whether the plugin is quarantined now; ends a quarantine whose time is over.
    pub(in crate::plugin) fn is_quarantined(&mut self, now: Instant) -> bool {
        if self.quarantined.is_some_and(|quarantine| quarantine.until.is_some_and(|until| until <= now)) {
            self.quarantined = None;
        }
        self.quarantined.is_some()
    }

    /// Whether it was quarantined at the last check.
    pub(in crate::plugin) fn was_quarantined(&self) -> bool {
        self.quarantined.is_some()
    }

    /// When quarantine ends, if it ends without a reload.
    pub(in crate::plugin) fn ends(&self) -> Option<Instant> {
        self.quarantined.and_then(|quarantine| quarantine.until)
    }

    /// Forgets all failures: a new version begins without any.
    pub(in crate::plugin) fn heal(&mut self) {
        *self = Self::default();
    }
}

/// A failed start, and when it is retried.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Restart {
    pub(in crate::plugin) why: String,
    pub(in crate::plugin) at: Instant,
    wait: Duration,
}

impl Restart {
    /// The retry after this failure; `last` is the failed start before it, if there was one.
    pub(in crate::plugin) fn after(last: Option<&Self>, why: String, now: Instant) -> Self {
        let wait = last.map_or(RESTART_FIRST, |last| (last.wait * 2).min(RESTART_LAST));
        Self { why, at: now + wait, wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarantine_comes_with_the_last_of_too_many_failures_and_ends() {
        let second = Duration::from_secs(1);
        let policy = FailurePolicy { failures: 3, within: 10 * second, quarantine: Some(5 * second) };
        let start = Instant::now();
        let mut health = Health::default();
        let at = |seconds: u32| start + seconds * second;
        assert!(!health.fail(&policy, at(0)) && !health.fail(&policy, at(9)));
        assert!(!health.fail(&policy, at(11)), "the first is too long ago");
        assert!(!health.is_quarantined(at(11)));
        assert!(health.fail(&policy, at(12)) && health.is_quarantined(at(16)));
        assert!(!health.is_quarantined(at(17)) && !health.fail(&policy, at(17)), "the count starts again");
        let for_good = FailurePolicy { failures: 1, quarantine: None, ..policy };
        assert!(health.fail(&for_good, at(18)) && health.is_quarantined(at(1_000_000)));
        health.heal();
        assert!(!health.is_quarantined(at(18)));
    }

    #[test]
    fn starts_are_tried_again_later_and_later() {
        let now = Instant::now();
        let mut last: Option<Restart> = None;
        for expected in [100, 200, 400, 800] {
            let next = Restart::after(last.as_ref(), String::new(), now);
            assert_eq!(next.at - now, Duration::from_millis(expected));
            last = Some(next);
        }
    }
}
