//! The thread of a plugin: takes events in their order and calls the hook of the instance that each is for. The effects of a
//! hook are committed by others.

mod instances;
mod timers;

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::instances::InstanceSlot;
use super::health::{FailurePolicy, Health};
use super::hook_context::Owns;
use super::instance::into_done;
use super::mailbox::{Commitment, HookRequest, Job, Jobs, Mailbox, Work};
use super::registry::PluginRegistry;
use super::state::Generation;
use super::status::{FailureReport, PluginHealth, Status};
use super::version::{Replacement, Version};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::plugin::{Done, Event, Failed, HookError};
use crate::store::{Batch, Begun, Store, StoreError};
use crate::supervision::keep_working;
use crate::topic::Topic;

/// How often the hook for the end of a subscription or connection is called when it fails.
const ENDINGS_TRIED: usize = 3;

/// How long a hook waits for a log that takes no commits, and how often it asks.
const LOG_WAIT: Duration = Duration::from_millis(100);
const LOG_RETRY: Duration = Duration::from_millis(5);

/// How often the worker looks for idle instances.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// More than twice the stack that a guest may use.
const THREAD_STACK_BYTES: usize = 2 * 1024 * 1024;

/// Commits the effects of a timer's hook.
pub(crate) type CommitTimer = Arc<dyn Fn(Done) -> Commitment + Send + Sync>;

/// What a plugin keeps across its versions: its name, store, registry and status.
pub(crate) struct Surroundings {
    pub(crate) name: Arc<str>,
    pub(crate) owns: Owns,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    pub(crate) registry: Arc<PluginRegistry>,
    pub(crate) status: Arc<Status>,
    pub(crate) commit_timer: CommitTimer,
    /// The folder for recordings.
    pub(crate) recordings: PathBuf,
}

/// Runs the hooks of one plugin, on the plugin's thread.
pub(crate) struct Worker {
    around: Surroundings,
    version: Version,
    /// The instance for the whole plugin (no topic), and those of single topics.
    instances: HashMap<Option<Topic>, InstanceSlot>,
    health: Health,
    /// The generation of the state that the timers in memory belong to.
    generation: Generation,
}

/// Why a plugin was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    /// Its `start` failed.
    #[error("cannot start: {0}")]
    Start(Failed),
    /// The operating system refused a thread.
    #[error("no thread for plugin \"{plugin}\": {error}")]
    Thread { plugin: Arc<str>, error: io::Error },
}

/// Starts a plugin on a thread of its own. `start` of the plugin has returned `ok` when this returns.
///
/// # Errors
/// [`SpawnError`] says why it was not started.
pub(crate) fn spawn(version: Version, around: Surroundings) -> Result<(Mailbox, JoinHandle<()>), SpawnError> {
    let (mailbox, jobs) = Mailbox::new(version.limits.mailbox);
    let plugin = Arc::clone(&around.name);
    let worker = Worker::start(version, around).map_err(SpawnError::Start)?;
    let thread = std::thread::Builder::new()
        .name(format!("plugin-{plugin}"))
        .stack_size(THREAD_STACK_BYTES)
        .spawn(move || worker.work(&jobs))
        .map_err(|error| SpawnError::Thread { plugin, error })?;
    Ok((mailbox, thread))
}

impl Worker {
    /// A worker whose plugin's `start` has returned `ok`.
    ///
    /// # Errors
    /// Why the plugin did not start.
    pub(in crate::plugin) fn start(version: Version, around: Surroundings) -> Result<Self, Failed> {
        let kept = around.store.timers(&around.name).map_err(|error| Failed::Start(error.to_string()))?;
        around.registry.open().restore(kept, around.clock.now());
        let (instances, health, generation) = (HashMap::new(), Health::default(), Generation::default());
        let mut worker = Self { around, version, instances, health, generation };
        let running = worker.begin(&worker.version, None)?;
        worker.insert(None, running);
        worker.count_timers(0);
        Ok(worker)
    }

    /// Runs until the mailbox is stopped or has no sender left. A panic of the host costs the request that was under way;
    /// what instances remember may be half done, so they are started anew.
    pub(in crate::plugin) fn work(mut self, jobs: &Jobs) {
        let (metrics, thread) = (Arc::clone(&self.around.metrics), format!("plugin-{}", self.around.name));
        let mut is_first = true;
        keep_working(&thread, &metrics, || {
            if !std::mem::take(&mut is_first) {
                self.instances.clear();
            }
            self.run(jobs);
        });
    }

    fn run(&mut self, jobs: &Jobs) {
        loop {
            self.fire();
            match jobs.next(self.idle_for()) {
                Work::Job(Job { event, mut request, .. }) => {
                    // The request's key is looked up in what is decided.
                    let outcome = match self.follow_log() {
                        Err(error) => Err(HookError::Storage(error)),
                        Ok(()) if request.is_new() => self.handle(&event),
                        Ok(()) => Err(HookError::NotCalled),
                    };
                    self.finish(&event, outcome, request);
                }
                Work::Replace(replacement) => self.replace(*replacement),
                Work::Nothing => {}
                Work::End => return self.around.registry.state().wait_until_idle(),
            }
            self.recover();
            self.drop_idle();
        }
    }

