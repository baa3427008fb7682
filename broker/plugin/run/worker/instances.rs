//! The instances of a plugin: starts them, saves the recording of one that failed, bounds their number and drops idle ones.

use std::sync::Arc;
use std::time::Instant;

use rialto_plugin::host::HookContext;
use rialto_plugin::recording::Header;

use super::Worker;
use crate::clock::Now;
use crate::plugin::record::recorder::Recorder;
use crate::plugin::run::health::Restart;
use crate::plugin::run::hook_context::{HookHost, InstanceEnv};
use crate::plugin::run::instance::{RunningInstance, Start};
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

/// A running instance with its recorder, if the plugin is recorded.
pub(super) struct RecordedInstance {
    pub(super) running: Box<dyn RunningInstance>,
    pub(super) recorder: Option<Recorder>,
}

impl Worker {
    pub(super) fn ready(&mut self, place: &Option<Topic>) -> Result<(), Failed> {
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
    pub(super) fn begin(&self, version: &Version, topic: Option<&Topic>) -> Result<RecordedInstance, Failed> {
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
        Ok(RecordedInstance { running, recorder })
    }

    /// Writes what a copy did that has failed, where that is on tape.
    pub(super) fn save(&self, recorder: Option<Recorder>, now: Now) {
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

    pub(super) fn take_in(&mut self, place: Option<Topic>, running: RecordedInstance) {
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

    pub(super) fn drop_idle(&mut self) {
        let Some(isolation) = self.version.isolation else { return };
        let before = self.instances.len();
        self.instances.retain(|place, instance| place.is_none() || instance.used.elapsed() < isolation.idle);
        if self.instances.len() != before {
            self.show();
        }
    }

    /// Starts the plugin again when its time has come: while it is down, perhaps nobody asks it for anything.
    pub(super) fn recover(&mut self) {
        if self.around.status.is_down() && self.recovers_at().is_some_and(|at| at <= Instant::now()) {
            if let Err(failed) = self.ready(&None) {
                tracing::error!(plugin = &*self.around.name, error = %failed, "the plugin is still down");
            }
            self.show();
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
