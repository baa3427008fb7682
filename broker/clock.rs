//! Time for people and plugins, and time that only goes on. Deadlines of sockets use the runtime's monotonic time instead.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where the broker reads the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Now {
    /// The time of day, Unix milliseconds.
    pub(crate) unix_ms: u64,
    /// Milliseconds since the broker started, whatever becomes of the time of day.
    pub(crate) monotonic_ms: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock {
    /// Unix time in milliseconds.
    pub(crate) fn unix_ms(self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Milliseconds since the broker started.
    pub(crate) fn monotonic_ms(self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Both.
    pub(crate) fn now(self) -> Now {
        Now { unix_ms: self.unix_ms(), monotonic_ms: self.monotonic_ms() }
    }
}
