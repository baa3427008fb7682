//! What a hook can do besides answering: publish, keep state, log, and ask for time and randomness.

use crate::imports::{Imports, Level, Refusal};
use crate::payload::Payload;
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

    /// Publishes `value` as JSON to a topic of this plugin. It does not pass through `on_publish`. If this hook decides
    /// on a message itself, that message goes out first.
    ///
    /// # Errors
    /// When the topic is not valid or not this plugin's, `value` cannot be encoded, or a limit is used up. The hook may
    /// go on without the message; with `?` it fails.
    pub fn publish(&self, topic: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Refusal> {
        let payload = Payload::json(value).map_err(|error| Refusal::Invalid(error.to_string()))?;
        self.publish_payload(topic, payload)
    }

    /// Publishes a payload that is made already: bytes, MessagePack, or one that came in.
    ///
    /// # Errors
    /// As [`Context::publish`].
    pub fn publish_payload(&self, topic: &str, payload: Payload) -> Result<(), Refusal> {
        self.imports.publish(topic, payload)
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
