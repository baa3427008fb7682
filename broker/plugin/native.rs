//! Plugins that are part of this program: the same source as a component's, without a sandbox. Memory, stack and time of their
//! hooks are not bounded.

use std::any::type_name;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind};
use std::sync::{Mutex, Once, PoisonError};

use rialto_plugin::{
    Call, Config, Context, Entry, Error, Imports, Level, Message, Payload, Plugin, Raw, Refusal, Session, Timer,
};

use super::convert::{payload_to_guest, session_to_guest};
use super::desk::{Answering, Cause};
use super::limits::Exceeded;
use super::running::{Answer, Running, Start};
use super::{Event, Failed, Manifest, PluginLimits, Source};
use crate::clock::Now;

thread_local! {
    /// Whether a hook runs on this thread, and what its panic said.
    static IN_HOOK: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A plugin of this program. The first copy is the one it was registered with, later ones are new.
pub(crate) struct Native<P> {
    first: Mutex<Option<P>>,
}

struct NativeCopy<P> {
    plugin: P,
    host: Box<dyn Answering>,
}

/// A hook ends in the middle because of a limit.
struct Ended;

impl<P: Plugin + Send> Native<P> {
    pub(crate) fn new(first: P) -> Self {
        static SPEAK: Once = Once::new();
        SPEAK.call_once(|| {
            let others = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| match IN_HOOK.get() {
                true => PANIC.set(Some(told(panic))),
                false => others(panic),
            }));
        });
        Self { first: Mutex::new(Some(first)) }
    }

    /// What is known of it without a file.
    pub(crate) fn manifest() -> Manifest {
        let name = type_name::<P>().to_owned();
        Manifest { name, version: "native".to_owned(), needs: Vec::new(), hash: String::new(), bytes: 0 }
    }
}

impl<P: Plugin + Send> Source for Native<P> {
    fn start(
        &self,
        host: Box<dyn Answering>,
        start: &Start<'_>,
        _: PluginLimits,
        now: Now,
    ) -> Result<(Box<dyn Running>, Vec<String>), Failed> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut plugin = first.unwrap_or_default();
        host.begin(Cause { starting: true, ..Cause::default() }, now);
        let config = Config::from_json(start.config).for_topic(start.topic.map(ToString::to_string));
        let started = guarded(&*host, |ctx| {
            plugin.start(ctx, config)?;
            Ok(plugin.serves())
        })?;
        match started {
            Ok(serves) => Ok((Box::new(NativeCopy { plugin, host }), serves)),
            Err(Error::Rejected { reason, .. }) => Err(Failed::Said(reason)),
            Err(Error::Failed(text)) => Err(Failed::Said(text)),
        }
    }
}

impl<P: Plugin + Send> Running for NativeCopy<P> {
    fn call(&mut self, event: &Event, now: Now) -> Result<Result<Answer, Error>, Failed> {
        self.host.begin(event.cause(), now);
        let plugin = &mut self.plugin;
        guarded(&*self.host, |ctx| invoke(plugin, ctx, event))
    }

    fn host(&self) -> &dyn Answering {
        &*self.host
    }
}

