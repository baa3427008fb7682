//! The versions of the plugin protocol. It loads nothing and calls nothing.

use std::fmt;

/// The package of the protocol's interfaces.
#[cfg(feature = "plugins")]
pub(in crate::plugin) const PACKAGE: &str = "rialto:plugin/";

/// The interface that a component exports, without its version.
#[cfg(feature = "plugins")]
pub(in crate::plugin) const HOOKS: &str = "rialto:plugin/hooks@";

/// A version of the plugin protocol, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    /// Frozen.
    #[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "native plugins have the newest"))]
    V1_0,
    /// A draft; native plugins have it.
    V1_1,
}

impl Protocol {
    /// The version as the package of its interfaces has it.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0.0",
            Self::V1_1 => "1.1.0",
        }
    }

    /// Whether sessions have roles and `info`, and plugins authenticate them.
    pub(in crate::plugin) fn has_roles(self) -> bool {
        self >= Self::V1_1
    }
}

#[cfg(feature = "plugins")]
impl Protocol {
    /// All of them.
    pub(in crate::plugin) const ALL: [Self; 2] = [Self::V1_0, Self::V1_1];

    /// The name of the interface with the hooks.
    pub(in crate::plugin) fn hooks(self) -> String {
        format!("{HOOKS}{self}")
    }

    /// The version whose hooks a component exports under this name, or of whose hooks a core module exports one.
    pub(in crate::plugin) fn of_export(name: &str, is_module: bool) -> Option<Self> {
        let name = name.strip_prefix(HOOKS)?;
        let version = match is_module {
            true => name.split_once('#')?.0,
            false => name,
        };
        Self::ALL.into_iter().find(|protocol| protocol.version() == version)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version())
    }
}

#[cfg(all(test, feature = "plugins"))]
mod tests {
    use super::*;

    #[test]
    fn exports_name_their_version() {
        for (name, is_module, expected) in [
            ("rialto:plugin/hooks@1.0.0", false, Some(Protocol::V1_0)),
            ("rialto:plugin/hooks@1.1.0", false, Some(Protocol::V1_1)),
            ("rialto:plugin/hooks@1.1.0#start", true, Some(Protocol::V1_1)),
            ("rialto:plugin/hooks@1.1.0", true, None),
            ("rialto:plugin/hooks@1.1.0#start", false, None),
            ("rialto:plugin/hooks@1.1.1", false, None),
            ("rialto:plugin/hooks@1.2.0", false, None),
            ("rialto:plugin/state@1.0.0", false, None),
            ("memory", true, None),
        ] {
            assert_eq!(Protocol::of_export(name, is_module), expected, "{name}");
        }
    }
}
