//! Plugins that are part of this program: the same source as a component's, without a sandbox. Memory, stack and time of their
//! hooks are not bounded.

use std::any::type_name;

use rialto_plugin::native::{self, Interrupted, Limited};
use rialto_plugin::{Call, Config, Context, Error, Message, Plugin, Session, Timer};

use super::convert::{self, payload_to_guest};
use super::hook_context::{Cause, HookHost};
use super::instance::{HookReturn, RunningInstance, Start};
use crate::clock::Now;
use crate::plugin::{Event, Failed, Manifest, PluginLimits, PluginSession, Protocol, Source};

/// The version of the protocol that native plugins have: the newest.
const PROTOCOL: Protocol = Protocol::V1_1;

/// A native plugin: makes its instances.
pub(crate) struct Native<P> {
    factory: Box<dyn Fn() -> P + Send + Sync>,
}

struct NativeCopy<P> {
    plugin: P,
    host: Box<dyn HookHost>,
}

impl<P: Plugin + Send> Native<P> {
    /// Every instance comes from the factory: the first, one for another topic, and one after a panic.
    pub(crate) fn new(factory: impl Fn() -> P + Send + Sync + 'static) -> Self {
        Self { factory: Box::new(factory) }
    }

    /// What is known of it without a file.
    pub(crate) fn manifest() -> Manifest {
        let name = type_name::<P>().to_owned();
        let (protocol, needs, hash) = (None, Vec::new(), String::new());
        Manifest { name, version: "native".to_owned(), protocol, needs, hash, bytes: 0 }
    }
}

impl<P: Plugin + Send> Source for Native<P> {
    fn protocol(&self) -> Protocol {
        PROTOCOL
    }

    fn start(
        &self,
        host: Box<dyn HookHost>,
        start: &Start<'_>,
        _: PluginLimits,
        now: Now,
    ) -> Result<(Box<dyn RunningInstance>, Vec<String>), Failed> {
        host.begin(Cause { starting: true, ..Cause::default() }, now);
        let config = Config::from_json(start.config).for_topic(start.topic.map(ToString::to_string));
        let started = guarded(&*host, |ctx| {
            // In here because the factory may panic, too.
            let mut plugin = (self.factory)();
            plugin.start(ctx, config)?;
            let serves = plugin.serves();
            Ok((plugin, serves))
        })?;
        match started {
            Ok((plugin, serves)) => Ok((Box::new(NativeCopy { plugin, host }), serves)),
            Err(Error::Rejected { reason, .. }) => Err(Failed::Said(reason)),
            Err(Error::Failed(text)) => Err(Failed::Said(text)),
        }
    }
}

impl<P: Plugin + Send> RunningInstance for NativeCopy<P> {
    fn call(&mut self, event: &Event, now: Now) -> Result<Result<HookReturn, Error>, Failed> {
        self.host.begin(event.cause(), now);
        let plugin = &mut self.plugin;
        guarded(&*self.host, |ctx| invoke(plugin, ctx, event))
    }

    fn host(&self) -> &dyn HookHost {
        &*self.host
    }
}

impl Limited for dyn HookHost + '_ {
    fn is_over(&self) -> bool {
        self.exceeded().is_some()
    }
}

/// Runs a hook. What it panics with is its failure.
fn guarded<T>(
    host: &dyn HookHost,
    hook: impl FnOnce(&mut Context<'_>) -> rialto_plugin::Result<T>,
) -> Result<rialto_plugin::Result<T>, Failed> {
    native::hook(host, hook).map_err(|interrupted| match (interrupted, host.exceeded()) {
        (_, Some(exceeded)) => Failed::Limit(exceeded.to_string()),
        (Interrupted::Panicked(text), None) => Failed::Trap(text),
        (Interrupted::Over, None) => Failed::Trap("ended".to_owned()),
    })
}

fn session_to_guest(session: &PluginSession) -> Session {
    convert::session_to_guest(session, PROTOCOL)
}

fn invoke<P: Plugin>(plugin: &mut P, ctx: &mut Context<'_>, event: &Event) -> Result<HookReturn, Error> {
    let accepted = |()| HookReturn::Accepted;
    match event {
        Event::Connect { session, endpoint } => {
            plugin.on_connect(ctx, &session_to_guest(session), endpoint).map(accepted)
        }
        Event::Disconnect { session, endpoint } => {
            plugin.on_disconnect(ctx, &session_to_guest(session), endpoint).map(accepted)
        }
        Event::Message { session, endpoint, message } => {
            plugin.on_message(ctx, &session_to_guest(session), endpoint, message.clone()).map(accepted)
        }
        Event::Authenticated { session, outcome } => {
            plugin.on_authenticated(ctx, &session_to_guest(session), outcome.clone()).map(accepted)
        }
        Event::Subscribe { session, topic } => {
            plugin.on_subscribe(ctx, &session_to_guest(session), topic.as_str()).map(accepted)
        }
        Event::Unsubscribe { session, topic } => {
            plugin.on_unsubscribe(ctx, &session_to_guest(session), topic.as_str()).map(accepted)
        }
        Event::Publish { session, topic, payload, .. } => {
            let session = session.as_ref().map(session_to_guest);
            let message = Message::new(session, topic.as_str(), payload_to_guest(payload));
            plugin.on_publish(ctx, message).map(HookReturn::Verdict)
        }
        Event::Call { session, topic, method, payload } => {
            let mut call = Call::new(session.as_ref().map(session_to_guest), method.as_str());
            call.topic = topic.as_ref().map(ToString::to_string);
            call.payload = payload.as_ref().map(payload_to_guest);
            plugin.on_call(ctx, call).map(|reply| HookReturn::Reply(reply.payload))
        }
        Event::Timer { name, payload, .. } => {
            plugin.on_timer(ctx, Timer::new(name, payload.as_ref().map(payload_to_guest))).map(accepted)
        }
    }
}
