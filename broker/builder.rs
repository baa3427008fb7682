//! Builds a broker from its configuration: the only place that names concrete engines and stores.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use crate::broker::{Broker, Core};
use crate::clock::Clock;
use crate::config::{Config, Limits, PluginConfig, Rules};
use crate::directory::Directory;
use crate::endpoints::Endpoints;
use crate::engine::Engine;
use crate::guest::Seats;
use crate::hub::{Hub, HubLimits};
use crate::identity;
use crate::metrics::Metrics;
use crate::owners::Owners;
use crate::store::{MemoryStore, Store};
use crate::usher::Usher;

/// The least time between two walks over all topics because room was wanted.
const WISH_PAUSE: Duration = Duration::from_millis(100);

/// The longest time between two walks over what is kept, to give up what has become too old.
const SWEEP: Duration = Duration::from_secs(5);

/// Collects what a broker needs and starts it.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    config: Config,
    #[cfg(feature = "plugins")]
    natives: BTreeMap<String, NativePlugin>,
}

/// A plugin that is part of the program.
#[cfg(feature = "plugins")]
#[derive(Clone)]
struct NativePlugin {
    source: Arc<dyn crate::plugin::Source>,
    manifest: crate::plugin::Manifest,
}

#[cfg(feature = "plugins")]
impl std::fmt::Debug for NativePlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.manifest.name)
    }
}

/// Why a broker did not start. Nothing of it runs then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The operating system gave no thread or no event queue.
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

    /// Registers a plugin that is part of this program: the same source as a component's, run without a sandbox, for code that
    /// you trust, for debuggers and profilers. Give it topics by a rule with this name; a `[plugin.NAME]` of the
    /// configuration holds its settings and limits, of which those of memory, stack and time do not apply. It may do
    /// whatever is granted. A panic in it is a failure like a component's trap, unless the program is built to abort.
    #[cfg(feature = "plugins")]
    #[must_use]
    pub fn plugin<P: rialto_plugin::Plugin + Send>(mut self, name: impl Into<String>, plugin: P) -> Self {
        let manifest = crate::plugin::Native::<P>::manifest();
        let native = NativePlugin { source: Arc::new(crate::plugin::Native::new(plugin)), manifest };
        self.natives.insert(name.into(), native);
        self
    }

    /// Starts the broker's threads and loads its plugins.
    ///
    /// # Errors
    /// [`StartError`] for the first thing that fails.
    pub fn start(self) -> Result<Broker, StartError> {
        let Config { server, limits, topics, plugins, endpoints, .. } = self.config;
        let metrics = Arc::new(Metrics::default());
        let shards = match server.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        };
        let rules = Rules::new(&topics);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(limits.history_bytes, Arc::clone(&metrics)));
        let clock = Clock::default();
        let late = Arc::new(OnceLock::new());
        let plugins = Wanted {
            configured: plugins,
            #[cfg(feature = "plugins")]
            natives: self.natives,
        };
        let owners = owners(plugins, &rules, (&store, clock), &metrics, &late)?;
        let hub = Hub::spawn(hub_limits(shards, &limits), &metrics).map_err(StartError::Thread)?;
        let (room_wanted, wishes) = sync_channel(1);
        let (patterns, counts) = (Arc::clone(hub.patterns()), Arc::clone(&metrics));
        let directory = Directory::new(rules, &limits, shards, patterns, counts, room_wanted);
        let idle = Duration::from_millis(limits.topic_idle_ms);
        let usher = Usher::spawn(&hub, clock).map_err(StartError::Thread)?;
        let core = Core {
            usher,
            seats: Seats::new(&limits),
            limits,
            hub,
            metrics,
            clock,
            node: identity::node(),
            engine: Engine::Local(Arc::clone(&store)),
            store,
            directory,
            owners,
            endpoints: Endpoints::new(endpoints.into_iter().map(|endpoint| (endpoint.path, endpoint.plugin))),
            next_shard: 0.into(),
        };
        let core = Arc::new(core);
        // Timers that were kept may be due already; until now nobody could do what their hooks want.
        let _ = late.set(Arc::downgrade(&core));
        keep(Arc::downgrade(&core), idle, wishes).map_err(StartError::Thread)?;
        Ok(Broker { core })
    }
}

