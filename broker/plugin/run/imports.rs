//! The imports of a component: passes each call to the instance's host. A hook that exceeds a limit traps here.

use rialto_plugin::{Imports, Level, Refusal};

use super::bindings::v1_0::rialto::plugin::{state, system, timers, types};
use super::hook_context::HookHost;
use super::memory::Memory;

/// What an instance's store holds.
pub(in crate::plugin) struct GuestData {
    pub(in crate::plugin) memory: Memory,
    pub(in crate::plugin) host: Box<dyn HookHost>,
}

impl GuestData {
    /// Asks the host; beyond a limit that is a trap.
    fn ask<T>(&mut self, ask: impl FnOnce(&dyn Imports) -> T) -> wasmtime::Result<T> {
        let reply = ask(&*self.host);
        match self.host.exceeded() {
            Some(exceeded) => Err(exceeded.into()),
            None => Ok(reply),
        }
    }

    fn ask_for<T, R: From<Refusal>>(
        &mut self,
        ask: impl FnOnce(&dyn Imports) -> Result<T, Refusal>,
    ) -> wasmtime::Result<Result<T, R>> {
        Ok(self.ask(ask)?.map_err(Into::into))
    }
}

/// The messages of each version, and what only some of them have.
macro_rules! messages {
    ($version:ident, $($more:item)*) => {
        const _: () = {
            use super::bindings::$version::rialto::plugin::{messages, types};

            impl messages::Host for GuestData {
                fn publish(
                    &mut self,
                    topic: String,
                    payload: types::Payload,
                    exclude: Option<String>,
                ) -> wasmtime::Result<Result<(), types::Refusal>> {
                    self.ask_for(|host| host.publish(&topic, payload.into(), exclude.as_deref()))
                }

                fn send(
                    &mut self,
                    session: String,
                    payload: types::Payload,
                ) -> wasmtime::Result<Result<(), types::Refusal>> {
                    self.ask_for(|host| host.send(&session, payload.into()))
                }

                fn send_raw(
                    &mut self,
                    session: String,
                    message: types::Raw,
                ) -> wasmtime::Result<Result<(), types::Refusal>> {
                    self.ask_for(|host| host.send_raw(&session, message.into()))
                }

                $($more)*
            }
        };
    };
}

messages!(v1_0,);
messages!(
    v1_1,
    fn remove(&mut self, topic: String, offset: u64) -> wasmtime::Result<Result<(), types::Refusal>> {
        self.ask_for(|host| host.remove(&topic, offset))
    }
);

/// The interfaces that each version has in its own form.
macro_rules! own_interfaces {
    ($version:ident, { $($more:tt)* }) => {
        const _: () = {
            use super::bindings::$version::rialto::plugin::{sessions, types};

            impl types::Host for GuestData {}

            impl sessions::Host for GuestData {
                fn members(
                    &mut self,
                    topic: String,
                    after: Option<String>,
                    limit: u32,
                ) -> wasmtime::Result<Result<Vec<types::Session>, types::Refusal>> {
                    let listed = self.ask_for(|host| host.sessions(&topic, after.as_deref(), limit))?;
                    Ok(listed.map(|sessions| sessions.into_iter().map(Into::into).collect()))
                }

                fn count(&mut self, topic: String) -> wasmtime::Result<Result<u64, types::Refusal>> {
                    self.ask_for(|host| host.session_count(&topic))
                }

                fn subscribe(
                    &mut self,
                    session: String,
                    topic: String,
                ) -> wasmtime::Result<Result<(), types::Refusal>> {
                    self.ask_for(|host| host.subscribe(&session, &topic))
                }

                fn unsubscribe(
                    &mut self,
                    session: String,
                    topic: String,
                ) -> wasmtime::Result<Result<(), types::Refusal>> {
                    self.ask_for(|host| host.unsubscribe(&session, &topic))
                }

                fn disconnect(
                    &mut self,
                    session: String,
                    reason: String,
                ) -> wasmtime::Result<Result<(), types::Refusal>> {
                    self.ask_for(|host| host.disconnect(&session, &reason))
                }

                $($more)*
            }
        };
    };
}

own_interfaces!(v1_0, {});
own_interfaces!(v1_1, {
    fn authenticate(
        &mut self,
        session: String,
        user: String,
        secret: String,
    ) -> wasmtime::Result<Result<(), types::Refusal>> {
        self.ask_for(|host| host.authenticate(&session, &user, &secret))
    }
});

impl timers::Host for GuestData {
    fn set_timer(
        &mut self,
        name: String,
        delay_ms: u64,
        payload: Option<types::Payload>,
    ) -> wasmtime::Result<Result<(), types::Refusal>> {
        self.ask_for(|host| host.set_timer(&name, delay_ms, payload.map(Into::into)))
    }

    fn cancel_timer(&mut self, name: String) -> wasmtime::Result<Result<(), types::Refusal>> {
        self.ask_for(|host| host.cancel_timer(&name))
    }

    fn due(&mut self, name: String) -> wasmtime::Result<Result<Option<u64>, types::Refusal>> {
        self.ask_for(|host| host.timer_due_ms(&name))
    }
}

impl state::Host for GuestData {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, types::Refusal>> {
        self.ask_for(|host| host.get(&key))
    }

    fn put(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), types::Refusal>> {
        self.ask_for(|host| host.put(&key, value))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), types::Refusal>> {
        self.ask_for(|host| host.delete(&key))
    }

    fn scan(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<(String, Vec<u8>)>, types::Refusal>> {
        self.ask_for(|host| host.scan(&prefix, after.as_deref(), limit))
    }
}

impl system::Host for GuestData {
    fn log(&mut self, level: system::Level, text: String) -> wasmtime::Result<()> {
        let level = match level {
            system::Level::Debug => Level::Debug,
            system::Level::Info => Level::Info,
            system::Level::Warn => Level::Warn,
            system::Level::Error => Level::Error,
        };
        self.ask(|host| host.log(level, &text))
    }

    fn now(&mut self) -> wasmtime::Result<u64> {
        self.ask(|host| host.now_ms())
    }

    fn random(&mut self) -> wasmtime::Result<u64> {
        self.ask(|host| host.random())
    }
}
