//! What the rules are applied to: the sessions, state, timers and topics of one instance.

use std::ops::Bound;
use std::sync::Arc;

use rialto_protocol::topic::Topic;

use super::HookLimits;
use crate::{Level, Refusal, Session};

/// What an entry of the state takes in memory beside its key and value, roughly.
const STATE_ENTRY_BYTES: usize = 96;

/// What an entry of the state counts for: its key, its value, and what it takes beside them.
#[must_use]
pub fn state_entry_bytes(key: &str, value: &[u8]) -> usize {
    STATE_ENTRY_BYTES + key.len() + value.len()
}

/// Where a [`HookContext`](super::HookContext) looks things up. It decides nothing about what a hook may do with them.
///
/// # Errors
/// Reads of the state may fail with a [`Refusal`], which the hook gets.
#[allow(clippy::missing_errors_doc, reason = "explained above")]
pub trait HostEnvironment {
    /// The limits of a hook call.
    fn limits(&self) -> HookLimits;

    /// Whether a topic belongs to the plugin.
    fn owns(&self, topic: &Topic) -> bool;

    /// Whether the plugin has the capability for something.
    fn may(&self, permission: Permission<'_>) -> bool;

    /// A session that is on a topic or an endpoint of the plugin.
    fn session(&self, id: &str) -> Option<KnownSession>;

    /// Whether a session is being authenticated: until the hook for that is called.
    fn is_authenticating(&self, session: &str) -> bool;

    /// Calls `visit` with the sessions on a topic, at most `limit`, by id, strictly after `after`, until it refuses one.
    fn visit_members(
        &self,
        topic: &Topic,
        after: Option<&str>,
        limit: usize,
        visit: &mut dyn FnMut(Session) -> Result<(), Refusal>,
    ) -> Result<(), Refusal>;

    /// How many sessions are on a topic.
    fn member_count(&self, topic: &Topic) -> usize;

    /// The value of a key.
    fn value(&self, key: &str) -> Result<Option<Arc<[u8]>>, Refusal>;

    /// The first entry from a key on, in byte order.
    fn next_entry(&self, from: Bound<&str>) -> Result<Option<StateEntry>, Refusal>;

    /// How many bytes the state takes, by [`state_entry_bytes`].
    fn state_bytes(&self) -> Result<usize, Refusal>;

    /// In how many milliseconds a timer is due.
    fn timer_due_ms(&self, name: &str, now: HookTime) -> Option<u64>;

    /// How many timers of the plugin wait.
    fn timer_count(&self) -> usize;

    /// 64 random bits.
    fn random(&self) -> u64;

    /// Writes a line to the log.
    fn log(&self, level: Level, text: &str);
}

/// A key of the state and its value.
pub type StateEntry = (String, Arc<[u8]>);

/// A session that a plugin knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSession {
    /// Its id.
    pub id: Arc<str>,
    /// Whether it is on a raw endpoint.
    pub is_raw: bool,
}

/// Something that needs a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission<'t> {
    /// Keep state.
    State,
    /// Set timers.
    Timers,
    /// List, subscribe, unsubscribe, disconnect and authenticate sessions.
    Sessions,
    /// Publish to a topic that is not the plugin's own.
    Publish(&'t Topic),
    /// Subscribe sessions to a topic that is not the plugin's own.
    Subscribe(&'t Topic),
}

/// The time of a hook call, which stands still while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookTime {
    /// Unix time in milliseconds, which the hook sees.
    pub unix_ms: u64,
    /// The host's monotonic clock in milliseconds, by which timers are due.
    pub monotonic_ms: u64,
}