/// Runs a hook. What it panics with is its failure.
fn guarded<T>(
    host: &dyn Answering,
    hook: impl FnOnce(&mut Context<'_>) -> rialto_plugin::Result<T>,
) -> Result<rialto_plugin::Result<T>, Failed> {
    let strict = Strict(host);
    IN_HOOK.set(true);
    let ended = catch_unwind(AssertUnwindSafe(|| hook(&mut Context::new(&strict))));
    IN_HOOK.set(false);
    match (ended, host.exceeded()) {
        (_, Some(exceeded)) => Err(Failed::Limit(exceeded.to_string())),
        (Ok(outcome), None) => Ok(outcome),
        (Err(_), None) => Err(Failed::Trap(PANIC.take().unwrap_or_else(|| "panicked".to_owned()))),
    }
}

/// What a panic says, in the words of the SDK's guest.
fn told(panic: &PanicHookInfo<'_>) -> String {
    let (file, line) = panic.location().map_or(("unknown", 0), |place| (place.file(), place.line()));
    let message = panic.payload_as_str().unwrap_or("a value that is not text");
    format!("panicked at {file}:{line}: {message}")
}

fn invoke<P: Plugin>(plugin: &mut P, ctx: &mut Context<'_>, event: &Event) -> Result<Answer, Error> {
    let accepted = |()| Answer::Accepted;
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
        Event::Subscribe { session, topic } => {
            plugin.on_subscribe(ctx, &session_to_guest(session), topic.as_str()).map(accepted)
        }
        Event::Unsubscribe { session, topic } => {
            plugin.on_unsubscribe(ctx, &session_to_guest(session), topic.as_str()).map(accepted)
        }
        Event::Publish { session, topic, payload, .. } => {
            let session = session.as_ref().map(session_to_guest);
            let message = Message::new(session, topic.as_str(), payload_to_guest(payload));
            plugin.on_publish(ctx, message).map(Answer::Verdict)
        }
        Event::Call { session, topic, method, payload } => {
            let mut call = Call::new(session.as_ref().map(session_to_guest), method.as_str());
            call.topic = topic.as_ref().map(ToString::to_string);
            call.payload = payload.as_ref().map(payload_to_guest);
            plugin.on_call(ctx, call).map(|reply| Answer::Reply(reply.payload))
        }
        Event::Timer { name, payload, .. } => {
            plugin.on_timer(ctx, Timer::new(name, payload.as_ref().map(payload_to_guest))).map(accepted)
        }
    }
}

/// A host beyond whose limits a hook ends at once, as a component's does.
struct Strict<'h>(&'h dyn Answering);

impl Strict<'_> {
    fn ask<T>(&self, ask: impl FnOnce(&dyn Answering) -> T) -> T {
        let told = ask(self.0);
        if let Some(Exceeded(_)) = self.0.exceeded() {
            resume_unwind(Box::new(Ended));
        }
        told
    }
}

impl Imports for Strict<'_> {
    fn publish(&self, topic: &str, payload: Payload, exclude: Option<&str>) -> Result<(), Refusal> {
        self.ask(|host| host.publish(topic, payload, exclude))
    }

    fn send(&self, session: &str, payload: Payload) -> Result<(), Refusal> {
        self.ask(|host| host.send(session, payload))
    }

    fn send_raw(&self, session: &str, message: Raw) -> Result<(), Refusal> {
        self.ask(|host| host.send_raw(session, message))
    }

    fn sessions(&self, topic: &str, after: Option<&str>, limit: u32) -> Result<Vec<Session>, Refusal> {
        self.ask(|host| host.sessions(topic, after, limit))
    }

    fn session_count(&self, topic: &str) -> Result<u64, Refusal> {
        self.ask(|host| host.session_count(topic))
    }

    fn subscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        self.ask(|host| host.subscribe(session, topic))
    }

    fn unsubscribe(&self, session: &str, topic: &str) -> Result<(), Refusal> {
        self.ask(|host| host.unsubscribe(session, topic))
    }

    fn disconnect(&self, session: &str, reason: &str) -> Result<(), Refusal> {
        self.ask(|host| host.disconnect(session, reason))
    }

    fn set_timer(&self, name: &str, delay_ms: u64, payload: Option<Payload>) -> Result<(), Refusal> {
        self.ask(|host| host.set_timer(name, delay_ms, payload))
    }

    fn cancel_timer(&self, name: &str) -> Result<(), Refusal> {
        self.ask(|host| host.cancel_timer(name))
    }

    fn timer_due_ms(&self, name: &str) -> Result<Option<u64>, Refusal> {
        self.ask(|host| host.timer_due_ms(name))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        self.ask(|host| host.get(key))
    }

    fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Refusal> {
        self.ask(|host| host.put(key, value))
    }

    fn delete(&self, key: &str) -> Result<(), Refusal> {
        self.ask(|host| host.delete(key))
    }

    fn scan(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<Entry>, Refusal> {
        self.ask(|host| host.scan(prefix, after, limit))
    }

    fn log(&self, level: Level, text: &str) {
        self.ask(|host| host.log(level, text));
    }

    fn now_ms(&self) -> u64 {
        self.ask(|host| host.now_ms())
    }

    fn random(&self) -> u64 {
        self.ask(|host| host.random())
    }
}
