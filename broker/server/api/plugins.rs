//! The plugins as the HTTP API lists them, and their reload.

use rialto_protocol::{Failure, PluginFailureLine, PluginLine};

use super::reload;
use crate::broker::{Broker, PluginStatus};
use crate::plugin::FailureReport;

/// All plugins.
pub(super) fn list(broker: &Broker) -> Vec<PluginLine> {
    broker.plugins().into_iter().map(line).collect()
}

/// Loads a plugin again.
///
/// # Errors
/// Why the plugin was not loaded; the old version stays.
pub(super) async fn reload(broker: &Broker, name: &str) -> Result<PluginLine, Failure> {
    broker.reload_plugin(name).await.map(line).map_err(|error| reload::failure(&error))
}

fn line(status: PluginStatus) -> PluginLine {
    let failure = |FailureReport { hook, topic, text, time_ms }| PluginFailureLine { hook, topic, text, time: time_ms };
    PluginLine {
        // Only a plugin that was loaded from a file has a hash.
        native: status.hash.is_empty(),
        name: status.name,
        package: status.package,
        version: status.version,
        hash: status.hash,
        bytes: status.bytes as u64,
        needs: status.needs,
        grants: status.grants,
        serves: status.serves,
        state: status.health.as_str().to_owned(),
        instances: status.instances as u64,
        timers: status.timers as u64,
        hooks: status.hooks,
        failures: status.failures,
        last_failure: status.last_failure.map(failure),
        waiting: status.waiting as u64,
        state_bytes: status.state_bytes as u64,
    }
}
