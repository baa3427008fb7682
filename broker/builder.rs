//! Builds a broker from its configuration: the only place that names concrete engines and stores.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::auth::Authenticator;
use crate::authorizer::{Authorize, Authorizer, Program};
use crate::broker::{Broker, Core, SetLogLevel};
use crate::clock::{Clock, ManualClock};
use crate::config::{Config, CurrentConfig, Problems};
use crate::engine::Engine;
use crate::hub::{Hub, HubLimits};
use crate::identity;
use crate::limits::request_rates::SharedRates;
use crate::limits::seats::SessionLimits;
use crate::metrics::Metrics;
use crate::plugin::Native;
use crate::shares::Shares;
use crate::store::{MemoryStore, Store};
use crate::supervision::keep_working;
use crate::topic_plugins::{LoadFailure, Loading, NativePlugin, TopicPlugins, watch};
use crate::topics::TopicRegistry;
use crate::topics::presence_timer::PresenceTimer;

/// The least time between two walks over all topics that requests for room caused.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// The longest time between two walks over the store that remove expired messages and keys.
const SWEEP: Duration = Duration::from_secs(5);

/// The features in `welcome`; the first one depends on the build.
const FEATURES: &[&str] =
    &["plugins", "delivery", "recovery", "history", "keys", "instances", "patterns", "presence", "tokens"];

/// Collects what a broker needs and starts it.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    config: Config,
    config_file: Option<PathBuf>,
    compiler: Option<PathBuf>,
    usual_cache: Option<PathBuf>,
    set_log_level: Option<SetLogLevel>,
    natives: BTreeMap<String, NativePlugin>,
    clock: Option<ManualClock>,
    program: Option<Program>,
    runtime: Option<Handle>,
    #[cfg(test)]
    store: Option<Arc<dyn Store>>,
}

/// Why a broker did not start. Nothing of it runs then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is not what a file could have: every problem, without lines.
    #[error("{0}")]
    Configuration(Problems),
    /// The operating system refused a thread or an event queue.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The sandbox for plugins cannot run on this machine.
    #[error("{0}")]
    Sandbox(String),
    /// A plugin cannot be loaded or does not start.
    #[error("plugin \"{name}\" ({path}): {reason}")]
    Plugin {
        /// The plugin's name in the configuration.
        name: String,
        /// Its component.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no tokio runtime for [`Builder::authorize`] to decide on.
    #[error("`authorize` needs a tokio runtime: start the broker within one, or name it by `runtime`")]
    NoRuntime,
}

impl From<LoadFailure> for StartError {
    fn from(failure: LoadFailure) -> Self {
        match failure {
            LoadFailure::Sandbox(reason) => Self::Sandbox(reason),
            LoadFailure::Plugin { name, path, reason } => Self::Plugin { name, path, reason },
        }
    }
}

impl Broker {
    /// Begins to build a broker.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Uses this configuration instead of the default one, which has one open topic rule and no plugin. Of
    /// [`Config::server`] only `shards` matters here; the rest is for [`Server::bind`](crate::Server::bind), and [`Config::tls`] is for
    /// [`Server::with_tls`](crate::Server::with_tls).
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Registers a native plugin: the same source as a component's, run without a sandbox, for code that you trust, for
    /// debuggers and profilers. Give it topics by a rule with this name; a `[plugin.NAME]` of the configuration holds its
    /// settings and limits, of which those of memory, stack and time do not apply. It has all capabilities that are granted.
    /// A panic in it is a failure like a component's trap, unless the program is built to abort.
    ///
    /// `factory` makes every instance: the first, those of single topics, and the one that replaces an instance after a panic.
    /// So each has the fields that you set; for a plugin that derives `Default` it is `Type::default`. A panic in the factory
    /// is a start that failed.
    #[must_use]
    pub fn plugin<P: rialto_plugin::Plugin + Send>(
        mut self,
        name: impl Into<String>,
        factory: impl Fn() -> P + Send + Sync + 'static,
    ) -> Self {
        let native = NativePlugin { source: Arc::new(Native::new(factory)), manifest: Native::<P>::manifest() };
        self.natives.insert(name.into(), native);
        self
    }