fn hub_limits(shards: usize, limits: &Limits) -> HubLimits {
    HubLimits {
        shards,
        inbox_messages: limits.inbox_messages,
        outbox_bytes: limits.outbox_bytes,
        outboxes_bytes: limits.outboxes_bytes,
        ping: Duration::from_millis(limits.ping_ms),
        pong: Duration::from_millis(limits.pong_ms),
        frame: Duration::from_millis(limits.frame_ms),
        write: Duration::from_millis(limits.write_ms),
        close: Duration::from_millis(limits.close_ms),
        message_bytes: limits.message_bytes,
        fragments: limits.fragments,
        control_frames_per_s: limits.control_frames_per_s,
        patterns: limits.patterns,
    }
}

/// Forgets idle topics and what has become too old from time to time, and all that nobody needs when room is wanted; on a thread of its own because
/// it walks all of them. It ends with the broker.
fn keep(core: Weak<Core>, idle: Duration, wishes: Receiver<()>) -> io::Result<()> {
    let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
    let work = move || {
        loop {
            let unused_ms = match wishes.recv_timeout((idle / 2).min(SWEEP)) {
                Ok(()) => 0,
                Err(RecvTimeoutError::Timeout) => idle_ms,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let Some(core) = core.upgrade() else { return };
            core.store.forget_old(core.clock.monotonic_ms());
            core.directory.forget_idle(unused_ms);
            if unused_ms == 0 {
                // However many are turned away, walking all topics must not become all that is done: each walk holds up
                // whoever looks one up.
                drop(core);
                std::thread::sleep(WISH_PAUSE);
            }
        }
    };
    std::thread::Builder::new().name("rialto-keeper".to_owned()).spawn(work)?;
    Ok(())
}

/// The plugins to be.
struct Wanted {
    configured: BTreeMap<String, PluginConfig>,
    #[cfg(feature = "plugins")]
    natives: BTreeMap<String, NativePlugin>,
}

/// The broker, once there is one.
type Late = Arc<OnceLock<Weak<Core>>>;

#[cfg(feature = "plugins")]
fn owners(
    wanted: Wanted,
    rules: &Rules,
    (store, clock): (&Arc<dyn Store>, Clock),
    metrics: &Arc<Metrics>,
    late: &Late,
) -> Result<Owners, StartError> {
    use crate::owners::{Owner, Running, settle_alone};
    use crate::plugin::{Books, Host, Standing, Surroundings, spawn};

    let Wanted { configured, mut natives } = wanted;
    let mut all = configured;
    for name in natives.keys() {
        all.entry(name.clone()).or_default();
    }
    let is_foreign = all.keys().any(|name| !natives.contains_key(name));
    let host = is_foreign.then(Host::new).transpose().map_err(|error| StartError::Sandbox(error.to_string()))?;
    let mut loaded = Vec::new();
    for (name, plugin) in all {
        let native = natives.remove(&name);
        let path = match native {
            Some(_) => "part of this program".to_owned(),
            None => plugin.path.display().to_string(),
        };
        let failed = |reason: String| StartError::Plugin { name: name.clone(), path: path.clone(), reason };
        let (version, grants) = version(host.as_ref(), native, &plugin).map_err(failed)?;
        let running = Running { manifest: version.manifest.clone(), grants };
        let (key, books, standing): (Arc<str>, Arc<Books>, Arc<Standing>) =
            (name.as_str().into(), Arc::default(), Arc::default());
        let (own_rules, own_name, own_late) = (rules.clone(), Arc::clone(&key), Arc::clone(late));
        let (alone_name, alone_late) = (Arc::clone(&key), own_late);
        let around = Surroundings {
            name: Arc::clone(&key),
            owns: Arc::new(move |topic| {
                own_rules.options(topic).is_some_and(|options| options.plugin.as_ref() == Some(&own_name))
            }),
            store: Arc::clone(store),
            metrics: Arc::clone(metrics),
            clock,
            books: Arc::clone(&books),
            standing: Arc::clone(&standing),
            alone: Arc::new(move |done| match alone_late.get().and_then(Weak::upgrade) {
                Some(core) => settle_alone(&Broker { core }, &alone_name, done),
                None => false,
            }),
        };
        let (mailbox, thread) = spawn(version, around).map_err(|error| failed(error.to_string()))?;
        loaded.push((Owner::new(key, mailbox, books, standing, running), thread));
    }
    let owners = Owners::new(host);
    for (owner, thread) in loaded {
        owners.add(owner, thread);
    }
    Ok(owners)
}

/// Loads the component of a plugin with its settings. Gives what is granted, too.
#[cfg(feature = "plugins")]
fn version(
    host: Option<&crate::plugin::Host>,
    native: Option<NativePlugin>,
    plugin: &PluginConfig,
) -> Result<(crate::plugin::Version, Vec<String>), String> {
    use crate::capability::{Capabilities, Capability};
    use crate::plugin::{FailurePolicy, Isolation, Version};

    let read = |words: &[String]| -> Result<Vec<Capability>, String> {
        words.iter().map(|word| Capability::parse(word).map_err(|error| error.to_string())).collect()
    };
    let grants = read(&plugin.grants)?;
    let (source, manifest, needs) = match (native, host) {
        (Some(NativePlugin { source, manifest }), _) => (source, manifest, grants.clone()),
        (None, Some(host)) => {
            let component = component(host, plugin)?;
            let needs = read(&component.manifest.needs)?;
            (Arc::new(component.sandbox) as Arc<_>, component.manifest, needs)
        }
        (None, None) => return Err("there is no sandbox".to_owned()),
    };
    let may = Capabilities::of(&needs, &grants).map_err(|need| {
        format!("it needs the capability `{need}`, which is not granted: add \"{need}\" to `grants` of its table")
    })?;
    let is_isolated = plugin.isolation == crate::config::Isolation::Topic;
    let milliseconds = Duration::from_millis;
    let version = Version {
        source,
        manifest,
        config: plugin.config.to_string(),
        limits: plugin_limits(plugin),
        may: Arc::new(may),
        failures: FailurePolicy {
            failures: plugin.failures,
            within: milliseconds(plugin.failures_ms),
            quarantine: (plugin.quarantine_ms > 0).then(|| milliseconds(plugin.quarantine_ms)),
        },
        isolation: is_isolated
            .then(|| Isolation { instances: plugin.instances, idle: milliseconds(plugin.instance_idle_ms) }),
    };
    Ok((version, plugin.grants.clone()))
}

#[cfg(feature = "plugins")]
fn component(host: &crate::plugin::Host, plugin: &PluginConfig) -> Result<crate::plugin::Loaded, String> {
    let wasm = std::fs::read(&plugin.path).map_err(|error| error.to_string())?;
    if wasm.len() as u64 > plugin.component_bytes {
        return Err(format!("{} bytes, at most {} are allowed", wasm.len(), plugin.component_bytes));
    }
    host.load(&wasm).map_err(|error| error.to_string())
}

#[cfg(feature = "plugins")]
fn plugin_limits(plugin: &PluginConfig) -> crate::plugin::PluginLimits {
    crate::plugin::PluginLimits {
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

#[cfg(not(feature = "plugins"))]
fn owners(
    wanted: Wanted,
    _: &Rules,
    _: (&Arc<dyn Store>, Clock),
    _: &Arc<Metrics>,
    _: &Late,
) -> Result<Owners, StartError> {
    match wanted.configured.into_iter().next() {
        None => Ok(Owners),
        Some((name, plugin)) => Err(StartError::Plugin {
            name,
            path: plugin.path.display().to_string(),
            reason: "this build of Rialto has no plugins (Cargo feature `plugins`)".to_owned(),
        }),
    }
}
