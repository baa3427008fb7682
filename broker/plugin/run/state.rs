//! A plugin's state as its hooks read it: stored values, and failed reads, which leave the hook without an outcome. It commits
//! nothing.

use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::{StateEntry, Store, StoreError};

/// The state of one plugin, in all its namespaces.
pub(crate) struct PluginState {
    store: Arc<dyn Store>,
    /// Why a read of the hook in progress failed: whatever the hook made of that, it has no outcome.
    failed: Mutex<Option<StoreError>>,
}

impl PluginState {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, failed: Mutex::default() }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the store cannot read it; then the hook in progress has no outcome.
    pub(in crate::plugin) fn get(&self, namespace: &str, key: &str) -> Result<Option<Arc<[u8]>>, StoreError> {
        self.note(self.store.get(namespace, key))
    }

    /// The first entry from a key on, in byte order.
    ///
    /// # Errors
    /// Those of [`PluginState::get`].
    pub(in crate::plugin) fn next(&self, namespace: &str, from: Bound<&str>) -> Result<Option<StateEntry>, StoreError> {
        self.note(self.store.next(namespace, from))
    }

    /// How many bytes the keys and values of a namespace take.
    ///
    /// # Errors
    /// Those of [`PluginState::get`].
    pub(in crate::plugin) fn bytes(&self, namespace: &str) -> Result<usize, StoreError> {
        self.note(self.store.state_bytes(namespace))
    }

    /// Why a read has failed since this was asked last.
    pub(in crate::plugin) fn take_failure(&self) -> Option<StoreError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &read {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
        }
        read
    }
}

impl fmt::Debug for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginState").finish_non_exhaustive()
    }
}