    /// Has plugins compiled by this `rialto` binary, in a process of its own with the limits of
    /// [`Config::sandbox`]. It must be of the same version as this library.
    ///
    /// Without it a thread of this process compiles: a hostile component can then take any memory of this process while
    /// it is compiled, and where compiling takes longer than `compile_ms` the start fails but the thread goes on until it
    /// has finished.
    #[must_use]
    pub fn compiler(mut self, program: impl Into<PathBuf>) -> Self {
        self.compiler = Some(program.into());
        self
    }

    /// Reads this configuration file again at each reload. Without it [`Broker::reload`](crate::Broker::reload) is given another
    /// configuration, and a reload of a plugin keeps the one in force.
    #[must_use]
    pub fn config_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.config_file = Some(file.into());
        self
    }

    /// Keeps compiled plugins here where the configuration names no folder.
    #[cfg(feature = "cli")]
    pub(crate) fn usual_cache(mut self, folder: Option<PathBuf>) -> Self {
        self.usual_cache = folder;
        self
    }

    /// Calls this with another log level when a reload changes that.
    #[cfg(feature = "cli")]
    pub(crate) fn on_log_level(mut self, set: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.set_log_level = Some(SetLogLevel(Arc::new(set)));
        self
    }

    /// Goes by this clock, which stands still until it is advanced: for tests.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rialto::{Broker, ManualClock, Payload};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let clock = ManualClock::new(1_800_000_000_000);
    /// let broker = Broker::builder().clock(clock.clone()).start()?;
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// clock.advance(Duration::from_secs(60));
    /// let position = broker.publish("prices", Payload::json(&42)?).await?;
    /// # assert!(position.is_some());
    /// # broker.shutdown(Duration::ZERO).await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Has this decide who may connect, and what sessions may do, besides the topic rules: both must allow it. See
    /// [`Authorize`].
    ///
    /// It decides on the tokio runtime within which [`Builder::start`] is called, or on that of [`Builder::runtime`]. That
    /// runtime has to run: while nothing drives it, requests are refused.
    #[must_use]
    pub fn authorize(mut self, authorize: impl Authorize) -> Self {
        self.program = Some(Program::new(authorize));
        self
    }

    /// Has [`Builder::authorize`] decide on this runtime.
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Keeps everything in this store.
    #[cfg(test)]
    pub(crate) fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Checks the configuration, starts the broker's threads and loads its plugins.
    ///
    /// # Errors
    /// [`StartError`] for the first thing that fails.
    pub fn start(self) -> Result<Broker, StartError> {
        // Autobahn sends messages of 16 MiB in a quarter of a million fragments, and fuzzing finds the edges of small limits.
        if !cfg!(feature = "fuzzing") {
            self.config.check(self.natives.keys().map(String::as_str)).map_err(StartError::Configuration)?;
        }
        let features = features(!self.natives.is_empty());
        let config = Arc::new(CurrentConfig::new(self.config));
        let initial = config.get();
        let metrics = Arc::new(Metrics::default());
        let authorizer = match self.program {
            Some(program) => {
                let runtime = self.runtime.or_else(|| Handle::try_current().ok()).ok_or(StartError::NoRuntime)?;
                Some(Arc::new(Authorizer::new(program, runtime, Arc::clone(&metrics))))
            }
            None => None,
        };
        let shards = match initial.server.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        };
        let bytes_max = initial.limits.history_bytes;
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(bytes_max, Arc::clone(&metrics)));
        #[cfg(test)]
        let store = self.store.unwrap_or(store);
        let clock = self.clock.map_or_else(Clock::default, Clock::Manual);
        let late = Arc::new(OnceLock::new());
        // A file that is read again may say so later.
        let may_watch = self.config_file.is_some() || initial.plugins.values().any(|plugin| plugin.watch);
        let loading = Loading {
            sandbox: initial.sandbox.clone(),
            compiler: self.compiler,
            config: Arc::clone(&config),
            store: Arc::clone(&store),
            metrics: Arc::clone(&metrics),
            clock: clock.clone(),
            late: Arc::clone(&late),
        };
        let (ended, when_ended) = sync_channel(0);
        let plugins = Arc::new(TopicPlugins::start(self.natives, loading, ended)?);
        let watched = Arc::downgrade(&plugins);
        let hub = Hub::spawn(HubLimits::of(shards, &initial.limits), &metrics).map_err(StartError::Thread)?;
        let (room_wanted, room_requests) = sync_channel(1);
        let topics = TopicRegistry::new(Arc::clone(&config), hub.clone(), Arc::clone(&metrics), room_wanted);
        let presence_timer =
            PresenceTimer::spawn(&hub, clock.clone(), Arc::clone(&metrics)).map_err(StartError::Thread)?;
        let core = Core {
            presence_timer,
            auth: Authenticator::new(initial.auth.as_ref(), Arc::clone(&metrics)),
            authorizer,
            session_limits: SessionLimits::default(),
            rates: SharedRates::default(),
            key_shares: Arc::new(Shares::new(initial.limits.keys_bytes)),
            config,
            config_file: self.config_file,
            usual_cache: self.usual_cache,
            set_log_level: self.set_log_level,
            reloading: Mutex::default(),
            hub,
            metrics,
            clock,
            node: identity::node(),
            features,
            engine: Engine::Local(Arc::clone(&store)),
            store,
            topics,
            plugins,
            next_shard: 0.into(),
            is_stopping: false.into(),
        };
        let core = Arc::new(core);
        // Stored timers may be due already; until now the effects of their hooks could not be committed.
        let _ = late.set(Arc::downgrade(&core));
        spawn_keeper(Arc::downgrade(&core), room_requests).map_err(StartError::Thread)?;
        if may_watch {
            watch(Arc::downgrade(&core), watched, when_ended).map_err(StartError::Thread)?;
        }
        Ok(Broker { core })
    }
}

