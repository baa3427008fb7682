//! Waits for events with a generous deadline, so that a test never sleeps for luck and never hangs.

use std::future::Future;
use std::time::{Duration, Instant};

/// Nothing that is tested takes nearly so long, even on a machine that is busy with other work.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Waits for something that must happen.
#[track_caller]
pub(crate) fn within<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(DEADLINE, future).await {
            Ok(value) => value,
            Err(_) => panic!("{caller}: waited {DEADLINE:?} in vain for {what}"),
        }
    }
}

/// Waits until a condition holds that can only be asked for.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let started = Instant::now();
    async move {
        while !holds() {
            assert!(started.elapsed() < DEADLINE, "{caller}: waited {DEADLINE:?} in vain until {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
