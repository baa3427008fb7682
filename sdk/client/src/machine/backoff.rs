//! How long to wait before the next attempt to connect: full jitter over a bound that doubles, behind the broker's own hint.

use std::time::Duration;

use crate::random::Random;

/// Counts attempts. A session that lasted makes it begin again.
#[derive(Debug)]
pub(crate) struct Backoff {
    least: Duration,
    most: Duration,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(least: Duration, most: Duration) -> Self {
        Self { least, most: most.max(least), attempts: 0 }
    }

    /// The next pause: any time up to the bound, added to what the broker asked for.
    pub(crate) fn pause(&mut self, hint: Option<Duration>, random: &mut Random) -> Duration {
        let bound = self.least.saturating_mul(1 << self.attempts.min(20)).min(self.most);
        self.attempts = self.attempts.saturating_add(1);
        let jitter = random.up_to(u64::try_from(bound.as_millis()).unwrap_or(u64::MAX));
        hint.unwrap_or_default().saturating_add(Duration::from_millis(jitter))
    }

    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(5);

    #[test]
    fn pauses_spread_over_a_bound_that_doubles_up_to_the_most() {
        for (attempt, bound_ms) in [(0, 100), (1, 200), (2, 400), (5, 3_200), (6, 5_000), (60, 5_000)] {
            let longest = (0..500).map(|seed| {
                let mut backoff = Backoff::new(LEAST, MOST);
                let mut random = Random::new(seed);
                let pauses: Vec<Duration> = (0..=attempt).map(|_| backoff.pause(None, &mut random)).collect();
                pauses[attempt as usize].as_millis()
            });
            let drawn: Vec<u128> = longest.collect();
            let (least, most) = (drawn.iter().min().expect("some"), drawn.iter().max().expect("some"));
            assert!(*most <= bound_ms && *most > bound_ms * 9 / 10, "attempt {attempt}: {most}");
            assert!(*least < bound_ms / 10, "attempt {attempt}: {least}");
        }
    }

    #[test]
    fn nobody_comes_before_the_hint_and_not_all_at_it() {
        let hint = Duration::from_secs(3);
        let pauses = (0..100).map(|seed| Backoff::new(LEAST, MOST).pause(Some(hint), &mut Random::new(seed)));
        let pauses: std::collections::BTreeSet<Duration> = pauses.collect();
        assert!(pauses.iter().all(|pause| *pause >= hint && *pause <= hint + LEAST), "{pauses:?}");
        assert!(pauses.len() > 30, "{}", pauses.len());
    }

    #[test]
    fn a_session_that_lasted_begins_again() {
        let mut backoff = Backoff::new(LEAST, MOST);
        let mut random = Random::new(1);
        for _ in 0..10 {
            backoff.pause(None, &mut random);
        }
        backoff.reset();
        assert!(backoff.pause(None, &mut random) <= LEAST);
    }
}
