//! The settings of the WebAssembly engine, the same for compiling and running plugins.

use wasmtime::{Config, Engine, OptLevel, Result};

/// The stack that a guest may use; the plugin's thread has more than twice as much.
const GUEST_STACK_BYTES: usize = 512 * 1024;

/// An engine with our settings.
///
/// # Errors
/// When this machine cannot run WebAssembly.
pub(in crate::plugin) fn engine() -> Result<Engine> {
    let mut config = Config::new();
    config.epoch_interruption(true).max_wasm_stack(GUEST_STACK_BYTES).cranelift_opt_level(OptLevel::Speed);
    Engine::new(&config)
}
