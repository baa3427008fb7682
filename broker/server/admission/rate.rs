//! The rate limit for new sessions. It spreads clients that all reconnect at once, for instance after a restart. It knows no
//! connection.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::identity;
use crate::limits::rate::Rate;

/// Longest `Retry-After`, in seconds.
const RETRY_SECONDS_MAX: u64 = 30;

/// Rate limit for new sessions, shared by all connections.
#[derive(Debug, Default)]
pub(in crate::server) struct AdmissionRate {
    state: Mutex<RateState>,
}

#[derive(Debug, Default)]
struct RateState {
    rate: Rate,
    /// Sessions refused in the current second.
    refused: u32,
    second: Option<Instant>,
}

impl AdmissionRate {
    /// Admits one of `per_s` sessions per second.
    ///
    /// # Errors
    /// In how many seconds to try again: a random time (jitter) within as long as it takes to admit all clients that are
    /// being refused, so that they do not come back together.
    pub(in crate::server) fn admit(&self, per_s: u32, now: Instant) -> Result<(), u64> {
        // No code panics between two changes under this lock, so a poisoned one is consistent.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.rate.take(per_s, now).is_ok() {
            return Ok(());
        }
        if state.second.is_none_or(|second| now.duration_since(second) > Duration::from_secs(1)) {
            (state.second, state.refused) = (Some(now), 0);
        }
        state.refused += 1;
        Err(retry_seconds(1 + u64::from(state.refused / per_s.max(1))))
    }
}

/// A random time to try again, between 1 and `spread` seconds.
pub(in crate::server) fn retry_seconds(spread: u64) -> u64 {
    1 + identity::below(spread.clamp(1, RETRY_SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_times_spread_wider_the_more_sessions_are_refused() {
        let admission = AdmissionRate::default();
        let now = Instant::now();
        let mut waits: Vec<u64> = (0..5_000).filter_map(|_| admission.admit(100, now).err()).collect();
        assert_eq!(waits.len(), 4_900);
        waits.sort_unstable();
        assert!(waits[0] >= 1 && waits[waits.len() - 1] <= RETRY_SECONDS_MAX);
        let early = waits.iter().filter(|wait| **wait <= 5).count();
        assert!((500..3_000).contains(&early), "{early} of 4,900 in the first five seconds");
        assert!(admission.admit(100, now + Duration::from_secs(1)).is_ok());
    }
}
