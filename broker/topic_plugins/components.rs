//! Loads the components of plugins. A build without the WebAssembly engine (Cargo feature `plugins`) refuses each.

#[cfg(feature = "plugins")]
use std::fs::File;
#[cfg(feature = "plugins")]
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "plugins")]
use std::sync::{Mutex, PoisonError};

use rialto_plugin::host::Capabilities;

#[cfg(feature = "plugins")]
use super::loading::grants;
use super::loading::{LoadFailure, failure};
use crate::config::{PluginConfig, Sandbox};
#[cfg(feature = "plugins")]
use crate::plugin::{Compiler, Host};
use crate::plugin::{Manifest, Source};

/// A component that is ready to be started.
pub(super) struct LoadedComponent {
    pub(super) source: Arc<dyn Source>,
    pub(super) manifest: Manifest,
    /// Its capabilities: all that it needs, which was granted.
    pub(super) may: Capabilities,
}

/// Loads components with one engine, which is made when the first one needs it.
#[cfg(feature = "plugins")]
pub(super) struct ComponentLoader {
    sandbox: Sandbox,
    /// The program that compiles; none compiles in this process.
    compiler: Option<PathBuf>,
    host: Mutex<Option<Arc<Host>>>,
}

/// Loads no components.
#[cfg(not(feature = "plugins"))]
pub(super) struct ComponentLoader;

#[cfg(feature = "plugins")]
impl ComponentLoader {
    pub(super) fn new(sandbox: &Sandbox, compiler: Option<PathBuf>) -> Self {
        Self { sandbox: sandbox.clone(), compiler, host: Mutex::default() }
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
        let loaded = self.host()?.load(&wasm, name, &grants, threads).map_err(|error| failed(error.to_string()))?;
        Ok(LoadedComponent { source: Arc::new(loaded.sandbox), manifest: loaded.manifest, may: loaded.may })
    }

    fn host(&self) -> Result<Arc<Host>, LoadFailure> {
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = &*host {
            return Ok(Arc::clone(host));
        }
        let made = Host::new(Compiler::new(&self.sandbox, self.compiler.clone()));
        let made = Arc::new(made.map_err(|error| LoadFailure::Sandbox(error.to_string()))?);
        *host = Some(Arc::clone(&made));
        Ok(made)
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
