//! Why a file is not loaded as a plugin, in words for the operator.

use super::component::printable;

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The bytes are no WebAssembly, or not all of it.
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// It is WebAssembly, but not for this host.
    #[error("does not fit the world rialto:plugin/plugin@1.0.0: {0}")]
    World(String),
    /// It needs what the operator has not granted, or what there is not.
    #[error("{0}")]
    Needs(String),
    /// It could not be compiled.
    #[error("cannot be compiled: {0}")]
    Compile(String),
    /// What the compiler's own process said.
    #[error("{0}")]
    Refused(String),
    /// The system did not give what is needed.
    #[error("{0}")]
    System(String),
}

impl LoadError {
    /// An error of the engine. What it repeats of the component is made harmless.
    pub(in crate::plugin) fn world(error: &wasmtime::Error) -> Self {
        Self::World(printable_lines(&format!("{error:#}")))
    }

    /// Why a core module cannot be made a component.
    pub(in crate::plugin) fn world_of_module(text: &str) -> Self {
        Self::World(format!("this core module cannot be made a component: {}", printable_lines(text)))
    }

    pub(in crate::plugin) fn compile(text: &str) -> Self {
        Self::Compile(printable_lines(text))
    }
}

/// Text of several lines, each without what a terminal could act on.
pub(in crate::plugin) fn printable_lines(text: &str) -> String {
    const LINES_MAX: usize = 40;
    let lines: Vec<String> = text.trim().lines().take(LINES_MAX).map(|line| printable(line, 400)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_says_is_cut_and_made_harmless() {
        assert_eq!(printable_lines("a\u{1b}[31m\n  b\u{7}\n"), "a[31m\n  b");
        assert_eq!(printable_lines(&"x\n".repeat(100)).lines().count(), 40);
    }
}
