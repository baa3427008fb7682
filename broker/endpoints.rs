//! The raw endpoints: paths whose sockets belong to plugins. It knows no socket.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Paths with the names of their plugins.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    paths: RwLock<BTreeMap<Arc<str>, Arc<str>>>,
}

impl Endpoints {
    pub(crate) fn new(paths: impl IntoIterator<Item = (String, String)>) -> Self {
        let endpoints = Self::default();
        endpoints.set(paths);
        endpoints
    }

    /// Other paths from now on. Sessions that are there stay with their plugins.
    pub(crate) fn set(&self, paths: impl IntoIterator<Item = (String, String)>) {
        let paths = paths.into_iter().map(|(path, plugin)| (path.into(), plugin.into())).collect();
        *self.paths.write().unwrap_or_else(PoisonError::into_inner) = paths;
    }

    /// The endpoint at a path, if there is one.
    pub(crate) fn at(&self, path: &str) -> Option<Arc<str>> {
        let paths = self.paths.read().unwrap_or_else(PoisonError::into_inner);
        paths.get_key_value(path).map(|(path, _)| Arc::clone(path))
    }

    /// The plugin of an endpoint.
    pub(crate) fn plugin(&self, path: &str) -> Option<Arc<str>> {
        self.paths.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}
