//! What one hook call may use: host calls, bytes that cross the border, effects. It counts and refuses.

/// The limits of one hook call, and the quotas of the plugin that it can exhaust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookLimits {
    /// Host calls per hook.
    pub host_calls: u64,
    /// Bytes per hook that host calls carry, both ways, and that the hook returns.
    pub output_bytes: usize,
    /// Effects per hook: messages, sends, subscriptions, disconnects and authentications.
    pub effects: usize,
    /// Bytes of all keys and values of the state.
    pub state_bytes: usize,
    /// Timers that wait.
    pub timers: usize,
}

/// A limit of this hook call is exhausted; the text names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// [`HookLimits::host_calls`].
    #[error("host_calls: too many host calls in one hook")]
    HostCalls,
    /// [`HookLimits::output_bytes`], with its value.
    #[error("output_bytes: more than {0} bytes in one hook")]
    OutputBytes(usize),
    /// [`HookLimits::effects`].
    #[error("effects: too many effects in one hook")]
    Effects,
    /// A replay has reached the end of its recording.
    #[error("the replay is over")]
    Replay,
}

/// What one hook call has used of its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Host calls.
    pub host_calls: u64,
    /// Bytes that host calls carried, both ways, and that the hook returned.
    pub bytes: usize,
}

/// What one hook call has left.
#[derive(Debug)]
pub(super) struct Budget {
    calls_left: u64,
    bytes_left: usize,
    effects_left: usize,
    calls_max: u64,
    bytes_max: usize,
}

impl Budget {
    pub(super) fn new(limits: &HookLimits) -> Self {
        Self {
            calls_left: limits.host_calls,
            bytes_left: limits.output_bytes,
            effects_left: limits.effects,
            calls_max: limits.host_calls,
            bytes_max: limits.output_bytes,
        }
    }

    /// Charges one host call that carries so many bytes.
    pub(super) fn call(&mut self, bytes: usize) -> Result<(), Exceeded> {
        self.calls_left = self.calls_left.checked_sub(1).ok_or(Exceeded::HostCalls)?;
        self.bytes(bytes)
    }

    /// Charges bytes that cross the border.
    pub(super) fn bytes(&mut self, bytes: usize) -> Result<(), Exceeded> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Exceeded::OutputBytes(self.bytes_max))?;
        Ok(())
    }

    /// What it has charged so far.
    pub(super) fn used(&self) -> Usage {
        Usage { host_calls: self.calls_max - self.calls_left, bytes: self.bytes_max - self.bytes_left }
    }

    /// Charges one effect.
    pub(super) fn effect(&mut self) -> Result<(), Exceeded> {
        self.effects_left = self.effects_left.checked_sub(1).ok_or(Exceeded::Effects)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_budget_ends_by_name() {
        let limits = HookLimits { host_calls: 3, output_bytes: 10, effects: 1, state_bytes: 1, timers: 1 };
        let mut budget = Budget::new(&limits);
        assert_eq!(budget.call(10), Ok(()));
        assert_eq!(budget.used(), Usage { host_calls: 1, bytes: 10 });
        assert_eq!(budget.effect(), Ok(()));
        assert!(budget.call(1).expect_err("no bytes left").to_string().starts_with("output_bytes"));
        assert!(budget.effect().expect_err("no effects left").to_string().starts_with("effects"));
        assert_eq!(budget.call(0), Ok(()));
        assert!(budget.call(0).expect_err("no calls left").to_string().starts_with("host_calls"));
    }
}
