//! The status of a plugin, which other threads read while the plugin's thread works.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::log_pace::LogPace;

/// The counters and the report that a plugin's thread updates.
#[derive(Debug, Default)]
pub(crate) struct Status {
    pub(in crate::plugin) hooks: AtomicU64,
    pub(in crate::plugin) failures: AtomicU64,
    pub(in crate::plugin) instances: AtomicUsize,
    pub(in crate::plugin) down: AtomicBool,
    report: Mutex<StatusReport>,
    /// How often the same is logged of this plugin.
    pub(crate) log_pace: LogPace,
}

/// The health of a plugin, and its last failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatusReport {
    pub(crate) health: PluginHealth,
    /// The topics that the plugin says it serves.
    pub(crate) serves: Vec<String>,
    pub(crate) last_failure: Option<FailureReport>,
}

/// The health of a plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PluginHealth {
    /// Its hooks are called.
    #[default]
    Running,
    /// It failed to restart after a failure; the start is retried soon.
    Restarting,
    /// It failed too often; no hook is called for a while or until a reload.
    Quarantined,
    /// It could not be loaded when the broker started; requests to its topics fail until a reload succeeds.
    NotLoaded,
}

/// A failure of a plugin, with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailureReport {
    /// The hook that failed.
    pub hook: String,
    /// The topic it was about.
    pub topic: Option<String>,
    /// What went wrong: kind, panic message, file and line.
    pub text: String,
    /// When, in Unix milliseconds.
    pub time_ms: u64,
}

impl PluginHealth {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Quarantined => "quarantined",
            Self::NotLoaded => "not_loaded",
        }
    }
}

impl Status {
    /// Whether hooks are not called now.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Relaxed)
    }

    pub(crate) fn hooks(&self) -> u64 {
        self.hooks.load(Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    pub(crate) fn instances(&self) -> usize {
        self.instances.load(Relaxed)
    }

    pub(crate) fn report(&self) -> StatusReport {
        self.open().clone()
    }

    pub(in crate::plugin) fn set_serves(&self, serves: Vec<String>) {
        self.open().serves = serves;
    }

    pub(in crate::plugin) fn set_health(&self, health: PluginHealth) {
        self.down.store(health != PluginHealth::Running, Relaxed);
        self.open().health = health;
    }

    pub(in crate::plugin) fn note_failure(&self, failure: FailureReport) {
        self.failures.fetch_add(1, Relaxed);
        self.open().last_failure = Some(failure);
    }

    fn open(&self) -> MutexGuard<'_, StatusReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
