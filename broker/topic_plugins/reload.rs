//! Reload: a new version of a plugin takes the place of the old one between two events, while sockets, subscriptions, state
//! and timers stay; a new version that cannot run changes nothing. Plugins that are new in the configuration begin to run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::loading::{LoadFailure, running};
use super::{NativePlugin, PluginHandle, TopicPlugins};
use crate::broker::{Broker, PluginStatus};
use crate::config::{Config, Endpoint, PluginConfig, Rules, TopicRule};
use crate::topic::is_invisible;

/// Why a plugin was not reloaded. What ran goes on.
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

/// What was wanted when the broker started: plugins, and what is theirs.
pub(crate) struct InitialPlugins {
    pub(crate) plugins: BTreeMap<String, PluginConfig>,
    pub(crate) topics: Vec<TopicRule>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// Where that is read again; none keeps it as it is.
    pub(crate) file: Option<PathBuf>,
    pub(crate) natives: BTreeMap<String, NativePlugin>,
}

/// What was wanted last. One reload at a time has it.
pub(super) type Settings = Mutex<InitialPlugins>;

impl Broker {
    /// Loads a plugin's component again, with its settings of the configuration file if the broker has one, and lets it take
    /// the place of the version that runs. A plugin that is new in that file begins to run; its topic rules and endpoints
    /// hold from then on, for topics in memory once nobody is subscribed any more.
    ///
    /// # Errors
    /// [`ReloadError`] says why the old version goes on.
    pub async fn reload_plugin(&self, name: &str) -> Result<PluginStatus, ReloadError> {
        let name = name.to_owned();
        aside(self, move |broker| {
            let topic_plugins = &broker.core.topic_plugins;
            let mut settings = topic_plugins.settings.lock().unwrap_or_else(PoisonError::into_inner);
            topic_plugins.reload_again(broker, &mut settings, &name)
        })
        .await?
    }

    /// Reloads all plugins that run or that the configuration file names, one after the other.
    ///
    /// # Errors
    /// [`ReloadError`] when that cannot be begun; the outcome of each plugin stands beside its name.
    pub async fn reload_plugins(&self) -> Result<Vec<(String, Result<PluginStatus, ReloadError>)>, ReloadError> {
        aside(self, move |broker| {
            let topic_plugins = &broker.core.topic_plugins;
            let mut settings = topic_plugins.settings.lock().unwrap_or_else(PoisonError::into_inner);
            read_again(&mut settings)?;
            let names: BTreeSet<String> = settings.plugins.keys().cloned().collect();
            let reload = |name: String| {
                let reloaded = topic_plugins.reload(broker, &settings, &name);
                (name, reloaded)
            };
            let reloaded: Vec<_> =
                names.into_iter().filter(|name| !settings.natives.contains_key(name)).map(reload).collect();
            if reloaded.iter().all(|(_, outcome)| outcome.is_ok()) {
                topic_plugins.take_rules(broker, &settings);
            }
            Ok(reloaded)
        })
        .await?
    }
}

/// Does something that may take seconds on a thread of its own.
async fn aside<T: Send + 'static>(
    broker: &Broker,
    work: impl FnOnce(&Broker) -> T + Send + 'static,
) -> Result<T, ReloadError> {
    let (sender, outcome) = oneshot::channel();
    let broker = broker.clone();
    let work = move || {
        // Who asked may have gone.
        let _ = sender.send(work(&broker));
    };
    let spawned = std::thread::Builder::new().name("rialto-reload".to_owned()).spawn(work);
    spawned.map_err(|error| ReloadError::Refused(format!("no thread for a reload: {error}")))?;
    outcome.await.map_err(|_| ReloadError::Stopping)
}

/// Takes over what the configuration file says now.
fn read_again(settings: &mut InitialPlugins) -> Result<(), ReloadError> {
    let Some(file) = &settings.file else { return Ok(()) };
    let config = Config::load(file).map_err(|problems| ReloadError::Configuration(problems.render(false)))?;
    let Config { plugins, topics, endpoints, .. } = config;
    (settings.plugins, settings.topics, settings.endpoints) = (plugins, topics, endpoints);
    Ok(())
}

