//! Rate limits: at most so many events per second, in bursts of up to one second's worth (the generic cell rate algorithm,
//! ITU-T I.371). It has no clock.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// The state of one rate limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    /// When all events so far would have been due at an even rate; none or in the past means an unused limit.
    due: Option<Instant>,
}

impl Rate {
    /// Takes one of `per_s` events (at least 1) per second.
    ///
    /// # Errors
    /// How long to wait for it; nothing is taken then.
    pub(crate) fn take(&mut self, per_s: u32, now: Instant) -> Result<(), Duration> {
        let each = SECOND / per_s.max(1);
        let due = self.due.filter(|due| *due > now).unwrap_or(now);
        let too_far = (due - now + each).saturating_sub(SECOND);
        if !too_far.is_zero() {
            return Err(too_far);
        }
        self.due = Some(due + each);
        Ok(())
    }

    /// Takes so many of `per_s` events per second, if there is room for one: what is more than that delays those that follow.
    ///
    /// # Errors
    /// As [`Rate::take`].
    pub(crate) fn take_some(&mut self, per_s: u32, events: u32, now: Instant) -> Result<(), Duration> {
        self.take(per_s, now)?;
        let more = SECOND.saturating_mul(events.saturating_sub(1)) / per_s.max(1);
        self.due = self.due.and_then(|due| due.checked_add(more));
        Ok(())
    }
}

/// A rate limit for each of many keys. Unused ones are removed, and there are never more than [`KEYS_MAX`].
#[derive(Debug)]
pub(crate) struct RatesByKey<K>(Mutex<RateState<K>>);

#[derive(Debug)]
struct RateState<K> {
    rates: HashMap<K, Rate>,
    /// The number of entries at which unused ones are removed.
    sweep_at: usize,
}

/// Fewer entries are not worth a sweep.
const SWEEP_MIN: usize = 1_024;

/// Most keys. Where more than half as many are in use at once, all are forgotten, and each begins anew.
const KEYS_MAX: usize = 262_144;

impl<K> Default for RatesByKey<K> {
    fn default() -> Self {
        Self(Mutex::new(RateState { rates: HashMap::new(), sweep_at: SWEEP_MIN }))
    }
}

impl<K: Clone + Eq + Hash> RatesByKey<K> {
    /// Takes one of `per_s` events per second of this key.
    ///
    /// # Errors
    /// As [`Rate::take`].
    pub(crate) fn take(&self, key: &K, per_s: u32, now: Instant) -> Result<(), Duration> {
        self.take_some(key, per_s, 1, now)
    }

    /// The same for so many events.
    ///
    /// # Errors
    /// As [`Rate::take_some`].
    pub(crate) fn take_some(&self, key: &K, per_s: u32, events: u32, now: Instant) -> Result<(), Duration> {
        // No code panics between two changes under this lock, so a poisoned one is consistent.
        let state = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.rates.len() >= state.sweep_at {
            state.sweep(|_, rate| rate.due.is_some_and(|due| due > now));
        }
        state.rates.entry(key.clone()).or_default().take_some(per_s, events, now)
    }

    /// Forgets the keys for which this is false.
    pub(crate) fn retain(&self, stays: impl Fn(&K) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sweep(|key, _| stays(key));
    }

    /// How many keys are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().expect("a lock").rates.len()
    }
}

impl<K: Eq + Hash> RateState<K> {
    fn sweep(&mut self, stays: impl Fn(&K, &Rate) -> bool) {
        self.rates.retain(|key, rate| stays(key, rate));
        if self.rates.len() > KEYS_MAX / 2 {
            self.rates.clear();
        }
        self.rates.shrink_to(SWEEP_MIN);
        self.sweep_at = SWEEP_MIN.max(2 * self.rates.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_is_allowed_and_then_the_rate() {
        for per_s in [1, 2, 3, 100, 7_000, 1_000_000_000] {
            let mut rate = Rate::default();
            let start = Instant::now();
            let burst = per_s.min(10_000);
            let at_once = (0..burst).filter(|_| rate.take(per_s, start).is_ok()).count();
            assert_eq!(at_once, burst as usize, "{per_s}");
            if burst < per_s {
                continue;
            }
            let wait = rate.take(per_s, start).expect_err("the second's worth is used up");
            assert!(wait <= SECOND / per_s + Duration::from_micros(20), "{per_s}: {wait:?}");
            assert!(rate.take(per_s, start + wait - Duration::from_nanos(1)).is_err(), "{per_s}");
            assert!(rate.take(per_s, start + wait).is_ok(), "{per_s}");
            let later = start + 5 * SECOND;
            assert_eq!((0..2 * burst).filter(|_| rate.take(per_s, later).is_ok()).count(), burst as usize, "{per_s}");
        }
    }

    #[test]
    fn each_key_has_its_rate_and_is_removed_when_unused() {
        let rates = RatesByKey::default();
        let now = Instant::now();
        for key in 0..10_000 {
            assert!(rates.take(&key, 1, now).is_ok() && rates.take(&key, 1, now).is_err());
        }
        let later = now + 2 * SECOND;
        for key in 0..20_000 {
            assert!(rates.take(&key, 1, later + key * SECOND).is_ok());
        }
        assert!(rates.len() <= SWEEP_MIN);
    }

    #[test]
    fn there_are_never_more_keys_than_the_most_also_where_all_are_in_use() {
        let rates = RatesByKey::default();
        let now = Instant::now();
        for key in 0..KEYS_MAX + 1_000 {
            // Each owes a day's worth.
            assert!(rates.take_some(&key, 1, 86_400, now).is_ok());
            assert!(rates.len() <= KEYS_MAX);
        }
        let last = KEYS_MAX + 999;
        assert!(rates.take(&last, 1, now).is_err(), "the newest are known");
        rates.retain(|key| *key != last);
        assert!(rates.take(&last, 1, now).is_ok());
    }
}
