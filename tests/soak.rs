//! Soak test: a few seconds of sessions that begin and end in every way, after which nothing of them is left. It runs in a
//! process of its own because it counts what the whole process holds; `cargo bench --bench soak` does the same for as long as
//! one likes.

#[allow(dead_code, reason = "this uses a part of it")]
mod soaked;

use std::time::Duration;

use self::soaked::{Soaked, is_given_back};
use crate::support::alone::runs_alone;

const WARM_UP: Duration = Duration::from_secs(2);
const SOAK: Duration = Duration::from_secs(5);

#[test]
fn sessions_leave_nothing_behind_however_they_end() {
    if runs_alone("soak::sessions_leave_nothing_behind_however_they_end") {
        return;
    }
    let soaked = Soaked::start();
    let (_, before) = soaked.soak(WARM_UP, WARM_UP, &mut |_| {});
    let (toll, after) = soaked.soak(SOAK, SOAK, &mut |_| {});
    assert!(toll.left.iter().all(|(_, count)| *count > 0), "{toll:?}");
    assert!(toll.acked > 0 && toll.round_trips > 0, "{toll:?}");
    assert_eq!(toll.witnessed, [toll.acked; 2], "one witness for each codec");
    is_given_back(before, after);
}
