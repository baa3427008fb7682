//! The hooks of a component, of whichever version of the plugin protocol it is: makes values of the protocol of events, and
//! reads what a hook returned. It sets no limits.

use rialto_plugin::Error;
use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::bindings::{v1_0, v1_1};
use super::convert::{payload_to_guest, session_to_guest};
use super::imports::GuestData;
use super::instance::{HookReturn, Start};
use crate::plugin::{Event, Protocol};
use crate::topic::Topic;

/// A compiled component that matches the world of its version.
#[derive(Clone)]
pub(in crate::plugin) enum World {
    V1_0(v1_0::PluginPre<GuestData>),
    V1_1(v1_1::PluginPre<GuestData>),
}

/// The hooks of an instance.
pub(super) trait Hooks: Send {
    /// Calls `start`.
    ///
    /// # Errors
    /// When it traps, exceeds a limit or returns no value of its type; the same for `call`.
    fn start(&self, store: &mut Store<GuestData>, start: &Start<'_>) -> wasmtime::Result<Result<Vec<String>, String>>;

    /// Calls the hook of an event.
    fn call(&self, store: &mut Store<GuestData>, event: &Event) -> wasmtime::Result<Result<HookReturn, Error>>;
}

impl World {
    /// The world of a component for this version.
    ///
    /// # Errors
    /// When the component does not match it.
    pub(in crate::plugin) fn new(protocol: Protocol, component: InstancePre<GuestData>) -> wasmtime::Result<Self> {
        match protocol {
            Protocol::V1_0 => v1_0::PluginPre::new(component).map(Self::V1_0),
            Protocol::V1_1 => v1_1::PluginPre::new(component).map(Self::V1_1),
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Self::V1_0(_) => Protocol::V1_0,
            Self::V1_1(_) => Protocol::V1_1,
        }
    }

    /// A store of the component's engine.
    pub(super) fn store(&self, guest: GuestData) -> Store<GuestData> {
        let engine = match self {
            Self::V1_0(component) => component.engine(),
            Self::V1_1(component) => component.engine(),
        };
        Store::new(engine, guest)
    }

    /// Makes an instance in a store.
    ///
    /// # Errors
    /// When its own start function traps, or a limit is exceeded.
    pub(super) fn instantiate(&self, store: &mut Store<GuestData>) -> wasmtime::Result<Box<dyn Hooks>> {
        let hooks: Box<dyn Hooks> = match self {
            Self::V1_0(component) => Box::new(component.instantiate(store)?),
            Self::V1_1(component) => Box::new(component.instantiate(store)?),
        };
        Ok(hooks)
    }
}

/// The hooks of one version: the same, with sessions of their own, but for that of an authentication, which has these names.
macro_rules! hooks {
    ($version:ident, $protocol:expr, ($hooks:ident, $store:ident, $who:ident, $outcome:ident) $authenticated:expr) => {
        const _: () = {
            use super::bindings::$version::Plugin;
            use super::bindings::$version::rialto::plugin::types;

            impl Hooks for Plugin {
                fn start(
                    &self,
                    store: &mut Store<GuestData>,
                    start: &Start<'_>,
                ) -> wasmtime::Result<Result<Vec<String>, String>> {
                    self.rialto_plugin_hooks().call_start(store, start.config, start.topic.map(Topic::as_str))
                }

                fn call(
                    &self,
                    store: &mut Store<GuestData>,
                    event: &Event,
                ) -> wasmtime::Result<Result<HookReturn, Error>> {
                    let hooks = self.rialto_plugin_hooks();
                    let accepted =
                        |outcome: Result<(), types::Error>| outcome.map(|()| HookReturn::Accepted).map_err(Error::from);
                    let guest = |session| types::Session::from(session_to_guest(session, $protocol));
                    let payload_for = |payload| types::Payload::from(payload_to_guest(payload));
                    Ok(match event {
                        Event::Connect { session, endpoint } => {
                            accepted(hooks.call_on_connect(store, &guest(session), endpoint)?)
                        }
                        Event::Disconnect { session, endpoint } => {
                            accepted(hooks.call_on_disconnect(store, &guest(session), endpoint)?)
                        }
                        Event::Message { session, endpoint, message } => {
                            let message = types::Raw::from(message.clone());
                            accepted(hooks.call_on_message(store, &guest(session), endpoint, &message)?)
                        }
                        Event::Authenticated { session, outcome } => {
                            let outcome = outcome.as_ref().map(|()| ()).map_err(String::as_str);
                            let ($hooks, $store, $who, $outcome) = (hooks, store, guest(session), outcome);
                            accepted($authenticated)
                        }
                        Event::Subscribe { session, topic } => {
                            accepted(hooks.call_on_subscribe(store, &guest(session), topic.as_str())?)
                        }
                        Event::Unsubscribe { session, topic } => {
                            accepted(hooks.call_on_unsubscribe(store, &guest(session), topic.as_str())?)
                        }
                        Event::Publish { session, topic, payload, .. } => {
                            let (session, payload) = (session.as_ref().map(guest), payload_for(payload));
                            let verdict = hooks.call_on_publish(store, session.as_ref(), topic.as_str(), &payload)?;
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
            }
        };
    };
}

// 1.0 does not have the hook of an authentication. A plugin for 1.1 has asked for it, which one for 1.0 has replaced meanwhile.
hooks!(v1_0, Protocol::V1_0, (_hooks, _store, _session, _outcome) Ok(()));
hooks!(v1_1, Protocol::V1_1, (hooks, store, session, outcome) {
    hooks.call_on_authenticated(store, &session, outcome)?
});
