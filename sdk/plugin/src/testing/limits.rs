//! What one hook, and one plugin, may use.

/// The limits that a [`Host`](super::Host) enforces; the default is the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Host calls per hook. One more is a trap: the double panics.
    pub host_calls: u32,
    /// Bytes per hook that go through host calls, both ways, and into the hook's answer. A publish or write beyond it
    /// is refused, a read or an answer beyond it ends the hook.
    pub transfer_bytes: usize,
    /// Messages that one hook may publish.
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
