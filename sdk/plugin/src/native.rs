//! Runs hooks natively, as the broker runs those of a component: a panic is caught with what it says, and a hook that
//! exceeds a limit ends at the host call where it does.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind};
use std::sync::Once;

use crate::imports::{Entry, Imports, Level, Refusal};
use crate::message::Raw;
use crate::payload::Payload;
use crate::session::Session;
use crate::{Context, Result};

thread_local! {
    /// Whether a hook runs on this thread, and what its panic said.
    static IN_HOOK: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Imports that can end a hook.
pub trait Limited: Imports {
    /// Whether the hook must not go on.
    fn is_over(&self) -> bool;
}

/// Why a hook did not return.
#[derive(Debug)]
pub enum Interrupted {
    /// It panicked, with this text, file and line.
    Panicked(String),
    /// [`Limited::is_over`] ended it.
    Over,
}

/// Runs a hook. What it panics with is not printed.
///
/// # Errors
/// [`Interrupted`] when it did not return, or must not have.
pub fn hook<T>(
    host: &(impl Limited + ?Sized),
    hook: impl FnOnce(&mut Context<'_>) -> Result<T>,
) -> std::result::Result<Result<T>, Interrupted> {
    static SPEAK: Once = Once::new();
    SPEAK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match IN_HOOK.get() {
            true => PANIC.set(Some(describe(panic))),
            false => others(panic),
        }));
    });
    IN_HOOK.set(true);
    let ended = until_over(host, hook);
    IN_HOOK.set(false);
    match ended {
        Ok(Some(outcome)) => Ok(outcome),
        Ok(None) => Err(Interrupted::Over),
        Err(_) => Err(Interrupted::Panicked(PANIC.take().unwrap_or_else(|| "panicked".to_owned()))),
    }
}

/// Runs a hook up to the host call at which [`Limited::is_over`] ends it: then it has no outcome.
///
/// # Errors
/// What the hook panicked with.
pub(crate) fn until_over<T>(
    host: &(impl Limited + ?Sized),
    hook: impl FnOnce(&mut Context<'_>) -> Result<T>,
) -> std::result::Result<Option<Result<T>>, Box<dyn Any + Send>> {
    let strict = Strict(host);
    let ended = catch_unwind(AssertUnwindSafe(|| hook(&mut Context::new(&strict))));
    if host.is_over() { Ok(None) } else { ended.map(Some) }
}

/// The text of a panic, in the form that a component logs it.
fn describe(panic: &PanicHookInfo<'_>) -> String {
    let (file, line) = panic.location().map_or(("unknown", 0), |place| (place.file(), place.line()));
    let message = panic.payload_as_str().unwrap_or("a value that is not text");
    format!("panicked at {file}:{line}: {message}")
}

/// A hook ends in the middle.
struct Over;

/// A host whose hooks end where they must not go on.
struct Strict<'h, H: ?Sized>(&'h H);

impl<H: Limited + ?Sized> Strict<'_, H> {
    fn ask<T>(&self, ask: impl FnOnce(&H) -> T) -> T {
        let answer = ask(self.0);
        if self.0.is_over() {
            resume_unwind(Box::new(Over));
        }
        answer
    }
}

impl<H: Limited + ?Sized> Imports for Strict<'_, H> {
    fn publish(&self, topic: &str, payload: Payload, exclude: Option<&str>) -> Result<(), Refusal> {
        self.ask(|host| host.publish(topic, payload, exclude))
    }

    fn remove(&self, topic: &str, offset: u64) -> Result<(), Refusal> {
        self.ask(|host| host.remove(topic, offset))
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

    fn authenticate(&self, session: &str, user: &str, secret: &str) -> Result<(), Refusal> {
        self.ask(|host| host.authenticate(session, user, secret))
    }
}