impl TopicPlugins {
    /// Reloads one plugin as the configuration says now.
    pub(super) fn reload_again(
        &self,
        broker: &Broker,
        settings: &mut InitialPlugins,
        name: &str,
    ) -> Result<PluginStatus, ReloadError> {
        read_again(settings)?;
        let reloaded = self.reload(broker, settings, name)?;
        self.take_rules(broker, settings);
        Ok(reloaded)
    }

    fn reload(&self, broker: &Broker, settings: &InitialPlugins, name: &str) -> Result<PluginStatus, ReloadError> {
        let reloaded = match (self.get(name), settings.plugins.get(name)) {
            _ if settings.natives.contains_key(name) => Err(fixed(name, "is part of this program")),
            (Some(owner), Some(plugin)) => self.replace(&owner, plugin).map(|()| owner.status(broker)),
            (None, Some(plugin)) => self.begin(name, plugin).map(|owner| owner.status(broker)),
            (Some(_), None) => {
                Err(fixed(name, "is gone from the configuration; it runs until the broker is restarted"))
            }
            // Whoever asks for what there is not is told so; there is nothing for the operator to see to.
            (None, None) => return Err(ReloadError::Unknown(shown(name))),
        };
        match &reloaded {
            Ok(PluginStatus { version, hash, .. }) => {
                broker.core.metrics.plugin_reloads.add(1);
                tracing::info!(plugin = name, version, hash, "plugin loaded");
            }
            Err(error) => {
                broker.core.metrics.plugin_reload_errors.add(1);
                tracing::error!(plugin = name, %error, "a plugin was not reloaded; what ran goes on");
            }
        }
        reloaded
    }

    /// A plugin that is new begins to run.
    fn begin(&self, name: &str, plugin: &PluginConfig) -> Result<std::sync::Arc<PluginHandle>, ReloadError> {
        let (owner, thread) = self.loader.start(name, None, plugin).map_err(refused)?;
        self.add(owner, thread);
        self.get(name).ok_or(ReloadError::Stopping)
    }

    /// A new version takes the place of the old one, behind the events that wait already.
    fn replace(&self, owner: &std::sync::Arc<PluginHandle>, plugin: &PluginConfig) -> Result<(), ReloadError> {
        let name = owner.name().to_string();
        let path = plugin.path.display().to_string();
        let version = self.loader.version(&name, plugin).map_err(refused)?;
        let told = running(&version, plugin);
        let (sender, replaced) = std::sync::mpsc::sync_channel(1);
        let changed = std::sync::Arc::clone(owner);
        owner.change(Box::new(move |runner| {
            let outcome = runner.replace(version);
            if outcome.is_ok() {
                changed.set_running(told);
            }
            // The reload waits for it.
            let _ = sender.send(outcome);
        }));
        match replaced.recv() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failed)) => {
                let reason = format!("cannot start: {failed}");
                Err(refused(LoadFailure::Plugin { name, path, reason }))
            }
            // Its thread has ended, and with it the broker ends.
            Err(_) => Err(ReloadError::Stopping),
        }
    }

    /// The topic rules and endpoints of the configuration hold from now on, if all plugins that they name run.
    fn take_rules(&self, broker: &Broker, settings: &InitialPlugins) {
        let named = settings.topics.iter().filter_map(|rule| rule.plugin.as_ref());
        let named = named.chain(settings.endpoints.iter().map(|endpoint| &endpoint.plugin));
        let missing: BTreeSet<&String> = named.filter(|name| self.get(name).is_none()).collect();
        if !missing.is_empty() {
            tracing::warn!(?missing, "topic rules and endpoints stay as they were until these plugins are loaded");
            return;
        }
        let rules = Rules::new(&settings.topics);
        self.loader.with.rules.set(rules.clone());
        broker.core.topics.set_rules(rules, broker.core.limits.keys);
        let endpoints = settings.endpoints.iter().map(|endpoint| (endpoint.path.clone(), endpoint.plugin.clone()));
        broker.core.endpoints.set(endpoints);
    }
}

/// A name as it may be repeated: it comes from outside.
fn shown(name: &str) -> String {
    const NAME_CHARS_MAX: usize = 64;
    name.chars().filter(|character| !is_invisible(*character)).take(NAME_CHARS_MAX).collect()
}

fn refused(failure: LoadFailure) -> ReloadError {
    ReloadError::Refused(failure.to_string())
}

fn fixed(name: &str, reason: &str) -> ReloadError {
    ReloadError::Fixed { name: name.to_owned(), reason: reason.to_owned() }
}
