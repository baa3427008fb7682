//! The clock of hook deadlines: advances the engine's epoch while hooks run, and sleeps while none do.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::Engine;

/// How often running hooks are looked at: what a deadline may be off by.
const TICK: Duration = Duration::from_millis(5);

/// Watches the hooks of all plugins.
pub(in crate::plugin) struct DeadlineClock {
    running: AtomicUsize,
    parked: AtomicBool,
    stopped: AtomicBool,
    thread: OnceLock<Thread>,
}

impl DeadlineClock {
    pub(in crate::plugin) fn spawn(engine: &Engine) -> std::io::Result<Arc<Self>> {
        let deadlines = Arc::new(Self {
            running: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        let (engine, shared) = (engine.clone(), Arc::clone(&deadlines));
        let thread = std::thread::Builder::new().name("rialto-epoch".to_owned()).spawn(move || shared.tick(&engine))?;
        let _ = deadlines.thread.set(thread.thread().clone());
        Ok(deadlines)
    }

    fn tick(&self, engine: &Engine) {
        /// So many quiet ticks before the thread goes to sleep: a second.
        const QUIET_MAX: u32 = 200;
        let mut quiet = 0;
        while !self.stopped.load(SeqCst) {
            std::thread::sleep(TICK);
            engine.increment_epoch();
            quiet = if self.running.load(SeqCst) == 0 { quiet + 1 } else { 0 };
            if quiet == QUIET_MAX {
                quiet = 0;
                self.parked.store(true, SeqCst);
                // A hook that began before this saw `parked` unset; it is seen here.
                while self.parked.load(SeqCst) && self.running.load(SeqCst) == 0 && !self.stopped.load(SeqCst) {
                    std::thread::park();
                }
                self.parked.store(false, SeqCst);
            }
        }
    }

    /// Watches until the guard is dropped.
    pub(in crate::plugin) fn watch(&self) -> Watched<'_> {
        self.running.fetch_add(1, SeqCst);
        if self.parked.load(SeqCst) && self.parked.swap(false, SeqCst) {
            self.wake();
        }
        Watched(self)
    }

    /// The number of ticks after which at least `milliseconds` have passed.
    pub(in crate::plugin) fn ticks(milliseconds: u64) -> u64 {
        milliseconds.div_ceil(TICK.as_millis() as u64) + 1
    }

    pub(in crate::plugin) fn stop(&self) {
        self.stopped.store(true, SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// While this lives, the epoch advances.
pub(in crate::plugin) struct Watched<'t>(&'t DeadlineClock);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}
