//! When the next messages are due and which topics they go to. It publishes nothing itself.

use std::time::Duration;

use crate::payload::scramble;
use crate::scenario::{Pace, Scenario};

/// The system wakes us this much too late at worst; the rest of the time is spent looking at the clock.
const LATE_NS: u64 = 1_500_000;
/// Wait at most so long: somebody wants to see progress.
const WAIT: Duration = Duration::from_millis(50);

/// The messages of one run.
#[derive(Debug)]
pub(crate) struct Pacer {
    pace: Pace,
    /// When the next message is due.
    due_ns: f64,
    topics: u64,
    random: u64,
}

impl Pacer {
    /// Begins at `now_ns`.
    pub(crate) fn new(scenario: &Scenario, now_ns: u64) -> Self {
        Self { pace: scenario.pace, due_ns: now_ns as f64, topics: scenario.topics.into(), random: 0 }
    }

    /// When the next message should be sent, if that is now.
    pub(crate) fn due(&mut self, in_flight: u64, now_ns: u64) -> Option<u64> {
        match self.pace {
            Pace::Window(window) => (in_flight < u64::from(window)).then_some(now_ns),
            Pace::PerSecond(rate) => {
                let due_ns = self.due_ns;
                if due_ns > now_ns as f64 {
                    return None;
                }
                self.due_ns += 1e9 / f64::from(rate.max(1));
                Some(due_ns as u64)
            }
        }
    }

    /// The topic of the next message.
    pub(crate) fn topic(&mut self) -> u32 {
        self.random = scramble(self.random);
        (self.random % self.topics) as u32
    }

    /// How long to wait for events.
    pub(crate) fn wait(&self, now_ns: u64) -> Duration {
        match self.pace {
            Pace::Window(_) => WAIT,
            Pace::PerSecond(_) => {
                let left_ns = (self.due_ns as u64).saturating_sub(now_ns).saturating_sub(LATE_NS);
                // Whole milliseconds: the system would round up.
                Duration::from_millis(left_ns / 1_000_000).min(WAIT)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pacer(pace: Pace, topics: u32) -> Pacer {
        Pacer { pace, due_ns: 0.0, topics: topics.into(), random: 0 }
    }

    #[test]
    fn a_window_is_kept_full() {
        let mut pacer = pacer(Pace::Window(2), 1);
        assert_eq!([0, 1, 2, 3].map(|in_flight| pacer.due(in_flight, 9)), [Some(9), Some(9), None, None]);
    }

    #[test]
    fn a_rate_does_not_depend_on_deliveries() {
        let mut pacer = pacer(Pace::PerSecond(1000), 1);
        let due: Vec<_> = std::iter::from_fn(|| pacer.due(99, 2_500_000)).collect();
        assert_eq!(due, [0, 1_000_000, 2_000_000]);
        assert_eq!(pacer.wait(2_500_000), Duration::ZERO);
        let slow = Pacer { due_ns: 20_000_000.0, ..pacer };
        assert_eq!(slow.wait(2_500_000), Duration::from_millis(16));
    }

    #[test]
    fn all_topics_have_their_turn() {
        let mut pacer = pacer(Pace::Window(1), 7);
        let mut counts = [0; 7];
        (0..7000).for_each(|_| counts[pacer.topic() as usize] += 1);
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
