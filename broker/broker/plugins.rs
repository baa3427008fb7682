//! The plugins of a broker: their status, their reload, and which of them owns a topic. It runs none of them.

use std::fmt;
use std::sync::Arc;

use rialto_protocol::{ErrorCode, Failure};
use tokio::sync::oneshot;

use super::Broker;
use super::topic_logic::TopicLogic;
use crate::plugin::{FailureReport, PluginHealth};
use crate::topic::Topic;
use crate::topics::TopicEntry;

/// The status of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PluginStatus {
    /// The plugin's name in the configuration.
    pub name: String,
    /// The component's own name.
    pub package: String,
    /// The component's version.
    pub version: String,
    /// SHA-256 of the component's file, in hexadecimal; empty for a native plugin.
    pub hash: String,
    /// The size of the component's file.
    pub bytes: usize,
    /// The capabilities it needs.
    pub needs: Vec<String>,
    /// The capabilities that the operator grants.
    pub grants: Vec<String>,
    /// The topics and methods that it says it serves.
    pub serves: Vec<String>,
    /// Whether it works.
    pub health: PluginHealth,
    /// Running instances.
    pub instances: usize,
    /// Pending timers.
    pub timers: usize,
    /// Hooks that were called.
    pub hooks: u64,
    /// Hooks that failed.
    pub failures: u64,
    /// The last failure.
    pub last_failure: Option<FailureReport>,
    /// Requests of clients in its mailbox.
    pub waiting: usize,
    /// Bytes of its state, without that of instances of single topics.
    pub state_bytes: usize,
}

/// Why a plugin was not reloaded. The version that runs goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// There are problems in the configuration file.
    #[error("the configuration has problems:\n{0}")]
    Configuration(String),
    /// There is no such plugin, neither running nor in the configuration.
    #[error("there is no plugin \"{0}\"")]
    Unknown(String),
    /// It cannot be reloaded, because it is part of the program or gone from the configuration.
    #[error("plugin \"{name}\" {reason}")]
    Fixed {
        /// The plugin's name in the configuration.
        name: String,
        /// Why it cannot.
        reason: String,
    },
    /// The new version cannot be loaded or does not start.
    #[error("{0}")]
    Refused(String),
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

/// The outcome of the reload of each plugin, by name.
pub(crate) type ReloadOutcomes = Vec<(String, Result<PluginStatus, ReloadError>)>;

/// Starts, finds, reloads and stops the plugins of a broker.
pub(crate) trait PluginManager: fmt::Debug + Send + Sync {
    /// The logic of the plugin with this name, if it is loaded.
    fn logic(&self, name: &str) -> Option<Arc<dyn TopicLogic>>;

    /// The status of all plugins, by name.
    fn status(&self, broker: &Broker) -> Vec<PluginStatus>;

    /// Reloads one plugin; blocks while it is compiled.
    ///
    /// # Errors
    /// [`ReloadError`] says why the old version goes on.
    fn reload(&self, broker: &Broker, name: &str) -> Result<PluginStatus, ReloadError>;

    /// Reloads all plugins; blocks while they are compiled.
    ///
    /// # Errors
    /// [`ReloadError`] when none can be reloaded.
    fn reload_all(&self, broker: &Broker) -> Result<ReloadOutcomes, ReloadError>;

    /// Asks the plugins' threads to end and does not wait for them.
    fn signal_stop(&self);

    /// Ends the plugins' threads after the hook that each is in; pending requests are dropped.
    fn stop(&self);
}

impl Broker {
    /// The status of all plugins, by name.
    pub fn plugins(&self) -> Vec<PluginStatus> {
        self.core.plugins.status(self)
    }

    /// Loads a plugin's component again, with its settings of the configuration file if the broker has one; the new version
    /// replaces the one that runs. A plugin that is new in that file is started; its topic rules and endpoints apply from
    /// then on, to topics in memory once nobody is subscribed any more.
    ///
    /// # Errors
    /// [`ReloadError`] says why the old version goes on.
    pub async fn reload_plugin(&self, name: &str) -> Result<PluginStatus, ReloadError> {
        let name = name.to_owned();
        on_own_thread(self, move |broker| broker.core.plugins.reload(broker, &name)).await?
    }

    /// Reloads all plugins that run or that the configuration file names, one after the other.
    ///
    /// # Errors
    /// [`ReloadError`] when none can be reloaded; else each plugin's own outcome is beside its name.
    pub async fn reload_plugins(&self) -> Result<Vec<(String, Result<PluginStatus, ReloadError>)>, ReloadError> {
        on_own_thread(self, |broker| broker.core.plugins.reload_all(broker)).await?
    }

    /// The plugin that owns a topic. The topic is not brought into memory for that, because an unsubscribe must get through
    /// even when no further topic fits.
    pub(crate) fn logic_of(&self, topic: &Topic) -> Option<Arc<dyn TopicLogic>> {
        self.core.plugins.logic(self.core.topics.options(topic)?.plugin.as_ref()?)
    }

    /// The plugin that decides on what happens in a topic; none where no plugin owns it, or where its plugin is down and the
    /// rule lets everything pass meanwhile.
    ///
    /// # Errors
    /// `plugin_failed` where the plugin is not loaded.
    pub(crate) fn deciding_logic(&self, entry: &TopicEntry) -> Result<Option<Arc<dyn TopicLogic>>, Failure> {
        let Some(name) = &entry.options.plugin else { return Ok(None) };
        match self.core.plugins.logic(name) {
            Some(logic) if entry.options.passes_on_failure && logic.is_down() => Ok(None),
            Some(logic) => Ok(Some(logic)),
            None => Err(Failure::new(ErrorCode::PluginFailed, format!("plugin \"{name}\" is not loaded"))),
        }
    }
}

/// Does something that may take seconds on a thread of its own.
async fn on_own_thread<T: Send + 'static>(
    broker: &Broker,
    work: impl FnOnce(&Broker) -> T + Send + 'static,
) -> Result<T, ReloadError> {
    let (sender, outcome) = oneshot::channel();
    let broker = broker.clone();
    let work = move || {
        // The caller may no longer wait.
        let _ = sender.send(work(&broker));
    };
    let spawned = std::thread::Builder::new().name("rialto-reload".to_owned()).spawn(work);
    spawned.map_err(|error| ReloadError::Refused(format!("no thread for a reload: {error}")))?;
    outcome.await.map_err(|_| ReloadError::Stopping)
}
