//! The instances of a plugin: starts them, saves the recording of one that failed, bounds their number and drops idle ones.

use std::sync::Arc;
use std::time::Instant;

use rialto_plugin::host::HookContext;
use rialto_plugin::recording::Header;

use super::Worker;
use crate::clock::Now;
use crate::plugin::run::health::Restart;
use crate::plugin::run::hook_context::{HookHost, InstanceEnv};
use crate::plugin::run::instance::{RunningInstance, Start};
use crate::plugin::run::recorder::Recorder;
use crate::plugin::run::version::Version;
use crate::plugin::{Failed, HookEffects, Manifest};
use crate::store::Batch;
use crate::topic::Topic;

/// An instance of the plugin, or the time at which it is started again.
pub(super) struct InstanceSlot {
    pub(super) running: Option<RecordedInstance>,
    pub(super) restart: Option<Restart>,
    pub(super) used: Instant,
}

/// An instance whose `start` has returned `ok`; what it wrote is not kept yet.
pub(super) struct StartedInstance {
    instance: RecordedInstance,
    serves: Vec<String>,
}

/// A running instance with its recorder, if the plugin is recorded.
pub(super) struct RecordedInstance {
    pub(super) running: Box<dyn RunningInstance>,
    pub(super) recorder: Option<Recorder>,
}

impl Worker {
    /// Starts the instance of a topic, or of the whole plugin, unless it runs.
    ///
    /// # Errors
    /// Why it does not run now.
    pub(super) fn ready(&mut self, topic: &Option<Topic>) -> Result<(), Failed> {
        let now = Instant::now();
        if self.health.is_quarantined(now) {
            return Err(Failed::Quarantined);
        }
        match self.instances.get(topic) {
            Some(InstanceSlot { running: Some(_), .. }) => return Ok(()),
            Some(InstanceSlot { restart: Some(restart), .. }) if now < restart.at => {
                return Err(Failed::Start(restart.why.clone()));
            }
            _ => {}
        }
        match self.begin(&self.version, topic.as_ref()) {
            Ok(running) => {
                self.make_room();
                self.insert(topic.clone(), running);
                self.update_status();
                Ok(())
            }
            Err(failed) => {
                let why = match failed {
                    Failed::Start(why) => why,
                    other => other.to_string(),
                };
                let last = self.instances.get(topic).and_then(|instance| instance.restart.as_ref());
                let restart = Some(Restart::after(last, why.clone(), now));
                self.instances.insert(topic.clone(), InstanceSlot { running: None, restart, used: now });
                Err(Failed::Start(why))
            }
        }
    }

    /// Starts an instance of a version. The writes of `start` are committed before it counts as started.
    pub(super) fn begin(&self, version: &Version, topic: Option<&Topic>) -> Result<RecordedInstance, Failed> {
        self.keep_started(self.start_instance(version, topic)?, topic)
    }

    /// Starts an instance of a version. Nothing is committed yet.
    pub(super) fn start_instance(&self, version: &Version, topic: Option<&Topic>) -> Result<StartedInstance, Failed> {
        let around = &self.around;
        let environment = InstanceEnv {
            plugin: Arc::clone(&around.name),
            namespace: self.namespace(topic),
            owns: Arc::clone(&around.owns),
            may: Arc::clone(&version.may),
            registry: Arc::clone(&around.registry),
            status: Arc::clone(&around.status),
            limits: version.limits,
            protocol: version.source.protocol(),
        };
        let now = around.clock.now();
        let start = Start { config: &version.config, topic };
        let context: Box<dyn HookHost> = Box::new(HookContext::new(environment));
        let (mut recorder, host) = match version.record {
            0 => (None, context),
            events => {
                let (recorder, host) = Recorder::new(events, version.source.protocol(), context);
                (Some(recorder), host)
            }
        };
        let started = version.source.start(host, &start, version.limits, now);
        if let Some(recorder) = &mut recorder {
            let topic = topic.map(ToString::to_string);
            recorder.started(&version.config, topic, now, started.as_ref().map(|(_, serves)| serves));
        }
        match started {
            Ok((running, serves)) => Ok(StartedInstance { instance: RecordedInstance { running, recorder }, serves }),
            Err(failed) => {
                self.save(recorder, now);
                Err(failed)
            }
        }
    }

