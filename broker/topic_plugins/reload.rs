//! Reload: replaces the version of a plugin between two events; sockets, subscriptions, state and timers stay. All versions that a
//! configuration needs are started first, and take over together or not at all.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use super::loading::{LoadFailure, failure, running};
use super::{PluginHandle, RunningVersion, TopicPlugins};
use crate::broker::ReloadError;
use crate::broker::plugins::{PluginPlan, PreparedPlugins};
use crate::config::PluginConfig;
use crate::file_version::FileVersion;
use crate::plugin::{Failed, PendingReplacement, Replacement, ThreadEnded};
use crate::topic::is_invisible;

/// A change of plugins of which everything has started, and nothing serves yet. Dropping it changes nothing.
pub(super) struct PreparedChange<'p> {
    plugins: &'p TopicPlugins,
    added: Vec<(Arc<PluginHandle>, JoinHandle<()>)>,
    replaced: Vec<ReadyReplacement>,
    removed: Vec<String>,
    /// Those that do not start and that the broker goes on without.
    failed: Vec<(String, PluginConfig, String)>,
}

/// A new version of a plugin that waits for the decision whether it takes over.
struct ReadyReplacement {
    handle: Arc<PluginHandle>,
    pending: PendingReplacement,
    running: RunningVersion,
    mailbox: usize,
    path: String,
}

impl TopicPlugins {
    /// Starts what another configuration needs.
    ///
    /// # Errors
    /// [`ReloadError`] when a plugin does not start that is required, or that was named; then everything goes on as it was.
    pub(super) fn prepare_change(&self, plan: &PluginPlan<'_>) -> Result<PreparedChange<'_>, ReloadError> {
        if let Some(name) = plan.named {
            self.check_named(plan, name)?;
        }
        let (added, replaced, failed) = (Vec::new(), Vec::new(), Vec::new());
        let by_name = self.by_name.load();
        let is_gone = |name: &&Arc<str>| !plan.wanted.contains_key(&***name) && !self.natives.contains_key(&***name);
        let removed = by_name.keys().filter(is_gone).map(ToString::to_string).collect();
        let mut change = PreparedChange { plugins: self, added, replaced, removed, failed };
        for (name, plugin) in plan.wanted.iter().filter(|(name, _)| !self.natives.contains_key(*name)) {
            if !self.is_due(plan, name, plugin) {
                continue;
            }
            let Err(error) = change.prepare(name, plugin) else { continue };
            self.note_outdated(name);
            self.loader.with.metrics.plugin_reload_errors.add(1);
            tracing::error!(plugin = name, %error, "a plugin was not loaded; what ran goes on");
            match error {
                ReloadError::Refused(reason) if !plugin.required && plan.named != Some(name.as_str()) => {
                    change.failed.push((name.clone(), plugin.clone(), reason));
                }
                error => return Err(error),
            }
        }
        Ok(change)
    }

    /// Loads a plugin again at the next reload: what was read of it last is not what runs.
    fn note_outdated(&self, name: &str) {
        self.outdated.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    fn check_named(&self, plan: &PluginPlan<'_>, name: &str) -> Result<(), ReloadError> {
        if self.natives.contains_key(name) {
            return Err(fixed(name, "is part of this program"));
        }
        match (self.get(name), plan.wanted.contains_key(name)) {
            (_, true) => Ok(()),
            (Some(_), false) => Err(fixed(name, "is gone from the configuration: reload that to end it")),
            // An unknown name is the caller's mistake: it is returned, and not logged.
            (None, false) => Err(ReloadError::Unknown(shown(name))),
        }
    }

    /// Whether a plugin is to be loaded: it does not run as it should, its table or its file has changed, or it was named.
    fn is_due(&self, plan: &PluginPlan<'_>, name: &str, plugin: &PluginConfig) -> bool {
        let Some(handle) = self.get(name) else { return true };
        plan.named == Some(name)
            || plan.running.get(name) != Some(plugin)
            || handle.status.is_down()
            || self.outdated.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
            || self.loader.last_read(name) != FileVersion::of(&plugin.path)
    }
}

impl PreparedChange<'_> {
    fn prepare(&mut self, name: &str, plugin: &PluginConfig) -> Result<(), ReloadError> {
        let Some(handle) = self.plugins.get(name) else {
            self.added.push(self.plugins.loader.start(name, None, plugin).map_err(refused)?);
            return Ok(());
        };
        let version = self.plugins.loader.version(name, plugin).map_err(refused)?;
        let (running, mailbox) = (running(&version, plugin), version.limits.mailbox);
        let (replacement, pending) = Replacement::new(version);
        handle.replace(replacement);
        let path = plugin.path.display().to_string();
        match pending.started() {
            Ok(Ok(())) => {
                self.replaced.push(ReadyReplacement { handle, pending, running, mailbox, path });
                Ok(())
            }
            Ok(Err(failed)) => Err(refused(not_started(name, &path, &failed))),
            // Its thread has ended, and with it the broker ends.
            Err(ThreadEnded) => Err(ReloadError::Stopping),
        }
    }
}

impl PreparedPlugins for PreparedChange<'_> {
    fn add_new(&mut self) {
        for (handle, thread) in self.added.drain(..) {
            let name = handle.name().to_string();
            note_loaded(self.plugins, &name, &handle);
            self.plugins.add(handle, thread);
        }
        for (name, plugin, reason) in self.failed.iter().filter(|(name, ..)| self.plugins.get(name).is_none()) {
            self.plugins.note_missing(name, plugin, reason.clone());
        }
    }

