//! A version of a plugin: its component or native source, its manifest and its settings; and the request to replace it by
//! another. It starts nothing.

use std::sync::Arc;
use std::time::Duration;

use rialto_plugin::host::Capabilities;

use super::health::FailurePolicy;
use crate::plugin::{Failed, Manifest, PluginLimits, Source};

/// One version of a plugin with its settings.
pub(crate) struct Version {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) manifest: Manifest,
    /// The plugin's table of the configuration, as JSON.
    pub(crate) config: String,
    pub(crate) limits: PluginLimits,
    pub(crate) may: Arc<Capabilities>,
    pub(crate) failures: FailurePolicy,
    /// Bounds of the instances if each topic has one of its own; none is one instance for all topics.
    pub(crate) isolation: Option<Isolation>,
    /// How many events of each instance the recorder keeps; 0 records nothing.
    pub(crate) record: usize,
    /// The component's file, for recordings.
    pub(crate) file: String,
}

/// Bounds of the instances of single topics; an instance is removed once it is idle for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isolation {
    pub(crate) instances: usize,
    pub(crate) idle: Duration,
}

/// Receives the outcome of a replacement, on the plugin's thread, before its next hook runs.
pub(crate) type OnReplaced = Box<dyn FnOnce(Result<(), Failed>) + Send>;

/// A version that replaces the one that runs, between two events.
pub(crate) struct Replacement {
    pub(crate) version: Version,
    pub(crate) on_replaced: OnReplaced,
}