    /// Replaces the version between two events, if it starts and is wanted then. All instances are started anew; sessions, state
    /// and timers stay.
    fn replace(&mut self, replacement: Replacement) {
        let Replacement { version, started, decision, replaced } = replacement;
        let instance = self.follow_log().map_err(|error| Failed::Start(error.to_string()));
        let instance = match instance.and_then(|()| self.start_instance(&version, None)) {
            Ok(instance) => instance,
            // Who waited may have gone.
            Err(failed) => return drop(started.send(Err(failed))),
        };
        if started.send(Ok(())).is_err() || !decision.recv().unwrap_or(false) {
            return;
        }
        let kept = self.keep_started(instance, None).map(|running| {
            self.version = version;
            self.instances.clear();
            self.health.heal();
            self.insert(None, running);
            self.update_status();
        });
        drop(replaced.send(kept));
    }

    /// Completes one event: records the session, commits the effects and sends the reply, then applies the timers.
    fn finish(&mut self, event: &Event, mut outcome: Result<Done, HookError>, request: Box<dyn HookRequest>) {
        let timers = outcome.as_ref().ok().map(|done| done.effects.timers());
        let mut has_joined = false;
        if let Ok(done) = &mut outcome {
            // Recorded before the session receives its reply, so that its next request finds it known.
            has_joined = self.enter(event);
            done.joined = has_joined;
        }
        match request.complete(outcome) {
            Commitment::Kept | Commitment::Pending => {
                timers.into_iter().for_each(|(namespace, timers)| self.apply_timers(&namespace, timers));
            }
            Commitment::NotKept if has_joined => self.leave(event),
            Commitment::NotKept => {}
        }
    }

    /// Records a session that joins. Returns whether it is a member only since now.
    fn enter(&self, event: &Event) -> bool {
        let mut registry = self.around.registry.open();
        match event {
            Event::Subscribe { session, topic } => {
                let is_new = !registry.is_on(topic, &session.id);
                registry.enter(topic, session);
                is_new
            }
            Event::Connect { session, endpoint } => {
                registry.connect(endpoint, &session.id);
                true
            }
            _ => false,
        }
    }

    fn leave(&self, event: &Event) {
        let mut registry = self.around.registry.open();
        match event {
            Event::Subscribe { session, topic } => registry.leave(topic, &session.id),
            Event::Connect { session, endpoint } => registry.disconnect(endpoint, &session.id),
            _ => false,
        };
    }

    fn handle(&mut self, event: &Event) -> Result<Done, HookError> {
        let registry = Arc::clone(&self.around.registry);
        let generation = registry.state().generation();
        let is_known = match event {
            Event::Subscribe { session, topic } => !registry.open().is_on(topic, &session.id),
            Event::Unsubscribe { session, topic } => registry.end(topic, &session.id),
            Event::Disconnect { session, endpoint } => registry.open().disconnect(endpoint, &session.id),
            // A session that was refused may still have messages in the mailbox.
            Event::Message { session, .. } => registry.open().is_raw(&session.id),
            Event::Authenticated { session, .. } => registry.open().end_authentication(&session.id),
            _ => true,
        };
        if !is_known {
            return Ok(Done::nothing(self.namespace(None), generation));
        }
        let mut outcome = self.attempt(event);
        if matches!(event, Event::Unsubscribe { .. } | Event::Disconnect { .. }) {
            for _ in 1..ENDINGS_TRIED {
                if !matches!(outcome, Err(HookError::Failed(_))) {
                    break;
                }
                outcome = self.attempt(event);
            }
        }
        outcome
    }

    /// Calls the hook once. Logs a failure with all that is known, and drops the instance if it may be broken.
    fn attempt(&mut self, event: &Event) -> Result<Done, HookError> {
        self.around.registry.state().wait_for_room();
        self.around.metrics.plugin_hooks.add(1);
        self.around.status.hooks.fetch_add(1, Relaxed);
        let instance = self.instance_of(event);
        let mut outcome = match self.ready(&instance) {
            Ok(()) => self.call(&instance, event),
            Err(failed) => Err(HookError::Failed(failed)),
        };
        // A hook that could not read its state has decided without it.
        if let Some(error) = self.around.registry.state().take_failure() {
            outcome = Err(HookError::Storage(error));
        }
        if let Err(HookError::Failed(failed)) = &outcome {
            self.report_failure(event, failed);
        }
        outcome
    }

