//! Loads plugins from their configuration and starts them, when the broker starts and at each reload. It changes no plugin
//! that runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rialto_plugin::host::{Capabilities, Capability};

use super::components::{ComponentLoader, LoadedComponent};
use super::{PluginHandle, RunningVersion, commit_timer};
use crate::broker::{Broker, Core};
use crate::clock::Clock;
use crate::config::{self, CurrentConfig, PluginConfig};
use crate::file_version::FileVersion;
use crate::metrics::Metrics;
use crate::plugin::{Commitment, FailurePolicy, Isolation, Manifest, PluginLimits, PluginRegistry, Source};
use crate::plugin::{Status, Surroundings, Version, spawn};
use crate::store::Store;

/// A plugin that is part of the program.
#[derive(Clone)]
pub(crate) struct NativePlugin {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) manifest: Manifest,
}

/// What loading a plugin needs: sandbox settings, compiler, the configuration in force, store and metrics.
pub(crate) struct Loading {
    pub(crate) sandbox: config::Sandbox,
    /// The program that compiles, where that is not this process.
    pub(crate) compiler: Option<PathBuf>,
    pub(crate) config: Arc<CurrentConfig>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    /// The broker, once there is one.
    pub(crate) late: Arc<OnceLock<Weak<Core>>>,
}

/// Why a plugin was not loaded or started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadFailure {
    /// The engine of the sandbox cannot run on this machine.
    #[error("{0}")]
    #[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "there is no engine that could fail"))]
    Sandbox(String),
    /// One plugin cannot be loaded or does not start.
    #[error("plugin \"{name}\" ({path}): {reason}")]
    Plugin { name: String, path: String, reason: String },
}

/// Where plugins come from: the engine, made when the first one needs it, and the program itself.
pub(super) struct Loader {
    pub(super) with: Loading,
    components: ComponentLoader,
    /// What was there when the file of each plugin was read last, whether it ran then or not.
    read: Mutex<BTreeMap<String, FileVersion>>,
}

impl std::fmt::Debug for NativePlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.manifest.name)
    }
}

impl Loader {
    pub(super) fn new(with: Loading) -> Self {
        let components = ComponentLoader::new(&with.sandbox, with.compiler.clone());
        Self { with, components, read: Mutex::default() }
    }

    /// Loads a plugin and starts it on a thread of its own.
    ///
    /// # Errors
    /// [`LoadFailure`] says why it was not started.
    pub(super) fn start(
        &self,
        name: &str,
        native: Option<NativePlugin>,
        plugin: &PluginConfig,
    ) -> Result<(Arc<PluginHandle>, JoinHandle<()>), LoadFailure> {
        let path = native.as_ref().map_or_else(|| plugin.path.display().to_string(), |_| "part of this program".into());
        let version = match native {
            Some(native) => own_version(native, plugin).map_err(|reason| failure(name, &path, reason))?,
            None => self.version(name, plugin)?,
        };
        let running = running(&version, plugin);
        let registry = Arc::new(PluginRegistry::new(Arc::clone(&self.with.store)));
        let (key, status): (Arc<str>, Arc<Status>) = (name.into(), Arc::default());
        let own = Arc::new(OnceLock::new());
        let around = self.surroundings(&key, &registry, &status, &own);
        let (mailbox, thread) = spawn(version, around).map_err(|error| failure(name, &path, error.to_string()))?;
        let handle = Arc::new(PluginHandle::new(key, mailbox, registry, status, running));
        // Until now no timer's hook could be committed: that needs the plugin's own handle.
        let _ = own.set(Arc::downgrade(&handle));
        Ok((handle, thread))
    }

