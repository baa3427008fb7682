//! Wall-clock time for people and plugins. Deadlines use the runtime's monotonic time instead.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where the broker reads the time of day.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock;

impl Clock {
    /// Unix time in milliseconds.
    pub(crate) fn unix_ms(self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
