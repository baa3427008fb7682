//! The thread of a plugin: takes events in their order, calls the hooks of the instance that each is for, and begins anew
//! after a trap. What a hook wanted is done by others.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rialto_plugin::host::HookContext;
use rialto_plugin::recording::Header;

use super::health::{FailurePolicy, Health, Restart};
use super::hook_context::{HookHost, InstanceEnv, Owns};
use super::instance::{RunningInstance, Start, settle};
use super::mailbox::{Jobs, Mailbox, Work};
use super::registry::{PluginRegistry, TimerName};
use super::status::{FailureReport, PluginHealth, Status};
use crate::capability::Capabilities;
use crate::clock::{Clock, Now};
use crate::metrics::Metrics;
use crate::plugin::record::recorder::Recorder;
use crate::plugin::{Done, Event, Failed, HookEffects, HookError, Manifest, PluginLimits, Source};
use crate::store::{Batch, KeptTimer, Store, Writes};
use crate::topic::Topic;

/// How often the end of a subscription is told to a plugin that fails over it.
const ENDINGS_TRIED: usize = 3;

/// How long a timer waits whose plugin does not run.
const POSTPONED_MS: u64 = 1_000;

/// How often idle instances are looked for.
const IDLE_LOOK: Duration = Duration::from_secs(1);

/// More than twice what a guest may use.
const THREAD_STACK_BYTES: usize = 2 * 1024 * 1024;

/// Carries out what a timer's hook asked for. Whether it is committed.
pub(crate) type Alone = Arc<dyn Fn(Done) -> bool + Send + Sync>;

/// What a plugin has whichever version of it runs.
pub(crate) struct Surroundings {
    pub(crate) name: Arc<str>,
    pub(crate) owns: Owns,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    pub(crate) registry: Arc<PluginRegistry>,
    pub(crate) status: Arc<Status>,
    pub(crate) alone: Alone,
    /// The folder that recordings are written into.
    pub(crate) recordings: PathBuf,
}

/// One version of a plugin with its settings: what a reload replaces.
pub(crate) struct Version {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) manifest: Manifest,
    /// The plugin's table of the configuration, as JSON.
    pub(crate) config: String,
    pub(crate) limits: PluginLimits,
    pub(crate) may: Arc<Capabilities>,
    pub(crate) failures: FailurePolicy,
    /// Where each topic has an instance of its own.
    pub(crate) isolation: Option<Isolation>,
    /// How many events of each instance are kept to be replayed.
    pub(crate) record: usize,
    /// The component's file, for recordings.
    pub(crate) file: String,
}

/// Bounds of the instances of single topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isolation {
    pub(crate) instances: usize,
    pub(crate) idle: Duration,
}

/// Runs the hooks of one plugin, on the plugin's thread.
pub(crate) struct Worker {
    around: Surroundings,
    version: Version,
    /// The instance of the plugin, and those of its topics where these have their own.
    instances: HashMap<Option<Topic>, InstanceSlot>,
    health: Health,
}

struct InstanceSlot {
    running: Option<Copy>,
    restart: Option<Restart>,
    used: Instant,
}

/// A running copy, and what it does on tape where that is wanted.
struct Copy {
    running: Box<dyn RunningInstance>,
    recorder: Option<Recorder>,
}

/// Why a plugin does not run.
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
/// [`SpawnError`] says why it does not run.
pub(crate) fn spawn(version: Version, around: Surroundings) -> Result<(Mailbox, JoinHandle<()>), SpawnError> {
    let (mailbox, jobs) = Mailbox::new(version.limits.mailbox);
    let plugin = Arc::clone(&around.name);
    let worker = Worker::start(version, around).map_err(SpawnError::Start)?;
    let thread = std::thread::Builder::new()
        .name(format!("plugin-{plugin}"))
        .stack_size(THREAD_STACK_BYTES)
        .spawn(move || worker.run(&jobs))
        .map_err(|error| SpawnError::Thread { plugin, error })?;
    Ok((mailbox, thread))
}

impl Worker {
    /// A plugin whose `start` has returned `ok`.
    ///
    /// # Errors
    /// Why it does not start.
    pub(in crate::plugin) fn start(version: Version, around: Surroundings) -> Result<Self, Failed> {
        let kept = around.store.timers(&around.name).map_err(|error| Failed::Start(error.to_string()))?;
        around.registry.open().restore(kept, around.clock.now());
        let mut worker = Self { around, version, instances: HashMap::new(), health: Health::default() };
        let running = worker.begin(&worker.version, None)?;
        worker.take_in(None, running);
        worker.count_timers(0);
        Ok(worker)
    }