    /// Commits the writes of `start`.
    pub(super) fn keep_started(
        &self,
        started: StartedInstance,
        topic: Option<&Topic>,
    ) -> Result<RecordedInstance, Failed> {
        let StartedInstance { instance, serves } = started;
        let HookEffects { writes, .. } = instance.running.host().take();
        let (namespace, timers) = (Arc::clone(&writes.namespace), writes.timers.clone());
        let batch = Batch { state: Some(writes), ..Batch::at(self.around.clock.now()) };
        let kept = self.around.registry.commit(batch, self.generation);
        kept.map_err(|error| Failed::Start(error.to_string()))?;
        self.apply_timers(&namespace, timers);
        if topic.is_none() {
            self.around.status.set_serves(serves);
        }
        Ok(instance)
    }

    /// Saves the recording of an instance that has failed, if it is recorded.
    pub(super) fn save(&self, recorder: Option<Recorder>, now: Now) {
        let Some(recorder) = recorder else { return };
        let Manifest { name, version, hash, .. } = self.version.manifest.clone();
        let (package, component) = (name, self.version.file.clone());
        let header = Header { package, version, hash, component, ..Header::new(&*self.around.name, false) };
        let plugin = &*self.around.name;
        let saved = recorder.save(&self.around.recordings, header, now);
        if self.around.status.log_pace.take(("recorded", ""), 1).is_none() {
            return;
        }
        match saved {
            Ok(path) => tracing::error!(plugin, recording = %path.display(), "what led to this is recorded"),
            Err(error) => {
                let folder = self.around.recordings.display();
                tracing::error!(plugin, %folder, %error, "a recording cannot be written");
            }
        }
    }

    pub(super) fn insert(&mut self, topic: Option<Topic>, running: RecordedInstance) {
        self.instances.insert(topic, InstanceSlot { running: Some(running), restart: None, used: Instant::now() });
        self.update_status();
    }

    /// Drops the least recently used instance of a topic when there are more than the bound: instances are a cache.
    fn make_room(&mut self) {
        let Some(isolation) = self.version.isolation else { return };
        if self.instances.len() <= isolation.instances {
            return;
        }
        let oldest =
            self.instances.iter().filter(|(topic, _)| topic.is_some()).min_by_key(|(_, instance)| instance.used);
        if let Some(topic) = oldest.map(|(topic, _)| topic.clone()) {
            self.instances.remove(&topic);
        }
    }

    pub(super) fn drop_idle(&mut self) {
        let Some(isolation) = self.version.isolation else { return };
        let before = self.instances.len();
        self.instances.retain(|topic, instance| topic.is_none() || instance.used.elapsed() < isolation.idle);
        if self.instances.len() != before {
            self.update_status();
        }
    }

    /// Restarts a plugin that is down when its retry is due: while it is down, no request may arrive that would.
    pub(super) fn recover(&mut self) {
        if self.around.status.is_down() && self.recovers_at().is_some_and(|at| at <= Instant::now()) {
            if let Err(failed) = self.ready(&None) {
                tracing::error!(plugin = &*self.around.name, error = %failed, "the plugin is still down");
            }
            self.update_status();
        }
    }

    /// When a plugin that is down is to be started again.
    pub(super) fn recovers_at(&self) -> Option<Instant> {
        if !self.around.status.is_down() {
            return None;
        }
        if self.health.was_quarantined() {
            return self.health.ends();
        }
        self.instances.get(&None)?.restart.as_ref().map(|restart| restart.at)
    }
}
