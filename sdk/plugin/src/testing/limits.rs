//! What one hook, and one plugin, may use.

use crate::host::HookLimits;

/// The limits that a [`Host`](super::Host) enforces; the default is the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Host calls per hook. One more ends the hook with a failure, as in the broker.
    pub host_calls: u32,
    /// Bytes per hook that go through host calls, both ways, and into the hook's answer. More ends the hook likewise.
    pub transfer_bytes: usize,
    /// Effects that one hook may have: messages, sends, subscriptions, disconnects and authentications. More are
    /// refused.
    pub effects: usize,
    /// Bytes of all keys and values of the plugin's state.
    pub state_bytes: usize,
    /// Timers that wait.
    pub timers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { host_calls: 1000, transfer_bytes: 1 << 20, effects: 10_000, state_bytes: 64 << 20, timers: 10_000 }
    }
}

impl From<Limits> for HookLimits {
    fn from(limits: Limits) -> Self {
        let Limits { host_calls, transfer_bytes, effects, state_bytes, timers } = limits;
        Self { host_calls: host_calls.into(), output_bytes: transfer_bytes, effects, state_bytes, timers }
    }
}
