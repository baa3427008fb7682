//! The handle of one topic plugin: its mailbox, registry, known sessions and status.

use std::sync::{Arc, Mutex, PoisonError};

use super::RunningVersion;
use super::known_sessions::KnownSessions;
use crate::broker::{Broker, PluginStatus};
use crate::plugin::{Mailbox, PluginRegistry, Replacement, Status, StatusReport};

/// One topic plugin: its mailbox, registry, known sessions and status.
pub(crate) struct PluginHandle {
    name: Arc<str>,
    pub(super) mailbox: Mailbox,
    pub(super) registry: Arc<PluginRegistry>,
    pub(super) known_sessions: KnownSessions,
    pub(super) status: Arc<Status>,
    running: Mutex<RunningVersion>,
}

impl PluginHandle {
    pub(crate) fn new(
        name: Arc<str>,
        mailbox: Mailbox,
        registry: Arc<PluginRegistry>,
        status: Arc<Status>,
        running: RunningVersion,
    ) -> Self {
        Self { name, mailbox, registry, known_sessions: KnownSessions::default(), status, running: Mutex::new(running) }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn stop(&self) {
        self.mailbox.stop();
    }

    /// Replaces the version that runs, behind the events that wait already.
    pub(super) fn replace(&self, replacement: Replacement) {
        self.mailbox.replace(replacement);
    }

    /// Ends the plugin's thread after the events that wait.
    pub(super) fn finish(&self) {
        self.mailbox.finish();
    }

    /// Sets the manifest and grants of the version that runs from now on.
    pub(super) fn set_running(&self, running: RunningVersion) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
    }

    /// The manifest and grants of the version that runs.
    pub(super) fn running(&self) -> RunningVersion {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn status(&self, broker: &Broker) -> PluginStatus {
        let RunningVersion { manifest, grants } = self.running();
        let StatusReport { health, serves, last_failure } = self.status.report();
        PluginStatus {
            name: self.name.to_string(),
            package: manifest.name,
            version: manifest.version,
            hash: manifest.hash,
            bytes: manifest.bytes,
            needs: manifest.needs,
            grants,
            serves,
            health,
            instances: self.status.instances(),
            timers: self.registry.timers(),
            hooks: self.status.hooks(),
            failures: self.status.failures(),
            last_failure,
            waiting: self.mailbox.waiting(),
            state_bytes: broker.core.store.state_bytes(&self.name).unwrap_or_else(|error| {
                tracing::warn!(plugin = &*self.name, %error, "the size of the state cannot be read");
                0
            }),
        }
    }
}
