//! Name, version and needs of a plugin, however it was built.

/// What a plugin is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The plugin's own name, `unnamed` when the component does not say.
    pub(crate) name: String,
    /// The plugin's own version, `?` when the component does not say.
    pub(crate) version: String,
    /// The version of the plugin protocol that it says it is for.
    #[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "only components say one"))]
    pub(crate) protocol: Option<String>,
    /// The capabilities it needs; those that its imports stand for when it does not say.
    pub(crate) needs: Vec<String>,
    /// SHA-256 of the component's file, in hexadecimal; empty for a native plugin.
    pub(crate) hash: String,
    /// The size of the component's file.
    pub(crate) bytes: usize,
}