/// What a client can use here. Without the sandbox there are native plugins at most.
fn features(has_natives: bool) -> &'static [&'static str] {
    match cfg!(feature = "plugins") || has_natives {
        true => FEATURES,
        false => &FEATURES[1..],
    }
}

/// Removes idle topics, expired messages and expired keys from time to time, and all unused topics when room is requested;
/// on a thread of its own because it walks all of them. It ends with the broker.
fn spawn_keeper(core: Weak<Core>, room_requests: Receiver<()>) -> io::Result<()> {
    let shared = core.upgrade().map(|core| (Arc::clone(&core.metrics), Arc::clone(&core.config)));
    let Some((metrics, config)) = shared else { return Ok(()) };
    let work = move || {
        keep_working("rialto-keeper", &metrics, || {
            loop {
                let idle_ms = config.load().limits.topic_idle_ms;
                let unused_ms = match room_requests.recv_timeout(Duration::from_millis(idle_ms / 2).min(SWEEP)) {
                    Ok(()) => 0,
                    Err(RecvTimeoutError::Timeout) => idle_ms,
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                let Some(core) = core.upgrade() else { return };
                core.store.forget_old(core.clock.now());
                core.topics.forget_idle(unused_ms);
                core.auth.follow_keys(config.load().auth.as_ref());
                if unused_ms == 0 {
                    // However many requests are refused, walks must not follow each other at once: each holds up the
                    // requests that look up a topic.
                    drop(core);
                    std::thread::sleep(ROOM_PAUSE);
                }
            }
        });
    };
    std::thread::Builder::new().name("rialto-keeper".to_owned()).spawn(work)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_are_those_of_the_build() {
        assert_eq!(features(false).contains(&"plugins"), cfg!(feature = "plugins"));
        assert_eq!(features(true), FEATURES);
        assert_eq!((FEATURES[0], features(false).contains(&"delivery")), ("plugins", true));
    }

    #[test]
    fn a_program_that_decides_needs_a_runtime() {
        struct Silent;
        impl Authorize for Silent {}
        let builder = || Broker::builder().authorize(Silent);
        assert!(matches!(builder().start(), Err(StartError::NoRuntime)));
        assert!(Broker::builder().start().is_ok(), "nobody else does");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert!(builder().runtime(runtime.handle().clone()).start().is_ok());
        assert!(runtime.block_on(async { builder().start() }).is_ok());
    }

    #[test]
    fn a_configuration_that_no_file_could_have_does_not_start() {
        let mut config = Config::default();
        config.limits.ping_ms = 0;
        config.server.shards = 1_000;
        let Err(StartError::Configuration(problems)) = Broker::builder().config(config).start() else {
            panic!("it started");
        };
        let found: Vec<_> = problems.iter().map(|problem| (problem.title(), problem.line())).collect();
        let expected = ["`shards` must be 0 to 256", "`ping_ms` must be 10 to 3_600_000 milliseconds"];
        assert_eq!(found, expected.map(|title| (title, None)));
        let text = StartError::Configuration(problems).to_string();
        assert!(text.ends_with("2 problems in the configuration of this program"), "{text}");
    }
}
