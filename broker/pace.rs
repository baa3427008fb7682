//! Bounds how often something happens: so many times a second, all of a second's worth at once if need be (the generic
//! cell rate algorithm, ITU-T I.371). It has no clock.

use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// How far ahead of its time something is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// When all that was taken so far would have been due at an even pace; none or in the past means nothing is ahead.
    due: Option<Instant>,
}

impl Pace {
    /// Takes one of `per_s`, at least 1, in a second.
    ///
    /// # Errors
    /// How long one would have to wait for it; nothing is taken then.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_worth_may_come_at_once_and_then_as_many_as_time_passes() {
        for per_s in [1, 2, 3, 100, 7_000, 1_000_000_000] {
            let mut pace = Pace::default();
            let start = Instant::now();
            let burst = per_s.min(10_000);
            let at_once = (0..burst).filter(|_| pace.take(per_s, start).is_ok()).count();
            assert_eq!(at_once, burst as usize, "{per_s}");
            if burst < per_s {
                continue;
            }
            let wait = pace.take(per_s, start).expect_err("the second's worth is used up");
            assert!(wait <= SECOND / per_s + Duration::from_micros(20), "{per_s}: {wait:?}");
            assert!(pace.take(per_s, start + wait - Duration::from_nanos(1)).is_err(), "{per_s}");
            assert!(pace.take(per_s, start + wait).is_ok(), "{per_s}");
            let later = start + 5 * SECOND;
            assert_eq!((0..2 * burst).filter(|_| pace.take(per_s, later).is_ok()).count(), burst as usize, "{per_s}");
        }
    }
}
