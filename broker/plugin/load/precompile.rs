//! Compiles a component or core module to machine code. It runs in a child process or on a separate thread, which set
//! the limits; it reads no file and runs no code.

use super::component::ComponentShape;
use super::engine_settings::{self, MemoryReservation};
use crate::plugin::LoadError;
use crate::plugin::componentize::componentize;

/// Compiles with our settings, for memories that reserve so much.
///
/// # Errors
/// When it is invalid or beyond the limits of the compiler.
pub(crate) fn precompile(wasm: &[u8], reservation: MemoryReservation) -> Result<Vec<u8>, LoadError> {
    let engine = engine_settings::engine(reservation)
        .map_err(|error| LoadError::System(format!("no WebAssembly engine: {error}")))?;
    let shape = ComponentShape::read(wasm)?;
    let compiled = if shape.is_module {
        let component = componentize(wasm).map_err(|error| LoadError::world_of_module(shape.protocol(), &error))?;
        engine.precompile_component(&component)
    } else {
        engine.precompile_component(wasm)
    };
    compiled.map_err(|error| LoadError::compile(&format!("{error:#}")))
}
