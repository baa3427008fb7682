//! A version of a plugin: its component or native source, its manifest and its settings; and the request to replace it by
//! another. It starts nothing.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
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

/// A version that is to replace the one that runs, between two events.
pub(crate) struct Replacement {
    pub(crate) version: Version,
    /// Told whether the version has started. Nothing of it is kept yet.
    pub(crate) started: SyncSender<Result<(), Failed>>,
    /// Says, once it has started, whether it takes over; until then the plugin's thread waits. Without an answer it does not.
    pub(crate) decision: Receiver<bool>,
    /// Told whether it has taken over.
    pub(crate) replaced: SyncSender<Result<(), Failed>>,
}

/// The other side of a replacement.
#[derive(Debug)]
pub(crate) struct PendingReplacement {
    started: Receiver<Result<(), Failed>>,
    decision: SyncSender<bool>,
    replaced: Receiver<Result<(), Failed>>,
}

/// The plugin's thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadEnded;

impl Replacement {
    /// A replacement by this version, and the side of who requests it.
    pub(crate) fn new(version: Version) -> (Self, PendingReplacement) {
        let ((started, when_started), (decide, decision)) = (sync_channel(1), sync_channel(1));
        let (replaced, when_replaced) = sync_channel(1);
        let pending = PendingReplacement { started: when_started, decision: decide, replaced: when_replaced };
        (Self { version, started, decision, replaced }, pending)
    }
}

impl PendingReplacement {
    /// Waits until the version has started, and the plugin's thread for the decision. Dropping this lets the old one go on.
    ///
    /// # Errors
    /// [`ThreadEnded`].
    pub(crate) fn started(&self) -> Result<Result<(), Failed>, ThreadEnded> {
        self.started.recv().map_err(|_| ThreadEnded)
    }

    /// Lets the version take over, and waits for that.
    ///
    /// # Errors
    /// [`ThreadEnded`].
    pub(crate) fn take_over(self) -> Result<Result<(), Failed>, ThreadEnded> {
        // A thread that has ended answers nothing.
        let _ = self.decision.send(true);
        self.replaced.recv().map_err(|_| ThreadEnded)
    }
}
