//! Components written by hand: core modules in WAT, wrapped for a world as any toolchain does it.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::place::root;

/// The world of version 1.0, which the broker hosts.
pub(crate) fn world() -> String {
    world_in("v1")
}

/// The world of version 1.1, a draft, which it hosts too.
pub(crate) fn world_1_1() -> String {
    world_in("v1_1")
}

fn world_in(folder: &str) -> String {
    let path = root().join("sdk/plugin/wit").join(folder).join("plugin.wit");
    std::fs::read_to_string(path).expect("the world is there")
}

/// A module of `tests/plugins`.
pub(crate) fn source(name: &str) -> String {
    std::fs::read_to_string(root().join(format!("tests/plugins/{name}.wat"))).expect("the module is there")
}

/// The core module that the text stands for.
pub(crate) fn module(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}"))
}

/// A component for the world named `plugin` of a WIT text.
pub(crate) fn component(wat: &str, wit: &str) -> Vec<u8> {
    let mut module = module(wat);
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", wit).expect("valid WIT");
    let world = resolve.select_world(&[package], Some("plugin")).expect("a world `plugin`");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata fits");
    let encoder = ComponentEncoder::default().validate(true).module(&module);
    encoder.expect("the module fits the world").encode().expect("a component")
}

/// The plugin that does whatever it is told to.
pub(crate) fn hostile() -> Vec<u8> {
    component(&source("hostile"), &world())
}

/// The plugin for version 1.1 that returns what it gets of its caller.
pub(crate) fn roles() -> Vec<u8> {
    component(&source("roles"), &world_1_1())
}

/// The plugin for version 1.1 that removes messages.
pub(crate) fn remover() -> Vec<u8> {
    component(&source("remover"), &world_1_1())
}

/// The plugin that agrees to everything, with more in its module.
pub(crate) fn empty(more: &str) -> Vec<u8> {
    let source = source("empty");
    let end = source.rfind(')').expect("a module");
    component(&format!("{}{more})", &source[..end]), &world())
}
