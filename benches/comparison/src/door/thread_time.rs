//! Processor time of the calling thread alone, read from `/proc`.

use std::time::Duration;

/// What it has used so far; nothing where the kernel does not say.
pub(super) fn used() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_with_work() {
        let before = used();
        let mut state = 1_u64;
        while used() < before + Duration::from_millis(2) {
            (0..100_000).for_each(|_| {
                state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1))
            });
        }
    }
}
