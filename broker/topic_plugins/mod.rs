//! Topic plugins: turns requests to topics into hook calls, and the outcome of a hook into messages and replies. The sandbox
//! is in `plugin`.

mod authentication;
mod components;
mod handle;
mod known_sessions;
mod loading;
mod logic;
#[cfg(test)]
mod pending_tests;
mod reload;
mod reply;
mod request;
#[cfg(test)]
mod store_failure_tests;
mod transaction;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;

use self::handle::PluginHandle;
use self::loading::Loader;
#[cfg(all(feature = "cli", feature = "plugins"))]
pub(crate) use self::loading::limits;
pub(crate) use self::loading::{LoadFailure, Loading, NativePlugin};
use self::reply::PluginReply;
use self::transaction::{PrimaryEffect, Transaction};
pub(crate) use self::watch::watch;
use crate::broker::plugins::{PluginManager, PluginPlan, PreparedPlugins};
use crate::broker::topic_logic::TopicLogic;
use crate::broker::{Broker, PluginStatus, ReloadError};
use crate::config::PluginConfig;
use crate::plugin::{Commitment, Done, FailureReport, Manifest, PluginHealth};

/// A plugin that could not be loaded.
#[derive(Clone, Debug)]
struct MissingPlugin {
    reason: String,
    grants: Vec<String>,
    time_ms: u64,
}

type ByName = BTreeMap<Arc<str>, Arc<PluginHandle>>;

/// The plugins of a broker, by name.
pub(crate) struct TopicPlugins {
    by_name: ArcSwap<ByName>,
    /// Those that could not be loaded when the broker started, and why.
    missing: Mutex<BTreeMap<String, MissingPlugin>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Keeps the engine's watchdog alive as long as hooks can run.
    loader: Loader,
    /// Those that are part of the program.
    natives: BTreeMap<String, NativePlugin>,
    /// Those of which an older version runs than the configuration in force wants.
    outdated: Mutex<BTreeSet<String>>,
    /// Whether the plugins are stopped.
    stopped: AtomicBool,
    /// Dropped with the broker, which ends the watch over files.
    _ended: SyncSender<()>,
}

impl TopicPlugins {
    /// Loads and starts all configured plugins. `ended` is dropped with them.
    ///
    /// # Errors
    /// [`LoadFailure`] for the first required one that does not run; then none does.
    pub(crate) fn start(
        natives: BTreeMap<String, NativePlugin>,
        with: Loading,
        ended: SyncSender<()>,
    ) -> Result<Self, LoadFailure> {
        let mut plugins = with.config.load().plugins.clone();
        for name in natives.keys() {
            plugins.entry(name.clone()).or_default();
        }
        let topic_plugins = Self {
            by_name: ArcSwap::default(),
            missing: Mutex::default(),
            threads: Mutex::default(),
            loader: Loader::new(with),
            natives,
            outdated: Mutex::default(),
            stopped: AtomicBool::new(false),
            _ended: ended,
        };
        let started = topic_plugins.start_all(&plugins);
        if started.is_err() {
            topic_plugins.stop();
        }
        started.map(|()| topic_plugins)
    }

    fn start_all(&self, plugins: &BTreeMap<String, PluginConfig>) -> Result<(), LoadFailure> {
        for (name, plugin) in plugins {
            match self.loader.start(name, self.natives.get(name).cloned(), plugin) {
                Ok((handle, thread)) => self.add(handle, thread),
                // What is part of the program is as much required as the rest of it.
                Err(failure) if plugin.required || self.natives.contains_key(name) => return Err(failure),
                Err(failure) => {
                    let reason = failure.to_string();
                    tracing::error!(plugin = name, reason, "a plugin was not loaded; the broker serves without it");
                    self.note_missing(name, plugin, reason);
                }
            }
        }
        Ok(())
    }

    fn note_missing(&self, name: &str, plugin: &PluginConfig, reason: String) {
        let (grants, time_ms) = (plugin.grants.clone(), self.loader.with.clock.unix_ms());
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.insert(name.to_owned(), MissingPlugin { reason, grants, time_ms });
    }

    /// Adds a plugin that runs.
    fn add(&self, handle: Arc<PluginHandle>, thread: JoinHandle<()>) {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).remove(&**handle.name());
        self.by_name.rcu(|by_name| {
            let mut by_name = ByName::clone(by_name);
            by_name.insert(Arc::clone(handle.name()), Arc::clone(&handle));
            by_name
        });
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        // The broker may have been stopped meanwhile: then nothing else stops this plugin.
        if self.stopped.load(SeqCst) {
            handle.stop();
        }
    }

    /// Ends a plugin that runs, after the events that wait for it.
    fn remove(&self, name: &str) {
        let removed = self.get(name);
        self.by_name.rcu(|by_name| {
            let mut by_name = ByName::clone(by_name);
            by_name.remove(name);
            by_name
        });
        removed.into_iter().for_each(|handle| handle.finish());
    }

    fn get(&self, name: &str) -> Option<Arc<PluginHandle>> {
        self.by_name.load().get(name).cloned()
    }
}

impl MissingPlugin {
    fn status(self, name: String) -> PluginStatus {
        let Self { reason, grants, time_ms } = self;
        let failure = FailureReport { hook: "start".to_owned(), topic: None, text: reason, time_ms };
        PluginStatus {
            name,
            package: String::new(),
            version: String::new(),
            hash: String::new(),
            bytes: 0,
            needs: Vec::new(),
            grants,
            serves: Vec::new(),
            health: PluginHealth::NotLoaded,
            instances: 0,
            timers: 0,
            hooks: 0,
            failures: 0,
            last_failure: Some(failure),
            waiting: 0,
            state_bytes: 0,
        }
    }
}

impl PluginManager for TopicPlugins {
    fn logic(&self, name: &str) -> Option<Arc<dyn TopicLogic>> {
        self.get(name).map(|plugin| plugin as Arc<dyn TopicLogic>)
    }

    fn is_native(&self, name: &str) -> bool {
        self.natives.contains_key(name)
    }

    fn natives(&self) -> Vec<&str> {
        self.natives.keys().map(String::as_str).collect()
    }

    fn status(&self, broker: &Broker) -> Vec<PluginStatus> {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let missing = missing.into_iter().map(|(name, missing)| missing.status(name));
        let mut all: Vec<_> = self.by_name.load().values().map(|plugin| plugin.status(broker)).chain(missing).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    fn prepare<'p>(&'p self, plan: &PluginPlan<'_>) -> Result<Box<dyn PreparedPlugins + 'p>, ReloadError> {
        Ok(Box::new(self.prepare_change(plan)?))
    }

    fn signal_stop(&self) {
        self.stopped.store(true, SeqCst);
        for plugin in self.by_name.load().values() {
            plugin.stop();
        }
    }

    fn stop(&self) {
        self.signal_stop();
        for thread in std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner)) {
            if thread.join().is_err() {
                tracing::error!("a plugin's thread panicked");
            }
        }
    }
}

impl fmt::Debug for TopicPlugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_name.load().keys()).finish()
    }
}

/// Commits the effects of a timer's hook.
fn commit_timer(broker: Broker, plugin: Arc<PluginHandle>, done: Done) -> Commitment {
    let Done { effects, generation, .. } = done;
    let transaction = Transaction::new(broker, plugin, None, generation, PluginReply::Timer);
    transaction.commit(PrimaryEffect::None, Vec::new(), effects)
}

/// The manifest and grants of the version that runs.
#[derive(Clone, Debug)]
pub(crate) struct RunningVersion {
    pub(crate) manifest: Manifest,
    pub(crate) grants: Vec<String>,
}
