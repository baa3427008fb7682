//! The raw endpoints: paths whose sockets belong to plugins. It knows no socket.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Paths with the names of their plugins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoints {
    paths: BTreeMap<Arc<str>, Arc<str>>,
}

impl Endpoints {
    pub(crate) fn new<'e>(paths: impl IntoIterator<Item = (&'e str, &'e str)>) -> Self {
        Self { paths: paths.into_iter().map(|(path, plugin)| (path.into(), plugin.into())).collect() }
    }

    /// The endpoint at a path, if there is one.
    pub(crate) fn at(&self, path: &str) -> Option<Arc<str>> {
        self.paths.get_key_value(path).map(|(path, _)| Arc::clone(path))
    }

    /// The plugin of an endpoint.
    pub(crate) fn plugin(&self, path: &str) -> Option<Arc<str>> {
        self.paths.get(path).cloned()
    }

    /// The endpoints that do not belong to the same plugin in `new`, each with the plugin it had.
    pub(crate) fn moved<'e>(&'e self, new: &'e Self) -> impl Iterator<Item = (&'e Arc<str>, &'e Arc<str>)> {
        self.paths.iter().filter(|(path, plugin)| new.paths.get(*path) != Some(plugin))
    }
}
