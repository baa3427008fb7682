//! What becomes of a thread whose work panics: it is counted, told, and goes on where that is safe. It knows no work.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::metrics::Metrics;

/// A panic that comes again at once must not keep a core busy.
const PAUSE: Duration = Duration::from_millis(100);

/// Does the work until it returns. After a panic it is begun again: it must leave nothing half done that matters.
pub(crate) fn keep_working(thread: &str, metrics: &Metrics, mut work: impl FnMut()) {
    while catch_unwind(AssertUnwindSafe(&mut work)).is_err() {
        tell(thread, metrics);
        std::thread::sleep(PAUSE);
    }
}

/// Counts a thread or task that panicked.
pub(crate) fn tell(thread: &str, metrics: &Metrics) {
    metrics.tasks_failed.add(1);
    tracing::error!(thread, "a thread of the broker panicked: please report this with the lines before it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_counted_and_the_work_goes_on() {
        let (metrics, mut left) = (Metrics::default(), 2);
        keep_working("test", &metrics, || {
            left -= 1;
            assert!(left == 0, "not yet");
        });
        assert_eq!((left, metrics.tasks_failed.get()), (0, 1));
    }
}
