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
use super::run::bindings::{v1_0, v1_1};
use super::run::deadline::DeadlineClock;
use super::run::hooks::World;
use super::run::imports::GuestData;
use super::run::sandbox::Sandbox;
use super::{Compiler, LoadError, Manifest, Protocol};

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
    linkers: Linkers,
    deadlines: Arc<DeadlineClock>,
    compiler: Arc<Compiler>,
}

/// What components of each version of the protocol may import.
struct Linkers {
    v1_0: Linker<GuestData>,
    v1_1: Linker<GuestData>,
}

impl Linkers {
    fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let (mut v1_0, mut v1_1) = (Linker::new(engine), Linker::new(engine));
        v1_0::Plugin::add_to_linker::<_, HasSelf<_>>(&mut v1_0, |guest: &mut GuestData| guest)?;
        v1_1::Plugin::add_to_linker::<_, HasSelf<_>>(&mut v1_1, |guest: &mut GuestData| guest)?;
        Ok(Self { v1_0, v1_1 })
    }

    fn of(&self, protocol: Protocol) -> &Linker<GuestData> {
        match protocol {
            Protocol::V1_0 => &self.v1_0,
            Protocol::V1_1 => &self.v1_1,
        }
    }
}

impl Host {
    /// Starts the engine and the thread that enforces deadlines. Memories of its plugins can grow to what is reserved.
    ///
    /// # Errors
    /// When this machine cannot run WebAssembly, or no thread can be started.
    pub(crate) fn new(compiler: Arc<Compiler>, reservation: MemoryReservation) -> Result<Self, LoadError> {
        let system = |error: &dyn fmt::Display| LoadError::System(format!("no WebAssembly engine: {error}"));
        let engine = engine_settings::engine(reservation).map_err(|error| system(&error))?;
        let linkers = Linkers::new(&engine).map_err(|error| system(&error))?;
        let deadlines = DeadlineClock::spawn(&engine).map_err(|error| system(&error))?;
        Ok(Self { engine, reservation, linkers, deadlines, compiler })
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
        let protocol = shape.check()?;
        let manifest = Manifest::read(wasm, &shape);
        manifest.check_protocol(protocol)?;
        let may = manifest.check(name, grants)?;
        let component = self.compiler.component((&self.engine, self.reservation), wasm, &manifest.hash, threads)?;
        let misfit = |error: wasmtime::Error| LoadError::world(protocol, &error);
        let component_with_imports = self.linkers.of(protocol).instantiate_pre(&component).map_err(misfit)?;
        self::type_check::check(&self.engine, &component, protocol).map_err(misfit)?;
        let world = World::new(protocol, component_with_imports).map_err(misfit)?;
        let sandbox = Sandbox::new(world, Arc::clone(&self.deadlines));
        Ok(Loaded { manifest, may, sandbox })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.deadlines.stop();
    }
}
