//! What the figures were measured on.

use std::{fmt, fs};

use serde::{Deserialize, Serialize};

/// A machine, as `/proc` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model.
    pub processor: String,
    /// How many of its cores this system has.
    pub cores: usize,
    /// Name and release of the kernel.
    pub kernel: String,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

impl Machine {
    /// This one. What `/proc` does not say is "unknown", or 0.
    pub fn this() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let processors = text("/proc/cpuinfo");
        let named = |key: &str| {
            let line = processors.lines().find(|line| line.starts_with(key))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let release = text("/proc/sys/kernel/osrelease");
        Self {
            processor: named("model name").or_else(|| named("Model")).unwrap_or_else(|| "unknown".to_owned()),
            cores: processors.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: format!("Linux {}", if release.is_empty() { "unknown" } else { release.trim() }),
            memory_bytes: crate::process::kib(&text("/proc/meminfo"), "MemTotal:").unwrap_or(0),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = if self.cores == 1 { "core" } else { "cores" };
        let memory = self.memory_bytes as f64 / f64::from(1_u32 << 30);
        write!(formatter, "{}, {} {cores}, {memory:.0} GB, {}", self.processor, self.cores, self.kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_this_machine() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_bytes > 0 && machine.kernel.len() > "Linux ".len(), "{machine:?}");
    }
}
