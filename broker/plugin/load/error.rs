//! Errors of loading a plugin, in words for the operator.

use super::component::printable;
use crate::plugin::Protocol;

/// Why a plugin cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The bytes are not WebAssembly, cut off or damaged.
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// It is WebAssembly, but not for this plugin world.
    #[error("does not fit the world rialto:plugin/plugin@{0}: {1}")]
    World(Protocol, String),
    /// It needs a capability that does not exist or is not granted.
    #[error("{0}")]
    Needs(String),
    /// It could not be compiled.
    #[error("cannot be compiled: {0}")]
    Compile(String),
    /// The message of the compiler's process.
    #[error("{0}")]
    Refused(String),
    /// A resource of the operating system is missing.
    #[error("{0}")]
    System(String),
}

impl LoadError {
    /// An error of the engine, made printable: it may repeat text of the component.
    pub(in crate::plugin) fn world(protocol: Protocol, error: &wasmtime::Error) -> Self {
        Self::World(protocol, printable_lines(&format!("{error:#}")))
    }

    /// Why a core module cannot be made a component.
    pub(in crate::plugin) fn world_of_module(protocol: Protocol, text: &str) -> Self {
        Self::World(protocol, format!("this core module cannot be made a component: {}", printable_lines(text)))
    }

    pub(in crate::plugin) fn compile(text: &str) -> Self {
        Self::Compile(printable_lines(text))
    }
}

/// Text of several lines, each without control characters.
pub(in crate::plugin) fn printable_lines(text: &str) -> String {
    const LINES_MAX: usize = 40;
    let lines: Vec<String> = text.trim().lines().take(LINES_MAX).map(|line| printable(line, 400)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_s_message_is_cut_and_made_printable() {
        assert_eq!(printable_lines("a\u{1b}[31m\n  b\u{7}\n"), "a[31m\n  b");
        assert_eq!(printable_lines(&"x\n".repeat(100)).lines().count(), 40);
    }
}
