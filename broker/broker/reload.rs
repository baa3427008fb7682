//! Reload: applies another configuration while the broker runs, as a whole or not at all. It reads the file, and decides nothing
//! about single settings.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use tokio::sync::oneshot;

use super::plugins::PluginPlan;
use super::{Broker, PluginStatus};
use crate::config::{Changes, Config, Problems};
use crate::hub::HubLimits;

/// What a reload has changed. Secrets are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// What differs from the configuration before and is applied, like `limits.sessions` or `topic rule room.*: changed`.
    pub applied: Vec<String>,
    /// What differs and takes effect only when the broker is started again.
    pub restart: Vec<String>,
    /// The plugins that do not run as they should, each with the reason. Where an older version runs, it goes on.
    pub failed: Vec<(String, String)>,
    /// What works and will not in the next version, rendered with line and caret.
    pub warnings: Option<String>,
}

/// Why nothing was reloaded. Everything goes on as it was.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// There are problems in the configuration.
    #[error("the configuration has problems, nothing was changed:\n{0}")]
    Configuration(Box<Problems>),
    /// The broker was built without a configuration file.
    #[error("the broker has no configuration file, nothing was changed")]
    NoFile,
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
    /// The new version of a plugin cannot be loaded or does not start.
    #[error("{0}")]
    Refused(String),
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

impl Broker {
    /// Applies another configuration, everything at once: API keys, hosts and origins, limits, topic rules, endpoints and plugins.
    /// What it needs is compiled and started first. Topics in memory follow their rules; where the plugin, the delivery policy or
    /// presence has changed, subscriptions end with `unsubscribed`, and clients subscribe again.
    ///
    /// Sessions that are connected keep the message size and the rate limits that they began with.
    ///
    /// # Errors
    /// [`ReloadError`] when the configuration is not what a file could have, or a plugin that is `required` does not start; then
    /// nothing was changed.
    pub async fn reload(&self, config: Config) -> Result<Reloaded, ReloadError> {
        on_own_thread(self, move |broker| {
            config.check(broker.core.plugins.natives()).map_err(refused)?;
            broker.apply(config, None, None)
        })
        .await?
    }

    /// Reads the configuration file of the builder again and applies it, as [`Broker::reload`].
    ///
    /// # Errors
    /// Also the problems of the file; then nothing was changed.
    pub async fn reload_file(&self) -> Result<Reloaded, ReloadError> {
        on_own_thread(self, |broker| {
            let file = broker.core.config_file.as_deref().ok_or(ReloadError::NoFile)?;
            let (config, warnings) = broker.read(file)?;
            broker.apply(config, warnings, None)
        })
        .await?
    }

    /// Loads a plugin's component again; the new version replaces the one that runs. If the broker has a configuration file, that
    /// is read again and applied, as by [`Broker::reload_file`].
    ///
    /// # Errors
    /// [`ReloadError`] says why the old version goes on.
    pub async fn reload_plugin(&self, name: &str) -> Result<PluginStatus, ReloadError> {
        let name = name.to_owned();
        on_own_thread(self, move |broker| {
            let (config, warnings) = match broker.core.config_file.as_deref() {
                Some(file) => broker.read(file)?,
                None => (Config::clone(&broker.core.config.get()), None),
            };
            let reloaded = broker.apply(config, warnings, Some(&name))?;
            if let Some((_, reason)) = reloaded.failed.into_iter().find(|(failed, _)| *failed == name) {
                return Err(ReloadError::Refused(reason));
            }
            let status = broker.plugins().into_iter().find(|status| status.name == name);
            status.ok_or(ReloadError::Unknown(name))
        })
        .await?
    }

    /// Loads a plugin's component again, by the configuration in force.
    ///
    /// # Errors
    /// [`ReloadError`] says why the old version goes on.
    pub(crate) fn reload_component(&self, name: &str) -> Result<(), ReloadError> {
        let config = Config::clone(&self.core.config.get());
        self.apply(config, None, Some(name)).map(drop)
    }

    fn read(&self, file: &Path) -> Result<(Config, Option<String>), ReloadError> {
        match Config::load_with_warnings(file) {
            Ok((mut config, warnings)) => {
                config.sandbox.cache = config.sandbox.cache.or_else(|| self.core.usual_cache.clone());
                Ok((config, warnings.map(|warnings| warnings.render(false))))
            }
            Err(problems) => Err(refused(problems)),
        }
    }

