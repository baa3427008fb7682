//! What a hook can do besides answering: publish, send, keep state, set timers, move sessions, log, and ask for time and
//! randomness.

use crate::imports::{Imports, Level, Refusal};
use crate::message::Raw;
use crate::payload::Payload;
use crate::session::Session;
use crate::sessions::Sessions;
use crate::state::State;
use serde::Serialize;

/// A hook's way to the broker. Effects are kept back until the hook returns `Ok`.
pub struct Context<'a> {
    imports: &'a dyn Imports,
}

impl<'a> Context<'a> {
    /// A context over a host, for those who run plugins natively.
    pub fn new(imports: &'a dyn Imports) -> Self {
        Self { imports }
    }

    /// Publishes `value` as JSON. A message to a topic of this plugin does not pass through its `on_publish`; any other topic
    /// needs the capability `publish PATTERN`, and if another plugin owns it, that plugin decides on the message. If this
    /// hook decides on a message itself, that message goes out first.
    ///
    /// # Errors
    /// When the topic is not valid or not allowed, `value` cannot be encoded, or a limit is used up. The hook may go on
    /// without the message; with `?` it fails.
    pub fn publish(&self, topic: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Refusal> {
        self.publish_payload(topic, json(value)?)
    }

    /// The same for all but one session.
    ///
    /// # Errors
    /// As [`Context::publish`].
    pub fn publish_except(
        &self,
        session: &Session,
        topic: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), Refusal> {
        self.imports.publish(topic, json(value)?, Some(&session.id))
    }

    /// Publishes a payload that is made already: bytes, MessagePack, or one that came in.
    ///
    /// # Errors
    /// As [`Context::publish`].
    pub fn publish_payload(&self, topic: &str, payload: Payload) -> Result<(), Refusal> {
        self.imports.publish(topic, payload, None)
    }

    /// Takes a message of a topic of this plugin out of the history for good. Subscribers are told that it was removed, and
    /// who reads the past later finds a gap. Nothing happens where no message is kept at this offset. In a component this
    /// needs version 1.1 of the protocol.
    ///
    /// # Errors
    /// When the topic is not this plugin's, the component is built for version 1.0, or a limit is used up.
    pub fn remove(&self, topic: &str, offset: u64) -> Result<(), Refusal> {
        self.imports.remove(topic, offset)
    }

    /// Sends one session that this plugin knows a frame: `value` is a map whose `type` begins with `x-`. A session on a
    /// raw endpoint may be sent any value, which it gets as JSON in a text message.
    ///
    /// # Errors
    /// When the session is not known to this plugin, `value` is no such map or cannot be encoded, or a limit is used up.
    pub fn send(&self, session: &Session, value: &(impl Serialize + ?Sized)) -> Result<(), Refusal> {
        self.imports.send(&session.id, json(value)?)
    }

    /// Sends a payload that is made already.
    ///
    /// # Errors
    /// As [`Context::send`].
    pub fn send_payload(&self, session: &Session, payload: Payload) -> Result<(), Refusal> {
        self.imports.send(&session.id, payload)
    }

    /// Sends a message as it is to a session on a raw endpoint.
    ///
    /// # Errors
    /// When the session is not on a raw endpoint of this plugin, or a limit is used up.
    pub fn send_raw(&self, session: &Session, message: Raw) -> Result<(), Refusal> {
        self.imports.send_raw(&session.id, message)
    }

    /// The sessions that are subscribed to a topic of this plugin, as it was before this hook.
    pub fn sessions(&self, topic: &'a str) -> Sessions<'a> {
        Sessions::new(self.imports, topic)
    }

    /// Subscribes a session that this plugin knows, without asking `on_subscribe`. A topic that is not this plugin's needs
    /// the capability `subscribe PATTERN`.
    ///
    /// # Errors
    /// When session or topic is not allowed, or a limit is used up.
    pub fn subscribe(&self, session: &Session, topic: &str) -> Result<(), Refusal> {
        self.imports.subscribe(&session.id, topic)
    }

    /// Ends a subscription of a session that this plugin knows, without asking `on_unsubscribe`.
    ///
    /// # Errors
    /// As [`Context::subscribe`].
    pub fn unsubscribe(&self, session: &Session, topic: &str) -> Result<(), Refusal> {
        self.imports.unsubscribe(&session.id, topic)
    }

    /// Ends a session that this plugin knows, with close code 4003 and this reason.
    ///
    /// # Errors
    /// When the session is not known to this plugin, or a limit is used up.
    pub fn disconnect(&self, session: &Session, reason: &str) -> Result<(), Refusal> {
        self.imports.disconnect(&session.id, reason)
    }

    /// Sets the timer `name`, replacing one of that name: after at least so many milliseconds (1 to a year) `on_timer` is
    /// called once. Timers outlive the instance.
    ///
    /// # Errors
    /// When the capability `timers` is missing, the name or delay is not valid, or the quota is used up.
    pub fn set_timer(&self, name: &str, delay_ms: u64) -> Result<(), Refusal> {
        self.imports.set_timer(name, delay_ms, None)
    }

    /// The same with data, which the timer brings.
    ///
    /// # Errors
    /// As [`Context::set_timer`]; or `value` cannot be encoded.
    pub fn set_timer_with(&self, name: &str, delay_ms: u64, value: &(impl Serialize + ?Sized)) -> Result<(), Refusal> {
        self.imports.set_timer(name, delay_ms, Some(json(value)?))
    }

    /// Cancels a timer, if there is one of that name.
    ///
    /// # Errors
    /// When the capability `timers` is missing.
    pub fn cancel_timer(&self, name: &str) -> Result<(), Refusal> {
        self.imports.cancel_timer(name)
    }

    /// In how many milliseconds a timer is due, 0 if it is overdue; `None` if there is none of that name.
    ///
    /// # Errors
    /// When the capability `timers` is missing.
    pub fn timer_due_ms(&self, name: &str) -> Result<Option<u64>, Refusal> {
        self.imports.timer_due_ms(name)
    }

    /// A named table of this plugin's state, with values of type `T`. It outlives the instance.
    pub fn state<T>(&self, table: &'a str) -> State<'a, T> {
        State::new(self.imports, table)
    }

    /// Unix time in milliseconds, the same throughout one hook.
    pub fn now_ms(&self) -> u64 {
        self.imports.now_ms()
    }

    /// 64 random bits. They come from the broker, so that a recorded run can be repeated exactly.
    pub fn random(&self) -> u64 {
        self.imports.random()
    }

    /// Writes a line to the operator's log, also when the hook fails afterwards. At most 8 KiB of it are kept.
    pub fn log(&self, level: Level, text: impl AsRef<str>) {
        self.imports.log(level, text.as_ref());
    }

    /// Logs at [`Level::Debug`].
    pub fn debug(&self, text: impl AsRef<str>) {
        self.log(Level::Debug, text);
    }

    /// Logs at [`Level::Info`].
    pub fn info(&self, text: impl AsRef<str>) {
        self.log(Level::Info, text);
    }

    /// Logs at [`Level::Warn`].
    pub fn warn(&self, text: impl AsRef<str>) {
        self.log(Level::Warn, text);
    }

    /// Logs at [`Level::Error`].
    pub fn error(&self, text: impl AsRef<str>) {
        self.log(Level::Error, text);
    }
}

#[cfg(any(not(target_arch = "wasm32"), feature = "v1_1"))]
impl Context<'_> {
    /// Authenticates a session on a raw endpoint of this plugin: once the hook has returned `Ok`, the broker verifies the
    /// secret, which is the user's password or a token of the user, and then calls
    /// [`on_authenticated`](crate::Plugin::on_authenticated). Recordings do not keep the secret of this call.
    ///
    /// Version 1.0 of the plugin protocol does not have it: a component that calls it is built with the feature `v1_1`.
    ///
    /// # Errors
    /// When the session is not on a raw endpoint of this plugin or is being authenticated already, the capability
    /// `sessions` is missing, or a limit is used up.
    pub fn authenticate(&self, session: &Session, user: &str, secret: &str) -> Result<(), Refusal> {
        self.imports.authenticate(&session.id, user, secret)
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> Result<Payload, Refusal> {
    Payload::json(value).map_err(|error| Refusal::Invalid(error.to_string()))
}
