//! The WebAssembly side: the hooks that the broker calls and the imports that it offers, in the SDK's own types.

use crate::imports::{Entry, Imports, Level, Refusal};
use crate::{Call, Config, Context, Encoding, Error, Message, Payload, Plugin, Raw, Session, Timer, Verdict};
use bindings::exports::rialto::plugin::hooks::Guest;
use bindings::rialto::plugin::{messages, sessions, state, system, timers, types};
use std::any::Any;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic::PanicHookInfo;

pub use bindings::export_hooks;

/// The generated bindings: the only unsafe code of the SDK, all of it written by wit-bindgen.
#[allow(missing_docs, unreachable_pub, reason = "generated; the WIT documents it")]
pub mod bindings {
    // Of the version that the crate's features choose: a component is for one version of the protocol. The two worlds
    // differ in their sessions, in who authenticates them, and in what they do with messages.
    #[cfg(not(feature = "v1_1"))]
    wit_bindgen::generate!({ path: "wit/v1", pub_export_macro: true, export_macro_name: "export_hooks" });
    #[cfg(feature = "v1_1")]
    wit_bindgen::generate!({ path: "wit/v1_1", pub_export_macro: true, export_macro_name: "export_hooks" });
}

thread_local! {
    /// The one instance of this component, which has one thread.
    static INSTANCE: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// The exported hooks of the plugin `P`; what [`export!`](crate::export) exports.
#[derive(Debug)]
pub struct Exported<P>(PhantomData<P>);

impl<P: Plugin> Guest for Exported<P> {
    fn start(config: String, topic: Option<String>) -> Result<Vec<String>, String> {
        std::panic::set_hook(Box::new(log_panic));
        let config = Config::from_json(config).for_topic(topic);
        let started = with_instance::<P, _>(|plugin, ctx| {
            plugin.start(ctx, config)?;
            Ok(plugin.serves())
        });
        started.map_err(|error| match error {
            Error::Rejected { reason, .. } => reason,
            Error::Failed(text) => text,
        })
    }

    fn on_connect(session: types::Session, endpoint: String) -> Result<(), types::Error> {
        let session = Session::from(session);
        with_instance::<P, _>(|plugin, ctx| plugin.on_connect(ctx, &session, &endpoint)).map_err(Into::into)
    }

    fn on_disconnect(session: types::Session, endpoint: String) -> Result<(), types::Error> {
        let session = Session::from(session);
        with_instance::<P, _>(|plugin, ctx| plugin.on_disconnect(ctx, &session, &endpoint)).map_err(Into::into)
    }

    fn on_message(session: types::Session, endpoint: String, message: types::Raw) -> Result<(), types::Error> {
        let session = Session::from(session);
        let message = match message {
            types::Raw::Text(text) => Raw::Text(text),
            types::Raw::Binary(bytes) => Raw::Binary(bytes),
        };
        with_instance::<P, _>(|plugin, ctx| plugin.on_message(ctx, &session, &endpoint, message)).map_err(Into::into)
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

    fn on_timer(name: String, payload: Option<types::Payload>) -> Result<(), types::Error> {
        let timer = Timer { name, payload: payload.map(Into::into) };
        with_instance::<P, _>(|plugin, ctx| plugin.on_timer(ctx, timer)).map_err(Into::into)
    }

    #[cfg(feature = "v1_1")]
    fn on_authenticated(session: types::Session, outcome: Result<(), String>) -> Result<(), types::Error> {
        let session = Session::from(session);
        with_instance::<P, _>(|plugin, ctx| plugin.on_authenticated(ctx, &session, outcome)).map_err(Into::into)
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
    fn publish(&self, topic: &str, payload: Payload, exclude: Option<&str>) -> Result<(), Refusal> {
        Ok(messages::publish(topic, &payload.into(), exclude)?)
    }

    #[cfg(feature = "v1_1")]
    fn remove(&self, topic: &str, offset: u64) -> Result<(), Refusal> {
        Ok(messages::remove(topic, offset)?)
    }

    #[cfg(not(feature = "v1_1"))]
    fn remove(&self, _: &str, _: u64) -> Result<(), Refusal> {
        Err(Refusal::Forbidden("messages are removed by version 1.1 of the protocol".to_owned()))
    }

    fn send(&self, session: &str, payload: Payload) -> Result<(), Refusal> {
        Ok(messages::send(session, &payload.into())?)
    }

    fn send_raw(&self, session: &str, message: Raw) -> Result<(), Refusal> {
        let message = match message {
            Raw::Text(text) => types::Raw::Text(text),
            Raw::Binary(bytes) => types::Raw::Binary(bytes),
        };
        Ok(messages::send_raw(session, &message)?)
    }

    fn sessions(&self, topic: &str, after: Option<&str>, limit: u32) -> Result<Vec<Session>, Refusal> {
        Ok(sessions::members(topic, after, limit)?.into_iter().map(Session::from).collect())
    }

    fn session_count(&self, topic: &str) -> Result<u64, Refusal> {
        Ok(sessions::count(topic)?)
    }

    fn subscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        Ok(sessions::subscribe(session, topic)?)
    }

    fn unsubscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        Ok(sessions::unsubscribe(session, topic)?)
    }

    fn disconnect(&self, session: &str, reason: &str) -> Result<(), Refusal> {
        Ok(sessions::disconnect(session, reason)?)
    }

    fn set_timer(&self, name: &str, delay_ms: u64, payload: Option<Payload>) -> Result<(), Refusal> {
        let payload = payload.map(types::Payload::from);
        Ok(timers::set_timer(name, delay_ms, payload.as_ref())?)
    }

    fn cancel_timer(&self, name: &str) -> Result<(), Refusal> {
        Ok(timers::cancel_timer(name)?)
    }

    fn timer_due_ms(&self, name: &str) -> Result<Option<u64>, Refusal> {
        Ok(timers::due(name)?)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(state::get(key)?)
    }

    fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Refusal> {
        Ok(state::put(key, &value)?)
    }

    fn delete(&self, key: &str) -> Result<(), Refusal> {
        Ok(state::delete(key)?)
    }

    fn scan(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<Entry>, Refusal> {
        Ok(state::scan(prefix, after, limit)?)
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

    #[cfg(feature = "v1_1")]
    fn authenticate(&self, session: &str, user: &str, secret: &str) -> Result<(), Refusal> {
        Ok(sessions::authenticate(session, user, secret)?)
    }
}

impl From<types::Refusal> for Refusal {
    fn from(refusal: types::Refusal) -> Self {
        match refusal {
            types::Refusal::Forbidden(text) => Self::Forbidden(text),
            types::Refusal::Invalid(text) => Self::Invalid(text),
            types::Refusal::Limit(text) => Self::Limit(text),
        }
    }
}

impl From<types::Session> for Session {
    fn from(session: types::Session) -> Self {
        Self {
            id: session.id,
            user: session.user,
            #[cfg(feature = "v1_1")]
            roles: session.roles,
            #[cfg(feature = "v1_1")]
            info: session.info.map(Into::into),
        }
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