    fn complete(mut self: Box<Self>) -> Vec<(String, String)> {
        let plugins = self.plugins;
        let mut failed: Vec<(String, String)> = self.failed.drain(..).map(|(name, _, reason)| (name, reason)).collect();
        for ReadyReplacement { handle, pending, running, mailbox, path } in self.replaced.drain(..) {
            let name = handle.name().to_string();
            match pending.take_over() {
                Ok(Ok(())) => {
                    handle.set_running(running);
                    handle.mailbox.set_bound(mailbox);
                    note_loaded(plugins, &name, &handle);
                }
                // What its start has written cannot be kept.
                Ok(Err(error)) => failed.push((name.clone(), not_started(&name, &path, &error).to_string())),
                Err(ThreadEnded) => failed.push((name, ReloadError::Stopping.to_string())),
            }
        }
        let removed = std::mem::take(&mut self.removed);
        removed.iter().for_each(|name| plugins.remove(name));
        let mut missing = plugins.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let config = plugins.loader.with.config.load();
        missing.retain(|name, _| config.plugins.contains_key(name));
        drop(missing);
        let outdated: BTreeSet<String> = failed.iter().map(|(name, _)| name.clone()).collect();
        *plugins.outdated.lock().unwrap_or_else(PoisonError::into_inner) = outdated;
        failed
    }
}

impl Drop for PreparedChange<'_> {
    fn drop(&mut self) {
        for ReadyReplacement { handle, .. } in self.replaced.drain(..) {
            self.plugins.note_outdated(handle.name());
        }
        // What has started and is not wanted after all.
        for (handle, thread) in self.added.drain(..) {
            handle.stop();
            if thread.join().is_err() {
                tracing::error!("a plugin's thread panicked");
            }
        }
    }
}

fn note_loaded(plugins: &TopicPlugins, name: &str, handle: &PluginHandle) {
    let RunningVersion { manifest, .. } = handle.running();
    plugins.loader.with.metrics.plugin_reloads.add(1);
    tracing::info!(plugin = name, version = manifest.version, hash = manifest.hash, "plugin loaded");
}

fn not_started(name: &str, path: &str, failed: &Failed) -> LoadFailure {
    failure(name, path, format!("cannot start: {failed}"))
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