    /// Takes what comes until nobody can send anything any more.
    pub(in crate::plugin) fn run(mut self, jobs: &Jobs) {
        loop {
            self.fire();
            match jobs.next(self.patience()) {
                Work::Job(job) => {
                    let wanted = job.wanted.is_none_or(|wanted| wanted());
                    let outcome = if wanted { self.handle(&job.event) } else { Err(HookError::NotWanted) };
                    self.finish(&job.event, outcome, job.finish);
                }
                Work::Change(change) => change(&mut self),
                Work::Nothing => {}
                Work::End => return,
            }
            self.recover();
            self.drop_idle();
        }
    }

    /// Replaces the version between two events. All instances begin anew; sessions, state and timers stay.
    ///
    /// # Errors
    /// Why the new version does not start; the old one goes on.
    pub(crate) fn replace(&mut self, version: Version) -> Result<(), Failed> {
        let running = self.begin(&version, None)?;
        self.version = version;
        self.instances.clear();
        self.health.heal();
        self.take_in(None, running);
        self.show();
        Ok(())
    }

    /// Does one thing after another, each kept before the next.
    fn finish(&mut self, event: &Event, outcome: Result<Done, HookError>, finish: super::mailbox::Finish) {
        let timers = outcome.as_ref().ok().map(|done| done.wanted.timers());
        // Noted before the session hears of it, so that it finds itself known whatever it asks next.
        let was_in = outcome.is_err() || self.enter(event);
        let kept = finish(outcome);
        if kept {
            timers.into_iter().for_each(|(namespace, timers)| self.apply_timers(&namespace, timers));
        } else if !was_in {
            self.leave(event);
        }
    }

    /// Notes who has come. Whether it was there before, or the event is of another kind.
    fn enter(&self, event: &Event) -> bool {
        let mut registry = self.around.registry.open();
        match event {
            Event::Subscribe { session, topic } => {
                let was_in = registry.is_on(topic, &session.session);
                registry.enter(topic, session);
                was_in
            }
            Event::Connect { session, endpoint } => {
                registry.connect(endpoint, &session.session);
                false
            }
            _ => true,
        }
    }

    fn leave(&self, event: &Event) {
        let mut registry = self.around.registry.open();
        match event {
            Event::Subscribe { session, topic } => registry.leave(topic, &session.session),
            Event::Connect { session, endpoint } => registry.disconnect(endpoint, &session.session),
            _ => false,
        };
    }

