//! Loads components: has them compiled and type-checks them against the plugin world.

pub(super) mod artifact;
pub(super) mod cache;
pub(super) mod compiler;
pub(super) mod component;
pub(super) mod engine_settings;
pub(super) mod error;
#[cfg(feature = "cli")]
pub(super) mod inspection;
pub(super) mod manifest;
pub(super) mod precompile;
pub(super) mod type_check;

use std::fmt;
use std::sync::Arc;

use rialto_plugin::host::{Capabilities, Capability};
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use self::component::ComponentShape;
use self::engine_settings::MemoryReservation;
use super::run::deadline::DeadlineClock;
use super::run::imports::GuestData;
use super::run::imports::bindings::{Plugin, PluginPre};
use super::run::sandbox::Sandbox;
use super::{Compiler, LoadError, Manifest};

/// A component that passed every check.
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    /// The capabilities that it needs, all of them granted.
    pub(crate) may: Capabilities,
    pub(crate) sandbox: Sandbox,
}

/// An engine, which all plugins share whose memories reserve the same.
pub(crate) struct Host {
    engine: Engine,
    reservation: MemoryReservation,
    linker: Linker<GuestData>,
    deadlines: Arc<DeadlineClock>,
    compiler: Arc<Compiler>,
}

impl Host {
    /// Starts the engine and the thread that enforces deadlines. Memories of its plugins can grow to what is reserved.
    ///
    /// # Errors
    /// When this machine cannot run WebAssembly, or no thread can be started.
    pub(crate) fn new(compiler: Arc<Compiler>, reservation: MemoryReservation) -> Result<Self, LoadError> {
        let system = |error: &dyn fmt::Display| LoadError::System(format!("no WebAssembly engine: {error}"));
        let engine = engine_settings::engine(reservation).map_err(|error| system(&error))?;
        let mut linker = Linker::new(&engine);
        Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest: &mut GuestData| guest)
            .map_err(|error| system(&error))?;
        let deadlines = DeadlineClock::spawn(&engine).map_err(|error| system(&error))?;
        Ok(Self { engine, reservation, linker, deadlines, compiler })
    }

    /// Compiles a component or core module on `threads` threads and checks its capabilities, imports and exports. None of
    /// its code runs.
    ///
    /// # Errors
    /// [`LoadError`] says what is wrong with it.
    pub(crate) fn load(
        &self,
        wasm: &[u8],
        name: &str,
        grants: &[Capability],
        threads: usize,
    ) -> Result<Loaded, LoadError> {
        let shape = ComponentShape::read(wasm)?;
        shape.check()?;
        let manifest = Manifest::read(wasm, &shape);
        let may = manifest.check(name, grants)?;
        let component = self.compiler.component((&self.engine, self.reservation), wasm, &manifest.hash, threads)?;
        let world = |error: wasmtime::Error| LoadError::world(&error);
        let pre = self.linker.instantiate_pre(&component).map_err(world)?;
        self::type_check::check(&self.engine, &component).map_err(world)?;
        let pre = PluginPre::new(pre).map_err(world)?;
        let sandbox = Sandbox::new(pre, Arc::clone(&self.deadlines));
        Ok(Loaded { manifest, may, sandbox })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.deadlines.stop();
    }
}
