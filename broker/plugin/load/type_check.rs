//! Type check: whether a component's hooks have the types of the world of its version. None of its code runs.

use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentNamedList, Lift, Lower};
use wasmtime::{Engine, Error, Result};

use crate::plugin::Protocol;
use crate::plugin::run::bindings::{v1_0, v1_1};

/// Checks the type of every hook.
///
/// # Errors
/// Names the first hook that is missing or has another type.
pub(in crate::plugin) fn check(engine: &Engine, component: &Component, protocol: Protocol) -> Result<()> {
    let hooks = Hooks { engine, component, interface: protocol.hooks() };
    match protocol {
        Protocol::V1_0 => hooks.are_of_v1_0(),
        Protocol::V1_1 => hooks.are_of_v1_1().and_then(|()| hooks.are_new_in_v1_1()),
    }
}

struct Hooks<'c> {
    engine: &'c Engine,
    component: &'c Component,
    /// The name of the interface that they are in.
    interface: String,
}

/// The types of the hooks, which are the same in each version but for the types of their values.
macro_rules! types_of_hooks {
    ($name:ident, $version:ident) => {
        fn $name(&self) -> Result<()> {
            use $version::rialto::plugin::types::{Error as Refusal, Payload, Raw, Session, Verdict};

            type OnCall = (Option<Session>, Option<String>, String, Option<Payload>);
            self.has::<(String, Option<String>), (Result<Vec<String>, String>,)>("start")?;
            self.has::<(Session, String), (Result<(), Refusal>,)>("on-connect")?;
            self.has::<(Session, String), (Result<(), Refusal>,)>("on-disconnect")?;
            self.has::<(Session, String, Raw), (Result<(), Refusal>,)>("on-message")?;
            self.has::<(String, Option<Payload>), (Result<(), Refusal>,)>("on-timer")?;
            self.has::<(Session, String), (Result<(), Refusal>,)>("on-subscribe")?;
            self.has::<(Session, String), (Result<(), Refusal>,)>("on-unsubscribe")?;
            self.has::<(Option<Session>, String, Payload), (Result<Verdict, Refusal>,)>("on-publish")?;
            self.has::<OnCall, (Result<Option<Payload>, Refusal>,)>("on-call")
        }
    };
}

impl Hooks<'_> {
    types_of_hooks!(are_of_v1_0, v1_0);
    types_of_hooks!(are_of_v1_1, v1_1);

    fn are_new_in_v1_1(&self) -> Result<()> {
        use v1_1::rialto::plugin::types::{Error as Refusal, Session};

        type Outcome = std::result::Result<(), String>;
        self.has::<(Session, Outcome), (std::result::Result<(), Refusal>,)>("on-authenticated")
    }

    fn has<P, R>(&self, name: &str) -> Result<()>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let component = self.component.component_type();
        let hook =
            self.function(name).ok_or_else(|| Error::msg(format!("no hook `{name}` in `{}`", self.interface)))?;
        // The typed call makes the same check, but only once the component has been instantiated.
        hook.typecheck::<P, R>(&component.instance_type()).map_err(|error| error.context(format!("hook `{name}`")))
    }

    fn function(&self, name: &str) -> Option<ComponentFunc> {
        let component = self.component.component_type();
        let ComponentItem::ComponentInstance(hooks) = component.get_export(self.engine, &self.interface)?.ty else {
            return None;
        };
        match hooks.get_export(self.engine, name)?.ty {
            ComponentItem::ComponentFunc(function) => Some(function),
            _ => None,
        }
    }
}
