//! The plugins of a broker: their status, and which of them owns a topic. It runs none of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rialto_protocol::{ErrorCode, Failure};

use super::topic_logic::TopicLogic;
use super::{Broker, ReloadError};
use crate::config::{PluginConfig, TopicOptions};
use crate::plugin::{FailureReport, PluginHealth};
use crate::topic::Topic;

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

/// The plugins that another configuration wants.
pub(crate) struct PluginPlan<'p> {
    /// The plugins of the configuration in force.
    pub(crate) running: &'p BTreeMap<String, PluginConfig>,
    /// Those of the new one.
    pub(crate) wanted: &'p BTreeMap<String, PluginConfig>,
    /// The one that is to be loaded in any case, and that has to start.
    pub(crate) named: Option<&'p str>,
}

/// Plugins that have started and do not serve yet. Dropping this changes nothing.
pub(crate) trait PreparedPlugins {
    /// Lets those serve that are new, before any rule names them.
    fn add_new(&mut self);

    /// Lets new versions take over, and ends plugins that are wanted no more. Returns what does not run as it should, with the
    /// reasons.
    fn complete(self: Box<Self>) -> Vec<(String, String)>;
}

/// Starts, finds, reloads and stops the plugins of a broker.
pub(crate) trait PluginManager: fmt::Debug + Send + Sync {
    /// The logic of the plugin with this name, if it is loaded.
    fn logic(&self, name: &str) -> Option<Arc<dyn TopicLogic>>;

    /// Whether a plugin is part of the program.
    fn is_native(&self, name: &str) -> bool;

    /// The names of the plugins that are part of the program.
    fn natives(&self) -> Vec<&str>;

    /// The status of all plugins, by name.
    fn status(&self, broker: &Broker) -> Vec<PluginStatus>;

    /// Starts what another configuration needs; blocks while it is compiled. The threads of plugins that run wait then for the
    /// decision.
    ///
    /// # Errors
    /// [`ReloadError`] when a plugin does not start that must; then everything goes on as it was.
    fn prepare<'p>(&'p self, plan: &PluginPlan<'_>) -> Result<Box<dyn PreparedPlugins + 'p>, ReloadError>;

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

    /// The plugin that owns a topic. The topic is not brought into memory for that, because an unsubscribe must get through
    /// even when no further topic fits.
    pub(crate) fn logic_of(&self, topic: &Topic) -> Option<Arc<dyn TopicLogic>> {
        self.core.plugins.logic(self.core.topics.options(topic)?.plugin.as_ref()?)
    }

    /// Whether a plugin of this name owns a topic.
    pub(crate) fn is_owner(&self, name: &str, topic: &Topic) -> bool {
        self.core.topics.options(topic).is_some_and(|rule| rule.plugin.as_deref() == Some(name))
    }

    /// The plugin that decides on what happens in a topic of this rule; none where no plugin owns it, or where its plugin is down and the
    /// rule lets everything pass meanwhile.
    ///
    /// # Errors
    /// `plugin_failed` where the plugin is not loaded.
    pub(crate) fn deciding_logic(&self, rule: &TopicOptions) -> Result<Option<Arc<dyn TopicLogic>>, Failure> {
        let Some(name) = &rule.plugin else { return Ok(None) };
        match self.core.plugins.logic(name) {
            Some(logic) if rule.passes_on_failure && logic.is_down() => Ok(None),
            Some(logic) => Ok(Some(logic)),
            None => Err(Failure::new(ErrorCode::PluginFailed, format!("plugin \"{name}\" is not loaded"))),
        }
    }
}
