//! The settings of the WebAssembly engine, the same for compiling and running plugins.

use wasmtime::{Config, Engine, OptLevel, Result};

/// The stack that a guest may use; the plugin's thread has more than twice as much.
const GUEST_STACK_BYTES: usize = 512 * 1024;

/// All that a 32-bit memory can have.
const MEMORY_BYTES_MAX: u64 = 1 << 32;

/// Address space on both sides of a memory that is never mapped.
const GUARD_BYTES: u64 = 65_536;

/// The address space that each memory of an engine reserves. It does not move within it, and it cannot grow beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MemoryReservation(u64);

impl MemoryReservation {
    /// All that a memory can have: then accesses need no bounds checks.
    pub(crate) const WHOLE: Self = Self(MEMORY_BYTES_MAX);

    /// Enough for this many bytes: a power of two, so that there are few engines and few compiled versions of a component.
    pub(crate) fn for_memory(memory_bytes: u64) -> Self {
        Self(memory_bytes.clamp(GUARD_BYTES, MEMORY_BYTES_MAX).next_power_of_two())
    }

    /// In bytes.
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }
}

/// An engine with our settings.
///
/// # Errors
/// When this machine cannot run WebAssembly.
pub(in crate::plugin) fn engine(reservation: MemoryReservation) -> Result<Engine> {
    let mut config = Config::new();
    config.epoch_interruption(true).max_wasm_stack(GUEST_STACK_BYTES).cranelift_opt_level(OptLevel::Speed);
    config.memory_reservation(reservation.bytes()).memory_may_move(false).memory_reservation_for_growth(0);
    if reservation.bytes() < MEMORY_BYTES_MAX {
        config.memory_guard_size(GUARD_BYTES);
    }
    Engine::new(&config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_holds_what_a_plugin_may_have() {
        for (memory_bytes, expected) in [
            (0, 65_536),
            (65_536, 65_536),
            (65_537, 131_072),
            (33_554_432, 33_554_432),
            (33_554_433, 67_108_864),
            (u64::MAX, 1 << 32),
        ] {
            assert_eq!(MemoryReservation::for_memory(memory_bytes).bytes(), expected, "{memory_bytes}");
        }
    }
}
