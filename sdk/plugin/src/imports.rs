//! What a hook can ask of its host, as plain values: the border between the SDK and whatever runs the plugin.

use crate::payload::Payload;

/// The host's side of a hook: the imports of the plugin protocol, one method each.
///
/// Plugins use [`Context`](crate::Context) instead; this trait is for hosts. It is implemented by the WebAssembly
/// guest, by [`testing::Host`](crate::testing::Host) and by a broker that runs a plugin natively. Methods take `&self`:
/// a host keeps the effects of the hook behind a cell.
pub trait Imports {
    /// Publishes to a topic of this plugin once the hook has succeeded.
    ///
    /// # Errors
    /// Any [`Refusal`]; the hook may go on without the message.
    fn publish(&self, topic: &str, payload: Payload) -> Result<(), Refusal>;

    /// The value under a key, including what this hook wrote.
    fn get(&self, key: &str) -> Option<Vec<u8>>;

    /// Writes a value. Keys are 1 to 1,024 bytes.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for the key, [`Refusal::Limit`] for the quota.
    fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Refusal>;

    /// Removes a key, if it exists.
    fn delete(&self, key: &str);

    /// The first entries, at most `limit`, whose keys begin with `prefix`, in byte order, strictly after `after`.
    fn scan(&self, prefix: &str, after: Option<&str>, limit: u32) -> Vec<(String, Vec<u8>)>;

    /// Writes a line to the operator's log, also when the hook fails afterwards. At most 8 KiB are kept.
    fn log(&self, level: Level, text: &str);

    /// Unix time in milliseconds, the same throughout one hook.
    fn now_ms(&self) -> u64;

    /// 64 random bits.
    fn random(&self) -> u64;
}

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

/// Why the host refused a publish or a write. The hook may go on without it, or pass it on with `?` as a failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The topic does not belong to this plugin.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// The topic, the key or the payload is not valid.
    #[error("invalid: {0}")]
    Invalid(String),
    /// The plugin's quota, or a limit of this hook call, is used up.
    #[error("limit: {0}")]
    Limit(String),
}
