//! Reload: replaces the version of a plugin between two events; sockets, subscriptions, state and timers stay, and a version
//! that cannot start changes nothing. Plugins that are new in the configuration are started.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::loading::{LoadFailure, running};
use super::{NativePlugin, PluginHandle, TopicPlugins};
use crate::broker::plugins::ReloadOutcomes;
use crate::broker::{Broker, PluginStatus, ReloadError};
use crate::config::{Config, Endpoint, PluginConfig, Rules, TopicRule};
use crate::plugin::Failed;
use crate::topic::is_invisible;

/// The configured plugins, with the topic rules and endpoints that name them.
pub(crate) struct InitialPlugins {
    pub(crate) plugins: BTreeMap<String, PluginConfig>,
    pub(crate) topics: Vec<TopicRule>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// The file that a reload reads again; none keeps these settings.
    pub(crate) file: Option<PathBuf>,
    pub(crate) natives: BTreeMap<String, NativePlugin>,
}

/// The settings that were applied last. One reload at a time holds the lock.
pub(super) type Settings = Mutex<InitialPlugins>;

/// Reads the configuration file again.
fn read_again(settings: &mut InitialPlugins) -> Result<(), ReloadError> {
    let Some(file) = &settings.file else { return Ok(()) };
    let loaded = Config::load_with_warnings(file);
    let (config, warnings) = loaded.map_err(|problems| ReloadError::Configuration(problems.render(false)))?;
    if let Some(warnings) = warnings {
        tracing::warn!(%warnings, "the configuration was read again");
    }
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
        let reloaded = self.reload_one(broker, settings, name)?;
        self.take_rules(broker, settings);
        Ok(reloaded)
    }

    /// Reloads all plugins, one after the other, as the configuration says now.
    pub(super) fn reload_each(
        &self,
        broker: &Broker,
        settings: &mut InitialPlugins,
    ) -> Result<ReloadOutcomes, ReloadError> {
        read_again(settings)?;
        let names: BTreeSet<String> = settings.plugins.keys().cloned().collect();
        let reload = |name: String| {
            let reloaded = self.reload_one(broker, settings, &name);
            (name, reloaded)
        };
        let reloaded: Vec<_> =
            names.into_iter().filter(|name| !settings.natives.contains_key(name)).map(reload).collect();
        if reloaded.iter().all(|(_, outcome)| outcome.is_ok()) {
            self.take_rules(broker, settings);
        }
        Ok(reloaded)
    }

    fn reload_one(&self, broker: &Broker, settings: &InitialPlugins, name: &str) -> Result<PluginStatus, ReloadError> {
        let reloaded = match (self.get(name), settings.plugins.get(name)) {
            _ if settings.natives.contains_key(name) => Err(fixed(name, "is part of this program")),
            (Some(handle), Some(plugin)) => self.replace(&handle, plugin).map(|()| handle.status(broker)),
            (None, Some(plugin)) => self.begin(name, plugin).map(|handle| handle.status(broker)),
            (Some(_), None) => {
                Err(fixed(name, "is gone from the configuration; it runs until the broker is restarted"))
            }
            // An unknown name is the caller's mistake: it is returned, and not logged.
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

    /// Starts a plugin that is new.
    fn begin(&self, name: &str, plugin: &PluginConfig) -> Result<Arc<PluginHandle>, ReloadError> {
        let (handle, thread) = self.loader.start(name, None, plugin).map_err(refused)?;
        self.add(handle, thread);
        self.get(name).ok_or(ReloadError::Stopping)
    }

    /// Replaces the version of a plugin, behind the events that wait already.
    fn replace(&self, handle: &Arc<PluginHandle>, plugin: &PluginConfig) -> Result<(), ReloadError> {
        let name = handle.name().to_string();
        let path = plugin.path.display().to_string();
        let version = self.loader.version(&name, plugin).map_err(refused)?;
        let running = running(&version, plugin);
        let (sender, replaced) = std::sync::mpsc::sync_channel(1);
        let replaced_plugin = Arc::clone(handle);
        let on_replaced = move |outcome: Result<(), Failed>| {
            if outcome.is_ok() {
                replaced_plugin.set_running(running);
            }
            // The reload waits for it.
            let _ = sender.send(outcome);
        };
        handle.replace(version, Box::new(on_replaced));
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

    /// Applies the topic rules and endpoints of the configuration, if all plugins that they name run.
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
        broker.core.topics.set_rules(rules);
        let endpoints = settings.endpoints.iter().map(|endpoint| (endpoint.path.clone(), endpoint.plugin.clone()));
        broker.core.endpoints.set(endpoints);
    }
}

/// A name from outside, shortened and without invisible characters.
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
