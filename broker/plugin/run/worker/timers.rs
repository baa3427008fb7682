//! The timers of a plugin: calls the hooks of those that are due, retries those that fail, and removes them after the last try.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Worker;
use crate::plugin::run::mailbox::Commitment;
use crate::plugin::run::registry::TimerName;
use crate::plugin::{Event, Failed, HookError};
use crate::store::{Batch, KeptTimer, Writes};
use crate::topic::Topic;

/// How long a timer is delayed whose plugin does not run.
pub(super) const POSTPONED_MS: u64 = 1_000;

impl Worker {
    /// Calls the hook of the timer that has been due for the longest time, if one is due.
    pub(super) fn fire(&mut self) {
        if self.follow_log().is_err() {
            return;
        }
        let now_ms = self.around.clock.monotonic_ms();
        let Some((name, timer)) = self.around.registry.open().due(now_ms) else { return };
        let topic = self.topic_of(&name.0);
        let event = Event::Timer { topic, name: name.1.clone(), payload: timer.payload };
        match self.attempt(&event) {
            Ok(done) => {
                let (namespace, timers) = done.effects.timers();
                match (self.around.commit_timer)(done) {
                    Commitment::Kept | Commitment::Pending => self.apply_timers(&namespace, timers),
                    Commitment::NotKept => self.around.registry.open().postpone(&name, now_ms + POSTPONED_MS),
                }
            }
            Err(HookError::Failed(Failed::Start(_) | Failed::Quarantined) | HookError::Storage(_)) => {
                self.around.registry.open().postpone(&name, now_ms + POSTPONED_MS);
            }
            Err(_) => self.retry_or_remove(&name, now_ms),
        }
    }

    /// A timer's hook has failed: it is retried, or removed after the last try.
    fn retry_or_remove(&mut self, name: &TimerName, now_ms: u64) {
        let before = self.around.registry.timers();
        if !self.around.registry.open().failed(name, now_ms) {
            return;
        }
        tracing::error!(plugin = &*self.around.name, timer = ?name.1, "a timer is given up after three failures");
        let timers = [(name.1.clone(), None)].into();
        let writes = Writes { namespace: Arc::clone(&name.0), values: Default::default(), timers };
        let batch = Batch { state: Some(writes), ..Batch::at(self.around.clock.now()) };
        let registry = &self.around.registry;
        if let Err(error) = registry.commit(batch, registry.state().generation()) {
            tracing::error!(%error, "a timer that was given up is still kept");
        }
        self.count_timers(before);
    }

    pub(super) fn apply_timers(&self, namespace: &Arc<str>, timers: BTreeMap<String, Option<KeptTimer>>) {
        if timers.is_empty() {
            return;
        }
        let before = self.around.registry.timers();
        self.around.registry.open().apply(namespace, timers, self.around.clock.now());
        self.count_timers(before);
    }

    pub(super) fn count_timers(&self, before: usize) {
        self.around.metrics.plugin_timers.change(before, self.around.registry.timers());
    }

    fn topic_of(&self, namespace: &str) -> Option<Topic> {
        Topic::parse(namespace.strip_prefix(&*self.around.name)?.strip_prefix('/')?).ok()
    }
}
