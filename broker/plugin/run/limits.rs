//! What a hook may use up: host calls, bytes across the border, effects. It counts and refuses.

use crate::plugin::PluginLimits;

/// What one hook call has left.
#[derive(Debug)]
pub(in crate::plugin) struct Budget {
    calls_left: u64,
    bytes_left: usize,
    effects_left: usize,
    bytes_max: usize,
}

/// A limit of this hook call is used up; the text names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Exceeded(pub(in crate::plugin) String);

impl Exceeded {
    /// Something else than a limit that ends a hook.
    #[cfg(all(feature = "cli", feature = "plugins"))]
    pub(in crate::plugin) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Budget {
    pub(in crate::plugin) fn new(limits: &PluginLimits) -> Self {
        Self {
            calls_left: limits.host_calls,
            bytes_left: limits.output_bytes,
            effects_left: limits.effects,
            bytes_max: limits.output_bytes,
        }
    }

    /// One host call that carries so many bytes.
    pub(in crate::plugin) fn call(&mut self, bytes: usize) -> Result<(), Exceeded> {
        let Some(left) = self.calls_left.checked_sub(1) else {
            return Err(Exceeded("host_calls: too many host calls in one hook".to_owned()));
        };
        self.calls_left = left;
        self.bytes(bytes)
    }

    /// So many bytes cross the border.
    pub(in crate::plugin) fn bytes(&mut self, bytes: usize) -> Result<(), Exceeded> {
        let Some(left) = self.bytes_left.checked_sub(bytes) else {
            return Err(Exceeded(format!("output_bytes: more than {} bytes in one hook", self.bytes_max)));
        };
        self.bytes_left = left;
        Ok(())
    }

    /// One effect.
    pub(in crate::plugin) fn effect(&mut self) -> Result<(), Exceeded> {
        let Some(left) = self.effects_left.checked_sub(1) else {
            return Err(Exceeded("effects: too many effects in one hook".to_owned()));
        };
        self.effects_left = left;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_budget_ends_by_name() {
        let limits = PluginLimits {
            memory_bytes: 1,
            hook_ms: 1,
            mailbox: 1,
            state_bytes: 1,
            output_bytes: 10,
            host_calls: 3,
            effects: 1,
            timers: 1,
        };
        let mut budget = Budget::new(&limits);
        assert_eq!(budget.call(10), Ok(()));
        assert_eq!(budget.effect(), Ok(()));
        assert!(budget.call(1).expect_err("no bytes left").0.starts_with("output_bytes"));
        assert!(budget.effect().expect_err("no effects left").0.starts_with("effects"));
        assert_eq!(budget.call(0), Ok(()));
        assert!(budget.call(0).expect_err("no calls left").0.starts_with("host_calls"));
    }
}
