//! What a hook can ask of its host, as plain values: the border between the SDK and whatever runs the plugin.

use crate::message::Raw;
use crate::payload::Payload;
use crate::session::Session;

/// The host's side of a hook: the imports of the plugin protocol, one method each.
///
/// Plugins use [`Context`](crate::Context) instead; this trait is for hosts. It is implemented by the WebAssembly
/// guest, by [`testing::Host`](crate::testing::Host) and by a broker that runs a plugin natively. Methods take `&self`:
/// a host keeps the effects of the hook behind a cell.
///
/// # Errors
/// Each method that returns a [`Refusal`] refuses what the plugin may not do or what is not valid; the hook may go on
/// without it.
pub trait Imports {
    /// Publishes to a topic once the hook has succeeded; the session `exclude` does not get the message.
    ///
    /// # Errors
    /// Any [`Refusal`].
    fn publish(&self, topic: &str, payload: Payload, exclude: Option<&str>) -> Result<(), Refusal>;

    /// Removes a message of a topic of this plugin for good, if it is kept.
    ///
    /// # Errors
    /// Any [`Refusal`]; [`Refusal::Forbidden`] also for a component that is built for version 1.0 of the protocol.
    fn remove(&self, topic: &str, offset: u64) -> Result<(), Refusal>;

    /// Sends a frame to one session.
    ///
    /// # Errors
    /// Any [`Refusal`].
    fn send(&self, session: &str, payload: Payload) -> Result<(), Refusal>;

    /// Sends a message as it is to a session on a raw endpoint.
    ///
    /// # Errors
    /// Any [`Refusal`].
    fn send_raw(&self, session: &str, message: Raw) -> Result<(), Refusal>;

    /// The sessions subscribed to a topic of this plugin, at most `limit`, by id, strictly after `after`.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a topic that is not this plugin's.
    fn sessions(&self, topic: &str, after: Option<&str>, limit: u32) -> Result<Vec<Session>, Refusal>;

    /// How many sessions are subscribed to a topic of this plugin.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a topic that is not this plugin's.
    fn session_count(&self, topic: &str) -> Result<u64, Refusal>;

    /// Subscribes a session to a topic.
    ///
    /// # Errors
    /// Any [`Refusal`].
    fn subscribe(&self, session: &str, topic: &str) -> Result<(), Refusal>;

    /// Ends a subscription of a session.
    ///
    /// # Errors
    /// Any [`Refusal`].
    fn unsubscribe(&self, session: &str, topic: &str) -> Result<(), Refusal>;

    /// Ends a session.
    ///
    /// # Errors
    /// Any [`Refusal`].
    fn disconnect(&self, session: &str, reason: &str) -> Result<(), Refusal>;

    /// Sets a timer, replacing one of that name.
    ///
    /// # Errors
    /// Any [`Refusal`].
    fn set_timer(&self, name: &str, delay_ms: u64, payload: Option<Payload>) -> Result<(), Refusal>;

    /// Cancels a timer, if there is one of that name.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] without the capability `timers`.
    fn cancel_timer(&self, name: &str) -> Result<(), Refusal>;

    /// In how many milliseconds a timer is due, including what this hook set and cancelled.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] without the capability `timers`.
    fn timer_due_ms(&self, name: &str) -> Result<Option<u64>, Refusal>;

    /// The value under a key, including what this hook wrote.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] without the capability `state`.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal>;

    /// Writes a value. Keys are 1 to 1,024 bytes.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for the key, [`Refusal::Limit`] for the quota, [`Refusal::Forbidden`] without the capability.
    fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Refusal>;

    /// Removes a key, if it exists.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] without the capability `state`.
    fn delete(&self, key: &str) -> Result<(), Refusal>;

    /// The first entries, at most `limit`, whose keys begin with `prefix`, in byte order, strictly after `after`.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] without the capability `state`.
    fn scan(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<Entry>, Refusal>;

    /// Writes a line to the operator's log, also when the hook fails afterwards. At most 8 KiB are kept.
    fn log(&self, level: Level, text: &str);

    /// Unix time in milliseconds, the same throughout one hook.
    fn now_ms(&self) -> u64;

    /// 64 random bits.
    fn random(&self) -> u64;

    /// Authenticates a session on a raw endpoint. Version 1.0 of the plugin protocol does not have it.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for another session or without the capability `sessions`, [`Refusal::Limit`] where the session
    /// is being authenticated already.
    #[cfg(any(not(target_arch = "wasm32"), feature = "v1_1"))]
    fn authenticate(&self, session: &str, user: &str, secret: &str) -> Result<(), Refusal>;
}

/// A key of the state and its value.
pub type Entry = (String, Vec<u8>);

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For the plugin's author.
    Debug,
    /// For the operator who wants to know.
    Info,
    /// Something the operator should look at.
    Warn,
    /// Something is broken.
    Error,
}

/// Why the host refused a call. The hook may go on without it, or pass it on with `?` as a failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The topic or session is not this plugin's, or the plugin lacks the capability.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// A topic, key, name or payload is not valid.
    #[error("invalid: {0}")]
    Invalid(String),
    /// A quota of the plugin, or a limit of this hook call, is used up.
    #[error("limit: {0}")]
    Limit(String),
}
