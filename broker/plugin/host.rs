//! The WebAssembly engine: compiles components, checks that they fit the plugin world and starts their threads.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

use wasmparser::Parser;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine, OptLevel};

use super::Manifest;
use super::imports::Guest;
use super::imports::bindings::{Plugin, PluginPre};
use super::mailbox::Mailbox;
use super::runner::{Runner, Surroundings, Version};
use super::sandbox::Sandbox;
use super::ticker::Ticker;

/// The stack a guest may use; the plugin's thread has more than twice as much.
const GUEST_STACK_BYTES: usize = 512 * 1024;
const THREAD_STACK_BYTES: usize = 2 * 1024 * 1024;

/// Why a component cannot be used. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The bytes are no component.
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// It is a component, but not for this host.
    #[error("does not fit the world rialto:plugin/plugin@1.0.0: {0}")]
    World(String),
    /// It could not be compiled.
    #[error("cannot be compiled: {0}")]
    Compile(String),
    /// The system did not give what is needed.
    #[error("{0}")]
    System(String),
}

/// A component that fits.
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    pub(crate) sandbox: Sandbox,
}

/// The engine that all plugins share.
pub(crate) struct Host {
    engine: Engine,
    linker: Linker<Guest>,
    ticker: Arc<Ticker>,
}

impl Host {
    /// Starts the engine and the thread that watches deadlines.
    ///
    /// # Errors
    /// When this machine cannot run WebAssembly, or gives no thread.
    pub(crate) fn new() -> Result<Self, LoadError> {
        let system = |error: &dyn fmt::Display| LoadError::System(format!("no WebAssembly engine: {error}"));
        let mut config = Config::new();
        config.epoch_interruption(true).max_wasm_stack(GUEST_STACK_BYTES).cranelift_opt_level(OptLevel::Speed);
        let engine = Engine::new(&config).map_err(|error| system(&error))?;
        let mut linker = Linker::new(&engine);
        Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest: &mut Guest| guest)
            .map_err(|error| system(&error))?;
        let ticker = Ticker::spawn(&engine).map_err(|error| system(&error))?;
        Ok(Self { engine, linker, ticker })
    }

    /// Compiles a component and checks its imports and exports. Nothing of it is run.
    ///
    /// # Errors
    /// [`LoadError`] says what is wrong with it.
    pub(crate) fn load(&self, wasm: &[u8]) -> Result<Loaded, LoadError> {
        if Parser::is_core_wasm(wasm) {
            let text = "this is a core module; `rialto plugin build` makes a component of it";
            return Err(LoadError::NotAComponent(text.to_owned()));
        }
        if !Parser::is_component(wasm) {
            return Err(LoadError::NotAComponent("the file does not begin like one".to_owned()));
        }
        let component = Component::from_binary(&self.engine, wasm);
        let component = component.map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        let world = |error: wasmtime::Error| LoadError::World(format!("{error:#}"));
        let pre = self.linker.instantiate_pre(&component).map_err(world)?;
        super::world::check(&self.engine, &component).map_err(world)?;
        let pre = PluginPre::new(pre).map_err(world)?;
        let sandbox = Sandbox::new(pre, Arc::clone(&self.ticker));
        Ok(Loaded { manifest: Manifest::read(wasm), sandbox })
    }
}

/// Starts a plugin on a thread of its own. `start` of the plugin has returned `ok` when this returns.
///
/// # Errors
/// [`LoadError::System`] with the reason why it did not start.
pub(crate) fn spawn(version: Version, around: Surroundings) -> Result<(Mailbox, JoinHandle<()>), LoadError> {
    let (mailbox, jobs) = Mailbox::new(version.limits.mailbox);
    let name = around.name.to_string();
    let runner =
        Runner::start(version, around).map_err(|failed| LoadError::System(format!("cannot start: {failed}")))?;
    let thread = std::thread::Builder::new()
        .name(format!("plugin-{name}"))
        .stack_size(THREAD_STACK_BYTES)
        .spawn(move || runner.run(&jobs))
        .map_err(|error| LoadError::System(format!("no thread for plugin \"{name}\": {error}")))?;
    Ok((mailbox, thread))
}

impl Drop for Host {
    fn drop(&mut self) {
        self.ticker.stop();
    }
}
