//! Loads the components of plugins. A build without the WebAssembly engine (Cargo feature `plugins`) refuses each.

#[cfg(feature = "plugins")]
use std::collections::BTreeMap;
#[cfg(feature = "plugins")]
use std::fs::File;
#[cfg(feature = "plugins")]
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "plugins")]
use std::sync::{Mutex, OnceLock, PoisonError};

use rialto_plugin::host::Capabilities;
#[cfg(feature = "plugins")]
use rustix::process::{Resource, getrlimit};

#[cfg(feature = "plugins")]
use super::loading::grants;
use super::loading::{LoadFailure, failure};
#[cfg(feature = "plugins")]
use crate::config::Isolation;
use crate::config::{PluginConfig, Sandbox};
#[cfg(feature = "plugins")]
use crate::plugin::{Compiler, Host, MemoryReservation};
use crate::plugin::{Manifest, Source};

/// A component that is ready to be started.
pub(super) struct LoadedComponent {
    pub(super) source: Arc<dyn Source>,
    pub(super) manifest: Manifest,
    /// Its capabilities: all that it needs, which was granted.
    pub(super) may: Capabilities,
}

/// Loads components with few engines, each made when the first component needs it: those with equal reservations of memory
/// share one.
#[cfg(feature = "plugins")]
pub(super) struct ComponentLoader {
    sandbox: Sandbox,
    /// The program that compiles; none compiles in this process.
    program: Option<PathBuf>,
    /// Opened when it is needed, with its cache.
    compiler: OnceLock<Arc<Compiler>>,
    hosts: Mutex<BTreeMap<MemoryReservation, Arc<Host>>>,
}

/// Loads no components.
#[cfg(not(feature = "plugins"))]
pub(super) struct ComponentLoader;

#[cfg(feature = "plugins")]
impl ComponentLoader {
    pub(super) fn new(sandbox: &Sandbox, program: Option<PathBuf>) -> Self {
        Self { sandbox: sandbox.clone(), program, compiler: OnceLock::new(), hosts: Mutex::default() }
    }

    /// Loads the component of a plugin, compiled on so many threads. Nothing of it is run.
    ///
    /// # Errors
    /// [`LoadFailure`] says what is wrong with it.
    pub(super) fn load(
        &self,
        name: &str,
        plugin: &PluginConfig,
        threads: usize,
    ) -> Result<LoadedComponent, LoadFailure> {
        let failed = |reason: String| failure(name, &plugin.path.display().to_string(), reason);
        let wasm = read(plugin).map_err(failed)?;
        let grants = grants(plugin).map_err(failed)?;
        let loaded =
            self.host(plugin)?.load(&wasm, name, &grants, threads).map_err(|error| failed(error.to_string()))?;
        Ok(LoadedComponent { source: Arc::new(loaded.sandbox), manifest: loaded.manifest, may: loaded.may })
    }

    fn host(&self, plugin: &PluginConfig) -> Result<Arc<Host>, LoadFailure> {
        let reservation = reservation(plugin);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(&reservation) {
            return Ok(Arc::clone(host));
        }
        let compiler = self.compiler.get_or_init(|| Arc::new(Compiler::new(&self.sandbox, self.program.clone())));
        let made = Host::new(Arc::clone(compiler), reservation);
        let made = Arc::new(made.map_err(|error| LoadFailure::Sandbox(error.to_string()))?);
        hosts.insert(reservation, Arc::clone(&made));
        Ok(made)
    }
}

/// The address space for each memory of a plugin: what it needs where there may be many or address space is limited. With
/// all that it could have, JSON is parsed a seventh faster, because no access is checked.
#[cfg(feature = "plugins")]
fn reservation(plugin: &PluginConfig) -> MemoryReservation {
    let is_limited = getrlimit(Resource::As).current.is_some();
    match plugin.isolation {
        Isolation::Plugin if !is_limited => MemoryReservation::WHOLE,
        _ => MemoryReservation::for_memory(plugin.memory_bytes),
    }
}

#[cfg(not(feature = "plugins"))]
impl ComponentLoader {
    pub(super) fn new(_: &Sandbox, _: Option<PathBuf>) -> Self {
        Self
    }

    /// # Errors
    /// Always: this build cannot run a component.
    pub(super) fn load(&self, name: &str, plugin: &PluginConfig, _: usize) -> Result<LoadedComponent, LoadFailure> {
        let reason = "this build of Rialto has no plugins (Cargo feature `plugins`)".to_owned();
        Err(failure(name, &plugin.path.display().to_string(), reason))
    }
}

/// The file of a plugin, unless it is too large.
#[cfg(feature = "plugins")]
fn read(plugin: &PluginConfig) -> Result<Vec<u8>, String> {
    let bytes_max = plugin.component_bytes;
    let mut wasm = Vec::new();
    let file = File::open(&plugin.path).map_err(|error| error.to_string())?;
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut wasm).map_err(|error| error.to_string())?;
    if wasm.len() as u64 > bytes_max {
        return Err(format!("more than component_bytes allows ({bytes_max} bytes)"));
    }
    Ok(wasm)
}
