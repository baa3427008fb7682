//! Wraps core modules into components. Only a build with the feature `authoring` can: the crates that do it take longer to
//! compile than most of the broker, and a broker that loads components never needs them.

/// What a build without the feature says.
#[cfg(not(feature = "authoring"))]
const NEEDS_AUTHORING: &str = "this build of Rialto takes components only; `rialto plugin build` of a build with the \
                               feature \"authoring\" makes one: cargo run --release --features authoring -- plugin build";

/// Wraps a core module that carries its world into a component.
///
/// # Errors
/// Why it cannot be one, or that this build cannot make one.
#[cfg(not(feature = "authoring"))]
pub(crate) fn componentize(_: &[u8]) -> Result<Vec<u8>, String> {
    Err(NEEDS_AUTHORING.to_owned())
}

/// Wraps a core module; one that carries no world gets the plugin protocol's.
///
/// # Errors
/// As [`componentize`].
#[cfg(all(feature = "plugins", not(feature = "authoring")))]
pub(in crate::plugin) fn componentize_plugin(_: &[u8]) -> Result<Vec<u8>, String> {
    Err(NEEDS_AUTHORING.to_owned())
}

#[cfg(feature = "authoring")]
pub(crate) use self::encoder::componentize;
#[cfg(feature = "authoring")]
pub(in crate::plugin) use self::encoder::componentize_plugin;

#[cfg(feature = "authoring")]
mod encoder {
    use wasmparser::{Parser, Payload as Section};
    use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
    use wit_parser::Resolve;

    /// The world for core modules that do not carry one in a custom section.
    const WORLD: &str = include_str!("../../sdk/plugin/wit/v1/plugin.wit");

    /// The custom sections in which a core module carries its world.
    const DESCRIBED_BY: &str = "component-type";

    /// Wraps a core module that carries its world into a component.
    ///
    /// # Errors
    /// Why it cannot be one.
    pub(crate) fn componentize(module: &[u8]) -> Result<Vec<u8>, String> {
        let encoder = ComponentEncoder::default().validate(true).module(module);
        // The chain of causes: the root cause comes last and matters most.
        encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| format!("{error:#}"))
    }

    /// Wraps a core module; one that carries no world gets the plugin protocol's.
    ///
    /// # Errors
    /// Why it cannot be a component.
    pub(in crate::plugin) fn componentize_plugin(module: &[u8]) -> Result<Vec<u8>, String> {
        if is_described(module) {
            return componentize(module);
        }
        let mut module = module.to_vec();
        let mut resolve = Resolve::default();
        let package = resolve.push_str("plugin.wit", WORLD).expect("our own world is valid");
        let world = resolve.select_world(&[package], Some("plugin")).expect("our own world is there");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .expect("our own world can be described");
        componentize(&module)
    }

    fn is_described(module: &[u8]) -> bool {
        let mut sections = Parser::new(0).parse_all(module);
        sections.any(|section| matches!(section, Ok(Section::CustomSection(it)) if it.name().starts_with(DESCRIBED_BY)))
    }
}
