//! Time for people and plugins, and time that only goes on. Deadlines of sockets use the runtime's monotonic time instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A thread that waits for a manual clock looks at it so often.
const LOOK: Duration = Duration::from_millis(2);

/// Where the broker reads the time.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// The system's clocks.
    System {
        /// When the broker started.
        started: Instant,
    },
    /// One that is advanced by hand.
    Manual(ManualClock),
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Now {
    /// The time of day, Unix milliseconds.
    pub(crate) unix_ms: u64,
    /// Milliseconds since the broker started, whatever becomes of the time of day.
    pub(crate) monotonic_ms: u64,
}

/// A clock that stands still until it is advanced, for tests of what time brings: see [`Builder::clock`](crate::Builder::clock).
///
/// It decides the age of messages and of idempotency keys, the grace period of presence, the timers of plugins, the rates of
/// requests, and the time that messages and plugins are told. The deadlines of connections (pings, writes, shutdown) and of hooks go by
/// the system's time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    unix_start_ms: u64,
    started: Instant,
    passed_ms: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows this time of day, in Unix milliseconds.
    pub fn new(unix_ms: u64) -> Self {
        Self { unix_start_ms: unix_ms, started: Instant::now(), passed_ms: Arc::default() }
    }

    /// Lets time pass. What is due then happens within a few milliseconds, on the threads that wait for it.
    pub fn advance(&self, time: Duration) {
        self.passed_ms.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::System { started: Instant::now() }
    }
}

impl Clock {
    /// Unix time in milliseconds.
    pub(crate) fn unix_ms(&self) -> u64 {
        match self {
            Self::System { .. } => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
            Self::Manual(manual) => manual.unix_start_ms.saturating_add(manual.passed_ms.load(Relaxed)),
        }
    }

    /// Milliseconds since the broker started.
    pub(crate) fn monotonic_ms(&self) -> u64 {
        match self {
            Self::System { started } => u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            Self::Manual(manual) => manual.passed_ms.load(Relaxed),
        }
    }

    /// The same moment for what counts in finer steps: the rates of requests.
    pub(crate) fn instant(&self) -> Instant {
        match self {
            Self::System { .. } => Instant::now(),
            Self::Manual(manual) => manual.started + Duration::from_millis(manual.passed_ms.load(Relaxed)),
        }
    }

    /// Both.
    pub(crate) fn now(&self) -> Now {
        match self {
            Self::System { .. } => Now { unix_ms: self.unix_ms(), monotonic_ms: self.monotonic_ms() },
            // Read once: it may be advanced meanwhile, and both are one moment.
            Self::Manual(manual) => {
                let passed_ms = manual.passed_ms.load(Relaxed);
                Now { unix_ms: manual.unix_start_ms.saturating_add(passed_ms), monotonic_ms: passed_ms }
            }
        }
    }

    /// How long a thread may wait until `ms` have passed. Then it looks at the clock again.
    pub(crate) fn wait(&self, ms: u64) -> Duration {
        let time = Duration::from_millis(ms);
        match self {
            Self::System { .. } => time,
            Self::Manual(_) => time.min(LOOK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_until_it_is_advanced() {
        let manual = ManualClock::new(1_000_000);
        let clock = Clock::Manual(manual.clone());
        assert_eq!(clock.now(), Now { unix_ms: 1_000_000, monotonic_ms: 0 });
        let started = clock.instant();
        manual.advance(Duration::from_secs(3_600));
        assert_eq!(clock.now(), Now { unix_ms: 4_600_000, monotonic_ms: 3_600_000 });
        assert_eq!(clock.instant() - started, Duration::from_secs(3_600));
        assert_eq!(clock.wait(u64::MAX), LOOK);
        assert_eq!(Clock::default().wait(60_000), Duration::from_secs(60));
    }
}
