//! A broken promise, with those it was broken to and the events that show it.

/// The promises, numbered as in the design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// I1: per topic one order, the same for all, offsets +1 within an epoch.
    Order,
    /// I2: what was acked is there for as long as the rule says, what was refused never is.
    Acked,
    /// I3: nothing is missing that was not told to be missing.
    NoGap,
    /// I4: what is delivered was published, as it is.
    NoInvention,
    /// I5: a key takes effect once, and its answer is always the same.
    Once,
    /// I6: no session gets a message twice.
    NoDouble,
    /// I13: when the faults are over, everybody comes back and has everything in time.
    Liveness,
    /// I14: when everybody has left, nothing is held any more.
    Balance,
}

impl std::fmt::Display for Invariant {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Order => "I1 (order)",
            Self::Acked => "I2 (acked)",
            Self::NoGap => "I3 (no gap)",
            Self::NoInvention => "I4 (no invention)",
            Self::Once => "I5 (once)",
            Self::NoDouble => "I6 (no double)",
            Self::Liveness => "I13 (liveness)",
            Self::Balance => "I14 (balance)",
        })
    }
}

/// A promise that the log shows to be broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {what}; clients {clients:?}, events {events:?}")]
pub struct Violation {
    /// Which promise.
    pub invariant: Invariant,
    /// What is wrong.
    pub what: String,
    /// The clients that saw it.
    pub clients: Vec<u64>,
    /// The events that show it, as indices into the log, the last one the one that proves it.
    pub events: Vec<usize>,
}