    /// Applies a configuration, and a plugin's component in any case if one is named.
    fn apply(
        &self,
        mut config: Config,
        warnings: Option<String>,
        named: Option<&str>,
    ) -> Result<Reloaded, ReloadError> {
        let core = &self.core;
        // One at a time. What it changes is whole at any moment, also after a panic.
        let _turn = core.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let running = core.config.get();
        let mut changes = Changes::between(&running, &config);
        if core.set_log_level.is_none() {
            changes.defer(|change| change == "server.log");
        }
        config.keep_fixed(&running);
        // What is part of the program has the settings that it was started with.
        for name in running.plugins.keys().chain(config.plugins.clone().keys()) {
            if core.plugins.is_native(name) {
                changes.defer(|change| change.starts_with(&format!("plugin {name}: ")));
                keep_plugin(&mut config, &running, name);
            }
        }
        let plan = PluginPlan { running: &running.plugins, wanted: &config.plugins, named };
        let mut prepared = core.plugins.prepare(&plan).inspect_err(|error| {
            if !matches!(error, ReloadError::Unknown(_) | ReloadError::Fixed { .. }) {
                tracing::error!(%error, "the configuration was not reloaded: nothing was changed");
            }
        })?;
        prepared.add_new();
        core.config.set(config);
        let new = core.config.get();
        core.hub.set_limits(HubLimits::of(core.hub.shards(), &new.limits));
        core.store.set_bytes_max(new.limits.history_bytes);
        core.key_shares.set_max(new.limits.keys_bytes);
        if let Some(set_log_level) = &core.set_log_level {
            (set_log_level.0)(&new.server.log);
        }
        core.auth.set(new.auth.as_ref());
        self.revoke_changed_users(running.auth.as_ref(), new.auth.as_ref());
        for lost in core.topics.follow_rules(&*core.store, core.clock.now()) {
            if let Some(logic) = core.plugins.logic(&lost.plugin) {
                logic.give_up_topic(self, &lost.topic);
            }
        }
        for (path, plugin) in running.endpoints.moved(&new.endpoints) {
            if let Some(logic) = core.plugins.logic(plugin) {
                logic.give_up_endpoint(self, path);
            }
        }
        core.rates.follow_rules(&new.rules);
        core.hub.recheck_all();
        let failed = prepared.complete();
        let Changes { applied, restart } = changes;
        let reloaded = Reloaded { applied, restart, failed, warnings };
        reloaded.log();
        Ok(reloaded)
    }
}

fn refused(problems: Problems) -> ReloadError {
    tracing::error!(%problems, "the configuration has problems: nothing was changed");
    ReloadError::Configuration(Box::new(problems))
}

/// Takes over the table of a plugin from what runs.
fn keep_plugin(config: &mut Config, running: &Config, name: &str) {
    config.plugins.remove(name);
    config.plugins.extend(running.plugins.get_key_value(name).map(|(name, table)| (name.clone(), table.clone())));
}

impl Reloaded {
    /// One line says everything.
    fn log(&self) {
        let Self { applied, restart, failed, warnings } = self;
        let failed: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
        if let Some(warnings) = warnings {
            tracing::warn!(%warnings, "the configuration has warnings");
        }
        tracing::info!(?applied, ?restart, ?failed, "configuration reloaded");
    }
}

/// Does something that may take seconds on a thread of its own.
async fn on_own_thread<T: Send + 'static>(
    broker: &Broker,
    work: impl FnOnce(&Broker) -> T + Send + 'static,
) -> Result<T, ReloadError> {
    let (sender, outcome) = oneshot::channel();
    let broker = Broker { core: Arc::clone(&broker.core) };
    let work = move || {
        // The caller may no longer wait.
        let _ = sender.send(work(&broker));
    };
    let spawned = std::thread::Builder::new().name("rialto-reload".to_owned()).spawn(work);
    spawned.map_err(|error| ReloadError::Refused(format!("no thread for a reload: {error}")))?;
    outcome.await.map_err(|_| ReloadError::Stopping)
}
