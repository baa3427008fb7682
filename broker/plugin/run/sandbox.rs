//! A compiled component and its instances: calls hooks under their limits and classifies failures. It commits no effect.

use std::sync::Arc;

use rialto_plugin::Error;
use wasmtime::{Store, Trap};

use super::deadline::DeadlineClock;
use super::hook_context::{Cause, HookHost};
use super::hooks::{Hooks, World};
use super::imports::GuestData;
use super::instance::{HookReturn, RunningInstance, Start};
use super::memory::Memory;
use crate::clock::Now;
use crate::plugin::{Event, Failed, PluginLimits, Protocol, Source};
use rialto_plugin::host::Exceeded;

/// A compiled component that matches the WIT world.
#[derive(Clone)]
pub(crate) struct Sandbox {
    world: World,
    deadlines: Arc<DeadlineClock>,
}

/// A running instance of a component. After a trap it must not be used again.
struct Sandboxed {
    store: Store<GuestData>,
    hooks: Box<dyn Hooks>,
    deadlines: Arc<DeadlineClock>,
    limits: PluginLimits,
}

impl Sandbox {
    pub(in crate::plugin) fn new(world: World, deadlines: Arc<DeadlineClock>) -> Self {
        Self { world, deadlines }
    }
}

impl Source for Sandbox {
    fn protocol(&self) -> Protocol {
        self.world.protocol()
    }

    fn start(
        &self,
        host: Box<dyn HookHost>,
        start: &Start<'_>,
        limits: PluginLimits,
        now: Now,
    ) -> Result<(Box<dyn RunningInstance>, Vec<String>), Failed> {
        let guest = GuestData { memory: Memory::new(&limits), host };
        let mut store = self.world.store(guest);
        store.limiter(|guest| &mut guest.memory);
        let cause = || Cause { starting: true, ..Cause::default() };
        arm(&mut store, &limits, cause(), now);
        let watched = self.deadlines.watch();
        let hooks = self.world.instantiate(&mut store).map_err(|error| name_failure(&store, &limits, &error))?;
        arm(&mut store, &limits, cause(), now);
        let started = hooks.start(&mut store, start);
        drop(watched);
        match started {
            Ok(Ok(serves)) => {
                let deadlines = Arc::clone(&self.deadlines);
                Ok((Box::new(Sandboxed { store, hooks, deadlines, limits }), serves))
            }
            Ok(Err(text)) => Err(Failed::Said(text)),
            Err(error) => Err(name_failure(&store, &limits, &error)),
        }
    }
}

/// Sets everything that bounds the next call into the guest.
fn arm(store: &mut Store<GuestData>, limits: &PluginLimits, cause: Cause, now: Now) {
    store.data_mut().memory.refused = false;
    store.data().host.begin(cause, now);
    store.set_epoch_deadline(DeadlineClock::ticks(limits.hook_ms));
    store.set_hostcall_fuel(limits.output_bytes);
}

impl RunningInstance for Sandboxed {
    fn call(&mut self, event: &Event, now: Now) -> Result<Result<HookReturn, Error>, Failed> {
        arm(&mut self.store, &self.limits, event.cause(), now);
        let watched = self.deadlines.watch();
        let answer = self.hooks.call(&mut self.store, event);
        drop(watched);
        answer.map_err(|error| name_failure(&self.store, &self.limits, &error))
    }

    fn host(&self) -> &dyn HookHost {
        &*self.store.data().host
    }
}

fn name_failure(store: &Store<GuestData>, limits: &PluginLimits, error: &wasmtime::Error) -> Failed {
    if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        return Failed::Limit(exceeded.to_string());
    }
    let text = format!("{error:#}");
    if text.contains("fuel allocated for hostcalls") {
        return Failed::Limit(format!("output_bytes: more than {} bytes", limits.output_bytes));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => return Failed::Deadline { hook_ms: limits.hook_ms },
        Some(Trap::StackOverflow) => return Failed::Limit("stack: the guest's stack is used up".to_owned()),
        _ => {}
    }
    if store.data().memory.refused {
        return Failed::Limit(format!("memory_bytes: more than {} bytes", limits.memory_bytes));
    }
    match store.data().host.last_error_line() {
        Some(line) => Failed::Trap(format!("{line}; {text}")),
        None => Failed::Trap(text),
    }
}
