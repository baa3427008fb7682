//! A compiled component and its instances: calls hooks under their limits and classifies failures. It commits no effect.

use std::sync::Arc;

use rialto_plugin::Error;
use wasmtime::{Store, Trap};

use super::convert::{payload_to_guest, session_to_guest};
use super::deadline::DeadlineClock;
use super::hook_context::{Cause, HookHost};
use super::imports::GuestData;
use super::imports::bindings::exports::rialto::plugin::hooks::Guest as Hooks;
use super::imports::bindings::rialto::plugin::types;
use super::imports::bindings::{Plugin, PluginPre};
use super::instance::{HookReturn, RunningInstance, Start};
use super::memory::Memory;
use crate::clock::Now;
use crate::plugin::{Event, Failed, PluginLimits, Source};
use crate::topic::Topic;
use rialto_plugin::host::Exceeded;

/// A compiled component that matches the WIT world.
#[derive(Clone)]
pub(crate) struct Sandbox {
    pre: PluginPre<GuestData>,
    deadlines: Arc<DeadlineClock>,
}

/// A running instance of a component. After a trap it must not be used again.
struct Sandboxed {
    store: Store<GuestData>,
    plugin: Plugin,
    deadlines: Arc<DeadlineClock>,
    limits: PluginLimits,
}

impl Sandbox {
    pub(in crate::plugin) fn new(pre: PluginPre<GuestData>, deadlines: Arc<DeadlineClock>) -> Self {
        Self { pre, deadlines }
    }
}

impl Source for Sandbox {
    fn start(
        &self,
        host: Box<dyn HookHost>,
        start: &Start<'_>,
        limits: PluginLimits,
        now: Now,
    ) -> Result<(Box<dyn RunningInstance>, Vec<String>), Failed> {
        let guest = GuestData { memory: Memory::new(&limits), host };
        let mut store = Store::new(self.pre.engine(), guest);
        store.limiter(|guest| &mut guest.memory);
        let cause = || Cause { starting: true, ..Cause::default() };
        arm(&mut store, &limits, cause(), now);
        let watched = self.deadlines.watch();
        let plugin = self.pre.instantiate(&mut store).map_err(|error| name_failure(&store, &limits, &error))?;
        arm(&mut store, &limits, cause(), now);
        let started = hooks(&plugin).call_start(&mut store, start.config, start.topic.map(Topic::as_str));
        drop(watched);
        match started {
            Ok(Ok(serves)) => {
                let deadlines = Arc::clone(&self.deadlines);
                Ok((Box::new(Sandboxed { store, plugin, deadlines, limits }), serves))
            }
            Ok(Err(text)) => Err(Failed::Said(text)),
            Err(error) => Err(name_failure(&store, &limits, &error)),
        }
    }
}

fn hooks(plugin: &Plugin) -> &Hooks {
    plugin.rialto_plugin_hooks()
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
        let answer = invoke(&mut self.store, hooks(&self.plugin), event);
        drop(watched);
        answer.map_err(|error| name_failure(&self.store, &self.limits, &error))
    }

    fn host(&self) -> &dyn HookHost {
        &*self.store.data().host
    }
}

fn invoke(store: &mut Store<GuestData>, hooks: &Hooks, event: &Event) -> wasmtime::Result<Result<HookReturn, Error>> {
    let accepted = |outcome: Result<(), types::Error>| outcome.map(|()| HookReturn::Accepted).map_err(Error::from);
    let guest = |member| types::Session::from(session_to_guest(member));
    let payload_for = |payload| types::Payload::from(payload_to_guest(payload));
    Ok(match event {
        Event::Connect { session, endpoint } => accepted(hooks.call_on_connect(store, &guest(session), endpoint)?),
        Event::Disconnect { session, endpoint } => {
            accepted(hooks.call_on_disconnect(store, &guest(session), endpoint)?)
        }
        Event::Message { session, endpoint, message } => {
            let message = types::Raw::from(message.clone());
            accepted(hooks.call_on_message(store, &guest(session), endpoint, &message)?)
        }
        Event::Subscribe { session, topic } => {
            accepted(hooks.call_on_subscribe(store, &guest(session), topic.as_str())?)
        }
        Event::Unsubscribe { session, topic } => {
            accepted(hooks.call_on_unsubscribe(store, &guest(session), topic.as_str())?)
        }
        Event::Publish { session, topic, payload, .. } => {
            let session = session.as_ref().map(guest);
            let verdict = hooks.call_on_publish(store, session.as_ref(), topic.as_str(), &payload_for(payload))?;
            verdict.map(|verdict| HookReturn::Verdict(verdict.into())).map_err(Error::from)
        }
        Event::Call { session, topic, method, payload } => {
            let (session, topic) = (session.as_ref().map(guest), topic.as_ref().map(Topic::as_str));
            let payload = payload.as_ref().map(payload_for);
            let reply = hooks.call_on_call(store, session.as_ref(), topic, method, payload.as_ref())?;
            reply.map(|reply| HookReturn::Reply(reply.map(Into::into))).map_err(Error::from)
        }
        Event::Timer { name, payload, .. } => {
            let payload = payload.as_ref().map(payload_for);
            accepted(hooks.call_on_timer(store, name, payload.as_ref())?)
        }
    })
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