    fn report_failure(&mut self, event: &Event, failed: &Failed) {
        self.around.metrics.plugin_failures.add(1);
        let topic = event.topic().map(Topic::as_str);
        // The text comes from the guest: quoted, so that it cannot forge lines.
        let error = failed.to_string();
        let (plugin, hook) = (&*self.around.name, event.hook());
        if let Some(left_out) = self.around.status.log_pace.take((failed.kind(), hook), 1) {
            tracing::error!(plugin, hook, topic = topic.unwrap_or("-"), ?error, left_out, "plugin failed");
        }
        let (topic, time_ms) = (topic.map(str::to_owned), self.around.clock.unix_ms());
        self.around.status.note_failure(FailureReport { hook: hook.to_owned(), topic, text: error, time_ms });
        if failed.counts() && self.health.fail(&self.version.failures, Instant::now()) {
            let FailurePolicy { failures, within, quarantine } = self.version.failures;
            let (within_ms, until) = (within.as_millis(), quarantine.map_or(0, |quarantine| quarantine.as_millis()));
            tracing::error!(plugin, failures, within_ms, quarantine_ms = until, "plugin quarantined");
            self.instances.clear();
        }
        self.update_status();
    }

    fn call(&mut self, topic: &Option<Topic>, event: &Event) -> Result<Done, HookError> {
        let (now, generation) = (self.around.clock.now(), self.generation);
        let Some(instance) = self.instances.get_mut(topic) else {
            return Err(HookError::Failed(Failed::Start("no instance".to_owned())));
        };
        let Some(mut copy) = instance.running.take() else {
            return Err(HookError::Failed(Failed::Start("no instance".to_owned())));
        };
        instance.used = Instant::now();
        // A panic of the host itself must not end the plugin's thread.
        let called = catch_unwind(AssertUnwindSafe(|| {
            let answer = copy.running.call(event, now);
            if let Some(recorder) = &mut copy.recorder {
                recorder.called(event, now, &answer);
            }
            (answer.map(|answer| into_done(copy.running.host(), answer, generation)), copy)
        }));
        match called {
            Ok((Ok(outcome), copy)) => {
                instance.running = Some(copy);
                outcome
            }
            Ok((Err(failed), copy)) => {
                self.save(copy.recorder, now);
                Err(HookError::Failed(failed))
            }
            Err(_) => Err(HookError::Failed(Failed::Trap("the host panicked".to_owned()))),
        }
    }

    /// Goes back to what the store has kept, once writes that hooks could see were not: the timers are read again.
    ///
    /// # Errors
    /// As long as the log takes no commits: until then it is not known what it has kept.
    fn follow_log(&mut self) -> Result<(), StoreError> {
        let Surroundings { registry, store, clock, name, .. } = &self.around;
        let generation = registry.state().generation();
        if generation == self.generation {
            return Ok(());
        }
        let asked = Instant::now();
        while let Begun::Complete(Err(error)) = store.begin(Batch::at(clock.now())) {
            if asked.elapsed() >= LOG_WAIT {
                return Err(error);
            }
            std::thread::sleep(LOG_RETRY);
        }
        let kept = store.timers(name)?;
        let before = registry.timers();
        registry.open().reset_timers(kept, clock.now(), timers::POSTPONED_MS);
        self.generation = generation;
        self.count_timers(before);
        Ok(())
    }

    /// The instance that an event is for: that of its topic, or that of the whole plugin.
    fn instance_of(&self, event: &Event) -> Option<Topic> {
        self.version.isolation.and_then(|_| event.topic().cloned())
    }

    /// How long the thread may wait for work; none is for ever.
    fn idle_for(&self) -> Option<Duration> {
        let now_ms = self.around.clock.monotonic_ms();
        let timer = self
            .around
            .registry
            .open()
            .first_due_ms()
            .map(|due_ms| self.around.clock.wait(due_ms.saturating_sub(now_ms)));
        let idle = (self.version.isolation.is_some() && self.instances.len() > 1).then_some(IDLE_CHECK);
        let recovery = self.recovers_at().map(|at| at.saturating_duration_since(Instant::now()));
        timer.into_iter().chain(idle).chain(recovery).min()
    }

    fn namespace(&self, topic: Option<&Topic>) -> Arc<str> {
        match topic {
            None => Arc::clone(&self.around.name),
            Some(topic) => format!("{}/{topic}", self.around.name).into(),
        }
    }

    /// Updates the plugin's status and metrics.
    fn update_status(&mut self) {
        let is_down = |instance: &InstanceSlot| instance.running.is_none() && instance.restart.is_some();
        let health = if self.health.is_quarantined(Instant::now()) {
            PluginHealth::Quarantined
        } else if self.instances.get(&None).is_some_and(is_down) {
            PluginHealth::Restarting
        } else {
            PluginHealth::Running
        };
        let running = self.instances.values().filter(|instance| instance.running.is_some()).count();
        let before = self.around.status.instances.swap(running, Relaxed);
        self.around.metrics.plugin_instances.change(before, running);
        self.around.status.set_health(health);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.around.metrics.plugin_timers.change(self.around.registry.timers(), 0);
        self.around.metrics.plugin_instances.change(self.around.status.instances.swap(0, Relaxed), 0);
    }
}
