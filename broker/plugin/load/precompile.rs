//! Compiles a component or core module to machine code. It runs in a child process or on a separate thread, which set
//! the limits; it reads no file and runs no code.

use wasmparser::{Parser, Payload as Section};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::component::ComponentShape;
use super::engine_settings;
use crate::plugin::LoadError;

/// The world for core modules that do not carry one in a custom section.
const WORLD: &str = include_str!("../../../sdk/plugin/wit/v1/plugin.wit");

/// The custom sections in which a core module carries its world.
const DESCRIBED_BY: &str = "component-type";

/// Compiles with our settings.
///
/// # Errors
/// When it is invalid or beyond the limits of the compiler.
pub(crate) fn precompile(wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
    let engine =
        engine_settings::engine().map_err(|error| LoadError::System(format!("no WebAssembly engine: {error}")))?;
    let compiled = if ComponentShape::read(wasm)?.is_module {
        engine.precompile_component(&encode(wasm)?)
    } else {
        engine.precompile_component(wasm)
    };
    compiled.map_err(|error| LoadError::compile(&format!("{error:#}")))
}

/// Wraps a core module into a component.
fn encode(module: &[u8]) -> Result<Vec<u8>, LoadError> {
    let mut module = module.to_vec();
    if !is_described(&module) {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("plugin.wit", WORLD).expect("our own world is valid");
        let world = resolve.select_world(&[package], Some("plugin")).expect("our own world is there");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .expect("our own world can be described");
    }
    let encoded = ComponentEncoder::default().validate(true).module(&module).and_then(|mut encoder| encoder.encode());
    // The chain of causes: the root cause comes last and matters most.
    encoded.map_err(|error| LoadError::world_of_module(&format!("{error:#}")))
}

fn is_described(module: &[u8]) -> bool {
    let mut sections = Parser::new(0).parse_all(module);
    sections.any(|section| matches!(section, Ok(Section::CustomSection(it)) if it.name().starts_with(DESCRIBED_BY)))
}