    /// Loads the component of a plugin with its settings. Nothing of it runs yet.
    ///
    /// # Errors
    /// [`LoadFailure`] says what is wrong with it.
    pub(super) fn version(&self, name: &str, plugin: &PluginConfig) -> Result<Version, LoadFailure> {
        // Before it is read: what comes after that is new.
        if let Some(trace) = FileVersion::of(&plugin.path) {
            self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), trace);
        }
        let component = self.components.load(name, plugin, self.compile_threads())?;
        Ok(version(component, plugin))
    }

    /// What was there when the file of a plugin was read last.
    pub(super) fn last_read(&self, name: &str) -> Option<FileVersion> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// All cores until the broker serves; then half of them stay with those it serves.
    fn compile_threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if self.with.late.get().is_some() { cores.div_ceil(2) } else { cores }
    }

    fn surroundings(
        &self,
        name: &Arc<str>,
        registry: &Arc<PluginRegistry>,
        status: &Arc<Status>,
        own: &Arc<OnceLock<Weak<PluginHandle>>>,
    ) -> Surroundings {
        let Loading { config, store, metrics, clock, late, .. } = &self.with;
        let (config, own_name) = (Arc::clone(config), Arc::clone(name));
        let (own, late) = (Arc::clone(own), Arc::clone(late));
        Surroundings {
            name: Arc::clone(name),
            owns: Arc::new(move |topic| {
                let rule = config.load().rules.options(topic);
                rule.is_some_and(|rule| rule.plugin.as_ref() == Some(&own_name))
            }),
            store: Arc::clone(store),
            metrics: Arc::clone(metrics),
            clock: clock.clone(),
            registry: Arc::clone(registry),
            status: Arc::clone(status),
            commit_timer: Arc::new(move |done| {
                let broker = late.get().and_then(Weak::upgrade).map(|core| Broker { core });
                match (broker, own.get().and_then(Weak::upgrade)) {
                    (Some(broker), Some(plugin)) => commit_timer(broker, plugin, done),
                    _ => Commitment::NotKept,
                }
            }),
            recordings: self.with.sandbox.recordings.clone(),
        }
    }
}

/// The manifest and grants of a version, for the plugin's status.
pub(super) fn running(version: &Version, plugin: &PluginConfig) -> RunningVersion {
    RunningVersion { manifest: version.manifest.clone(), grants: plugin.grants.clone() }
}

fn own_version(native: NativePlugin, plugin: &PluginConfig) -> Result<Version, String> {
    let grants = grants(plugin)?;
    // It is trusted with all that is granted.
    let may = Capabilities::of(&grants, &grants).map_err(|need| format!("it lacks {need}"))?;
    Ok(version(LoadedComponent { source: native.source, manifest: native.manifest, may }, plugin))
}

fn version(LoadedComponent { source, manifest, may }: LoadedComponent, plugin: &PluginConfig) -> Version {
    let is_isolated = plugin.isolation == config::Isolation::Topic;
    let milliseconds = Duration::from_millis;
    Version {
        source,
        manifest,
        config: plugin.config.to_string(),
        limits: limits(plugin),
        may: Arc::new(may),
        failures: FailurePolicy {
            failures: plugin.failures,
            within: milliseconds(plugin.failures_ms),
            quarantine: (plugin.quarantine_ms > 0).then(|| milliseconds(plugin.quarantine_ms)),
        },
        isolation: is_isolated
            .then(|| Isolation { instances: plugin.instances, idle: milliseconds(plugin.instance_idle_ms) }),
        record: plugin.record,
        file: plugin.path.display().to_string(),
    }
}

/// The limits of a plugin, from its configuration.
pub(crate) fn limits(plugin: &PluginConfig) -> PluginLimits {
    PluginLimits {
        memory_bytes: usize::try_from(plugin.memory_bytes).unwrap_or(usize::MAX),
        hook_ms: plugin.hook_ms,
        mailbox: plugin.mailbox,
        state_bytes: usize::try_from(plugin.state_bytes).unwrap_or(usize::MAX),
        output_bytes: plugin.output_bytes,
        host_calls: plugin.host_calls as u64,
        effects: plugin.effects,
        timers: plugin.timers,
    }
}

pub(super) fn grants(plugin: &PluginConfig) -> Result<Vec<Capability>, String> {
    plugin.grants.iter().map(|word| Capability::parse(word).map_err(|error| error.to_string())).collect()
}

pub(super) fn failure(name: &str, path: &str, reason: String) -> LoadFailure {
    LoadFailure::Plugin { name: name.to_owned(), path: path.to_owned(), reason }
}
