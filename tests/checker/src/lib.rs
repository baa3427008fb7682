//! The history checker: a pure function over the log of a run, which decides whether the broker and its clients kept their
//! promises. It does no I/O and knows no clock; whoever runs clients writes the log, see [`Fact`] for how.

mod court;
mod ending;
mod event;
mod order;
mod publications;
mod subscriptions;
mod summary;
mod violation;

pub use event::{Event, Fact, Position, Reason};
pub use summary::Summary;
pub use violation::{Invariant, Violation};

use court::Court;

/// Judges a log.
///
/// # Errors
/// Every promise that the log shows to be broken, in the order of the events that show it.
pub fn check(events: &[Event]) -> Result<Summary, Vec<Violation>> {
    let mut court = Court::default();
    for (index, event) in events.iter().enumerate() {
        court.hear(index, event);
    }
    court.judge()
}
