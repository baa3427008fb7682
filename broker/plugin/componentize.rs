//! Wraps core modules into components. Only a build with the feature `authoring` can: the crates that do it take longer to
//! compile than most of the broker, and a broker that loads components never needs them.

#[cfg(feature = "authoring")]
pub(crate) use self::encoder::componentize;

/// What a build without the feature says.
#[cfg(not(feature = "authoring"))]
const NEEDS_AUTHORING: &str = "this build of Rialto cannot make components; one with the feature \"authoring\" can: \
                               cargo install --path . --features authoring";

/// Whether this build can do it.
///
/// # Errors
/// What to do if it cannot.
#[cfg(feature = "cli")]
pub(crate) fn can_componentize() -> Result<(), &'static str> {
    #[cfg(not(feature = "authoring"))]
    return Err(NEEDS_AUTHORING);
    #[cfg(feature = "authoring")]
    Ok(())
}

/// Wraps a core module into a component.
///
/// # Errors
/// This build cannot do it.
#[cfg(not(feature = "authoring"))]
pub(crate) fn componentize(_: &[u8]) -> Result<Vec<u8>, String> {
    Err(NEEDS_AUTHORING.to_owned())
}

#[cfg(feature = "authoring")]
mod encoder {
    use wasmparser::{Parser, Payload as Section};
    use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
    use wit_parser::Resolve;

    use crate::plugin::Protocol;

    /// The worlds for core modules that do not carry one in a custom section.
    const WORLD_1_0: &str = include_str!("../../sdk/plugin/wit/v1/plugin.wit");
    const WORLD_1_1: &str = include_str!("../../sdk/plugin/wit/v1_1/plugin.wit");

    /// The custom sections in which a core module carries its world.
    const DESCRIBED_BY: &str = "component-type";

    /// Wraps a core module into a component; one that carries no world gets that of the version whose hooks it exports.
    ///
    /// # Errors
    /// Why it cannot be one.
    pub(crate) fn componentize(module: &[u8]) -> Result<Vec<u8>, String> {
        let mut module = module.to_vec();
        if !is_described(&module) {
            let mut resolve = Resolve::default();
            let package = resolve.push_str("plugin.wit", world_for(&module)).expect("our own world is valid");
            let world = resolve.select_world(&[package], Some("plugin")).expect("our own world is there");
            embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
                .expect("our own world can be described");
        }
        let encoder = ComponentEncoder::default().validate(true).module(&module);
        // The chain of causes: the root cause comes last and matters most.
        encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| format!("{error:#}"))
    }

    fn world_for(module: &[u8]) -> &'static str {
        let sections = Parser::new(0).parse_all(module).filter_map(Result::ok);
        let exports = sections.filter_map(|section| match section {
            Section::ExportSection(exports) => Some(exports),
            _ => None,
        });
        let exports = exports.flat_map(|exports| exports.into_iter().filter_map(Result::ok));
        match exports.filter_map(|export| Protocol::of_export(export.name, true)).max() {
            Some(Protocol::V1_1) => WORLD_1_1,
            Some(Protocol::V1_0) | None => WORLD_1_0,
        }
    }

    fn is_described(module: &[u8]) -> bool {
        let mut sections = Parser::new(0).parse_all(module);
        sections.any(|section| matches!(section, Ok(Section::CustomSection(it)) if it.name().starts_with(DESCRIBED_BY)))
    }
}
