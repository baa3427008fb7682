//! Type check: whether a component's hooks have the types of the plugin world. None of its code runs.

use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentNamedList, Lift, Lower};
use wasmtime::{Engine, Error, Result};

use crate::plugin::run::imports::bindings::rialto::plugin::types::{Error as Refusal, Payload, Raw, Session, Verdict};

/// The interface that every plugin exports.
const HOOKS: &str = "rialto:plugin/hooks@1.0.0";

/// Checks the type of every hook.
///
/// # Errors
/// Names the first hook that is missing or has another type.
pub(in crate::plugin) fn check(engine: &Engine, component: &Component) -> Result<()> {
    let hooks = Hooks { engine, component };
    hooks.has::<(String, Option<String>), (Result<Vec<String>, String>,)>("start")?;
    hooks.has::<(Session, String), (Result<(), Refusal>,)>("on-connect")?;
    hooks.has::<(Session, String), (Result<(), Refusal>,)>("on-disconnect")?;
    hooks.has::<(Session, String, Raw), (Result<(), Refusal>,)>("on-message")?;
    hooks.has::<(String, Option<Payload>), (Result<(), Refusal>,)>("on-timer")?;
    hooks.has::<(Session, String), (Result<(), Refusal>,)>("on-subscribe")?;
    hooks.has::<(Session, String), (Result<(), Refusal>,)>("on-unsubscribe")?;
    hooks.has::<(Option<Session>, String, Payload), (Result<Verdict, Refusal>,)>("on-publish")?;
    hooks.has::<(Option<Session>, Option<String>, String, Option<Payload>), (Result<Option<Payload>, Refusal>,)>(
        "on-call",
    )
}

struct Hooks<'c> {
    engine: &'c Engine,
    component: &'c Component,
}

impl Hooks<'_> {
    fn has<P, R>(&self, name: &str) -> Result<()>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let component = self.component.component_type();
        let hook = self.function(name).ok_or_else(|| Error::msg(format!("no hook `{name}` in `{HOOKS}`")))?;
        // The typed call makes the same check, but only once the component has been instantiated.
        hook.typecheck::<P, R>(&component.instance_type()).map_err(|error| error.context(format!("hook `{name}`")))
    }

    fn function(&self, name: &str) -> Option<ComponentFunc> {
        let component = self.component.component_type();
        let ComponentItem::ComponentInstance(hooks) = component.get_export(self.engine, HOOKS)?.ty else { return None };
        match hooks.get_export(self.engine, name)?.ty {
            ComponentItem::ComponentFunc(function) => Some(function),
            _ => None,
        }
    }
}
