//! The WebAssembly side: the hooks that the broker calls and the imports that it offers, in the SDK's own types.

use crate::imports::{Imports, Level, Refusal};
use crate::{Call, Config, Context, Encoding, Error, Message, Payload, Plugin, Session, Verdict};
use bindings::exports::rialto::plugin::hooks::Guest;
use bindings::rialto::plugin::{messages, state, system, types};
use std::any::Any;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic::PanicHookInfo;

pub use bindings::export_hooks;

/// The generated bindings: the only unsafe code of the SDK, all of it written by wit-bindgen.
#[allow(missing_docs, unreachable_pub, reason = "generated; the WIT documents it")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit/v1",
        world: "plugin",
        pub_export_macro: true,
        export_macro_name: "export_hooks",
    });
}

thread_local! {
    /// The one instance of this component, which has one thread.
    static INSTANCE: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// The exported hooks of the plugin `P`; what [`export!`](crate::export) exports.
#[derive(Debug)]
pub struct Exported<P>(PhantomData<P>);

impl<P: Plugin> Guest for Exported<P> {
    fn start(config: String) -> Result<(), String> {
        std::panic::set_hook(Box::new(log_panic));
        with_instance::<P, _>(|plugin, ctx| plugin.start(ctx, Config::from_json(config))).map_err(|error| match error {
            Error::Rejected { reason, .. } => reason,
            Error::Failed(text) => text,
        })
    }

    fn on_subscribe(session: types::Session, topic: String) -> Result<(), types::Error> {
        let session = Session::from(session);
        with_instance::<P, _>(|plugin, ctx| plugin.on_subscribe(ctx, &session, &topic)).map_err(Into::into)
    }

    fn on_unsubscribe(session: types::Session, topic: String) -> Result<(), types::Error> {
        let session = Session::from(session);
        with_instance::<P, _>(|plugin, ctx| plugin.on_unsubscribe(ctx, &session, &topic)).map_err(Into::into)
    }

    fn on_publish(
        session: Option<types::Session>,
        topic: String,
        payload: types::Payload,
    ) -> Result<types::Verdict, types::Error> {
        let message = Message { session: session.map(Into::into), topic, payload: payload.into() };
        match with_instance::<P, _>(|plugin, ctx| plugin.on_publish(ctx, message))? {
            Verdict::Accept => Ok(types::Verdict::Accept),
            Verdict::Replace(payload) => Ok(types::Verdict::Replace(payload.into())),
            Verdict::Swallow => Ok(types::Verdict::Swallow),
        }
    }

    fn on_call(
        session: Option<types::Session>,
        topic: Option<String>,
        method: String,
        payload: Option<types::Payload>,
    ) -> Result<Option<types::Payload>, types::Error> {
        let call = Call { session: session.map(Into::into), topic, method, payload: payload.map(Into::into) };
        let reply = with_instance::<P, _>(|plugin, ctx| plugin.on_call(ctx, call))?;
        Ok(reply.payload.map(Into::into))
    }
}

fn with_instance<P: Plugin, T>(hook: impl FnOnce(&mut P, &mut Context) -> crate::Result<T>) -> crate::Result<T> {
    INSTANCE.with_borrow_mut(|slot| {
        let plugin = slot.get_or_insert_with(|| Box::new(P::default()));
        let plugin = plugin.downcast_mut::<P>().expect("a component exports one plugin");
        hook(plugin, &mut Context::new(&Broker))
    })
}

fn log_panic(panic: &PanicHookInfo) {
    let (file, line) = panic.location().map_or(("unknown", 0), |place| (place.file(), place.line()));
    let message = panic.payload_as_str().unwrap_or("a value that is not text");
    system::log(system::Level::Error, &format!("panicked at {file}:{line}: {message}"));
}

/// The broker that runs this component.
struct Broker;

impl Imports for Broker {
    fn publish(&self, topic: &str, payload: Payload) -> Result<(), Refusal> {
        messages::publish(topic, &payload.into()).map_err(|refusal| match refusal {
            messages::Refusal::Forbidden(text) => Refusal::Forbidden(text),
            messages::Refusal::Invalid(text) => Refusal::Invalid(text),
            messages::Refusal::Limit(text) => Refusal::Limit(text),
        })
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        state::get(key)
    }

    fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Refusal> {
        state::put(key, &value).map_err(|refusal| match refusal {
            state::Refusal::Invalid(text) => Refusal::Invalid(text),
            state::Refusal::Limit(text) => Refusal::Limit(text),
        })
    }

    fn delete(&self, key: &str) {
        state::delete(key);
    }

    fn scan(&self, prefix: &str, after: Option<&str>, limit: u32) -> Vec<(String, Vec<u8>)> {
        state::scan(prefix, after, limit)
    }

    fn log(&self, level: Level, text: &str) {
        let level = match level {
            Level::Debug => system::Level::Debug,
            Level::Info => system::Level::Info,
            Level::Warn => system::Level::Warn,
            Level::Error => system::Level::Error,
        };
        system::log(level, text);
    }

    fn now_ms(&self) -> u64 {
        system::now()
    }

    fn random(&self) -> u64 {
        system::random()
    }
}

impl From<types::Session> for Session {
    fn from(session: types::Session) -> Self {
        Self { id: session.id, user: session.user }
    }
}

impl From<types::Payload> for Payload {
    fn from(payload: types::Payload) -> Self {
        let encoding = match payload.encoding {
            types::Encoding::Json => Encoding::Json,
            types::Encoding::Msgpack => Encoding::Msgpack,
            types::Encoding::Bytes => Encoding::Bytes,
        };
        Self { encoding, content: payload.content }
    }
}

impl From<Payload> for types::Payload {
    fn from(payload: Payload) -> Self {
        let encoding = match payload.encoding {
            Encoding::Json => types::Encoding::Json,
            Encoding::Msgpack => types::Encoding::Msgpack,
            Encoding::Bytes => types::Encoding::Bytes,
        };
        Self { encoding, content: payload.content }
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Rejected { reason, detail } => {
                Self::Rejected(types::Rejection { reason, detail: detail.map(Into::into) })
            }
            Error::Failed(text) => Self::Failed(text),
        }
    }
}