    fn handle(&mut self, event: &Event) -> Result<Done, HookError> {
        let registry = Arc::clone(&self.around.registry);
        let is_known = match event {
            Event::Subscribe { session, topic } => !registry.open().is_on(topic, &session.session),
            Event::Unsubscribe { session, topic } => registry.open().leave(topic, &session.session),
            Event::Disconnect { session, endpoint } => registry.open().disconnect(endpoint, &session.session),
            // Of a session that was refused nothing more is heard.
            Event::Message { session, .. } => registry.open().is_raw(&session.session),
            _ => true,
        };
        if !is_known {
            return Ok(Done::nothing(self.namespace(None)));
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

    /// Calls the hook once. A failure is logged with all that is known, and the instance given up where it may be broken.
    fn attempt(&mut self, event: &Event) -> Result<Done, HookError> {
        self.around.metrics.plugin_hooks.add(1);
        self.around.status.hooks.fetch_add(1, Relaxed);
        let place = self.place(event);
        let outcome = match self.ready(&place) {
            Ok(()) => self.call(&place, event),
            Err(failed) => Err(HookError::Failed(failed)),
        };
        // A hook that could not read its state has decided on something else than what is there.
        let outcome = match self.around.registry.state().take_failure() {
            Some(error) => Err(HookError::Storage(error)),
            None => outcome,
        };
        if let Err(HookError::Failed(failed)) = &outcome {
            self.note(event, failed);
        }
        outcome
    }

    fn note(&mut self, event: &Event, failed: &Failed) {
        self.around.metrics.plugin_failures.add(1);
        let topic = event.topic().map(Topic::as_str);
        // The text comes from the guest: quoted, so that it cannot forge lines.
        let error = failed.to_string();
        let (plugin, hook) = (&*self.around.name, event.hook());
        tracing::error!(plugin, hook, topic = topic.unwrap_or("-"), ?error, "plugin failed");
        let (topic, time_ms) = (topic.map(str::to_owned), self.around.clock.unix_ms());
        self.around.status.note_failure(FailureReport { hook: hook.to_owned(), topic, text: error, time_ms });
        if failed.counts() && self.health.fail(&self.version.failures, Instant::now()) {
            let FailurePolicy { failures, within, quarantine } = self.version.failures;
            let (within_ms, until) = (within.as_millis(), quarantine.map_or(0, |quarantine| quarantine.as_millis()));
            tracing::error!(plugin, failures, within_ms, quarantine_ms = until, "plugin quarantined");
            self.instances.clear();
        }
        self.show();
    }

    fn call(&mut self, place: &Option<Topic>, event: &Event) -> Result<Done, HookError> {
        let now = self.around.clock.now();
        let Some(instance) = self.instances.get_mut(place) else {
            return Err(HookError::Failed(Failed::Start("no instance".to_owned())));
        };
        let Some(mut copy) = instance.running.take() else {
            return Err(HookError::Failed(Failed::Start("no instance".to_owned())));
        };
        instance.used = Instant::now();
        // A panic of the host itself must not take the plugin's thread away.
        let called = catch_unwind(AssertUnwindSafe(|| {
            let answer = copy.running.call(event, now);
            if let Some(recorder) = &mut copy.recorder {
                recorder.called(event, now, &answer);
            }
            (answer.map(|answer| settle(copy.running.host(), answer)), copy)
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

    /// Which instance an event is for.
    fn place(&self, event: &Event) -> Option<Topic> {
        self.version.isolation.and_then(|_| event.topic().cloned())
    }

    fn ready(&mut self, place: &Option<Topic>) -> Result<(), Failed> {
        let now = Instant::now();
        if self.health.is_quarantined(now) {
            return Err(Failed::Quarantined);
        }
        match self.instances.get(place) {
            Some(InstanceSlot { running: Some(_), .. }) => return Ok(()),
            Some(InstanceSlot { restart: Some(restart), .. }) if now < restart.at => {
                return Err(Failed::Start(restart.why.clone()));
            }
            _ => {}
        }
        match self.begin(&self.version, place.as_ref()) {
            Ok(running) => {
                self.make_room();
                self.take_in(place.clone(), running);
                self.show();
                Ok(())
            }
            Err(failed) => {
                let why = match failed {
                    Failed::Start(why) => why,
                    other => other.to_string(),
                };
                let last = self.instances.get(place).and_then(|instance| instance.restart.as_ref());
                let restart = Some(Restart::after(last, why.clone(), now));
                self.instances.insert(place.clone(), InstanceSlot { running: None, restart, used: now });
                Err(Failed::Start(why))
            }
        }
    }

    /// Starts an instance of a version. What `start` wants is kept before it counts as started.
    fn begin(&self, version: &Version, topic: Option<&Topic>) -> Result<Copy, Failed> {
        let around = &self.around;
        let environment = InstanceEnv {
            plugin: Arc::clone(&around.name),
            namespace: self.namespace(topic),
            owns: Arc::clone(&around.owns),
            may: Arc::clone(&version.may),
            registry: Arc::clone(&around.registry),
            limits: version.limits,
        };
        let now = around.clock.now();
        let start = Start { config: &version.config, topic };
        let context: Box<dyn HookHost> = Box::new(HookContext::new(environment));
        let (mut recorder, host) = match version.record {
            0 => (None, context),
            events => {
                let (recorder, host) = Recorder::new(events, context);
                (Some(recorder), host)
            }
        };
        let started = version.source.start(host, &start, version.limits, now);
        if let Some(recorder) = &mut recorder {
            let topic = topic.map(ToString::to_string);
            recorder.started(&version.config, topic, now, started.as_ref().map(|(_, serves)| serves));
        }
        let (running, serves) = match started {
            Ok(started) => started,
            Err(failed) => {
                self.save(recorder, now);
                return Err(failed);
            }
        };
        let HookEffects { writes, .. } = running.host().take();
        let (namespace, timers) = (Arc::clone(&writes.namespace), writes.timers.clone());
        let batch = Batch { state: Some(writes), ..Batch::at(now) };
        around.store.commit(batch).map_err(|error| Failed::Start(error.to_string()))?;
        self.apply_timers(&namespace, timers);
        if topic.is_none() {
            around.status.set_serves(serves);
        }
        Ok(Copy { running, recorder })
    }

    /// Writes what a copy did that has failed, where that is on tape.
    fn save(&self, recorder: Option<Recorder>, now: Now) {
        let Some(recorder) = recorder else { return };
        let Manifest { name, version, hash, .. } = self.version.manifest.clone();
        let (package, component) = (name, self.version.file.clone());
        let header = Header { package, version, hash, component, ..Header::new(&*self.around.name, false) };
        let plugin = &*self.around.name;
        match recorder.save(&self.around.recordings, header, now) {
            Ok(path) => tracing::error!(plugin, recording = %path.display(), "what led to this is recorded"),
            Err(error) => {
                let folder = self.around.recordings.display();
                tracing::error!(plugin, %folder, %error, "a recording cannot be written");
            }
        }
    }

    fn take_in(&mut self, place: Option<Topic>, running: Copy) {
        self.instances.insert(place, InstanceSlot { running: Some(running), restart: None, used: Instant::now() });
        self.show();
    }

    /// Lets the instance go that was used longest ago, where there are as many as may be. It is a cache.
    fn make_room(&mut self) {
        let Some(isolation) = self.version.isolation else { return };
        if self.instances.len() <= isolation.instances {
            return;
        }
        let oldest =
            self.instances.iter().filter(|(place, _)| place.is_some()).min_by_key(|(_, instance)| instance.used);
        if let Some(place) = oldest.map(|(place, _)| place.clone()) {
            self.instances.remove(&place);
        }
    }

    fn drop_idle(&mut self) {
        let Some(isolation) = self.version.isolation else { return };
        let before = self.instances.len();
        self.instances.retain(|place, instance| place.is_none() || instance.used.elapsed() < isolation.idle);
        if self.instances.len() != before {
            self.show();
        }
    }

    /// Starts the plugin again when its time has come: while it is down, perhaps nobody asks it for anything.
    fn recover(&mut self) {
        if self.around.status.is_down() && self.recovers_at().is_some_and(|at| at <= Instant::now()) {
            if let Err(failed) = self.ready(&None) {
                tracing::error!(plugin = &*self.around.name, error = %failed, "the plugin is still down");
            }
            self.show();
        }
    }

    /// When a plugin that is down is to be started again.
    fn recovers_at(&self) -> Option<Instant> {
        if !self.around.status.is_down() {
            return None;
        }
        if self.health.was_quarantined() {
            return self.health.ends();
        }
        self.instances.get(&None)?.restart.as_ref().map(|restart| restart.at)
    }

    /// Calls the hook of the timer that is due longest, if one is.
    fn fire(&mut self) {
        let now_ms = self.around.clock.monotonic_ms();
        let Some((name, timer)) = self.around.registry.open().due(now_ms) else { return };
        let topic = self.topic_of(&name.0);
        let event = Event::Timer { topic, name: name.1.clone(), payload: timer.payload };
        match self.attempt(&event) {
            Ok(done) => {
                let (namespace, timers) = done.wanted.timers();
                if (self.around.alone)(done) {
                    self.apply_timers(&namespace, timers);
                } else {
                    self.around.registry.open().postpone(&name, now_ms + POSTPONED_MS);
                }
            }
            Err(HookError::Failed(Failed::Start(_) | Failed::Quarantined) | HookError::Storage(_)) => {
                self.around.registry.open().postpone(&name, now_ms + POSTPONED_MS);
            }
            Err(_) => self.give_up(&name, now_ms),
        }
    }

    /// A timer's hook has failed: it is tried again, or gone.
    fn give_up(&mut self, name: &TimerName, now_ms: u64) {
        let before = self.around.registry.timers();
        if !self.around.registry.open().failed(name, now_ms) {
            return;
        }
        tracing::error!(plugin = &*self.around.name, timer = ?name.1, "a timer is given up after three failures");
        let timers = [(name.1.clone(), None)].into();
        let writes = Writes { namespace: Arc::clone(&name.0), values: Default::default(), timers };
        if let Err(error) =
            self.around.store.commit(Batch { state: Some(writes), ..Batch::at(self.around.clock.now()) })
        {
            tracing::error!(%error, "a timer that was given up is still kept");
        }
        self.count_timers(before);
    }

    fn apply_timers(&self, namespace: &Arc<str>, timers: std::collections::BTreeMap<String, Option<KeptTimer>>) {
        if timers.is_empty() {
            return;
        }
        let before = self.around.registry.timers();
        self.around.registry.open().apply(namespace, timers, self.around.clock.now());
        self.count_timers(before);
    }

    fn count_timers(&self, before: usize) {
        self.around.metrics.plugin_timers.change(before, self.around.registry.timers());
    }

    /// How long nothing has to be done if nothing comes; none is for ever.
    fn patience(&self) -> Option<Duration> {
        let now_ms = self.around.clock.monotonic_ms();
        let timer = self
            .around
            .registry
            .open()
            .first_due_ms()
            .map(|due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms)));
        let idle = (self.version.isolation.is_some() && self.instances.len() > 1).then_some(IDLE_LOOK);
        let recovery = self.recovers_at().map(|at| at.saturating_duration_since(Instant::now()));
        timer.into_iter().chain(idle).chain(recovery).min()
    }

    fn namespace(&self, topic: Option<&Topic>) -> Arc<str> {
        match topic {
            None => Arc::clone(&self.around.name),
            Some(topic) => format!("{}/{topic}", self.around.name).into(),
        }
    }

    fn topic_of(&self, namespace: &str) -> Option<Topic> {
        Topic::parse(namespace.strip_prefix(&*self.around.name)?.strip_prefix('/')?).ok()
    }

    /// Lets others see how the plugin is.
    fn show(&mut self) {
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
