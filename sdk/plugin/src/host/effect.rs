//! What a hook asked for, as a host commits it once the hook has returned `ok`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rialto_protocol::Payload;
use rialto_protocol::topic::Topic;

/// One effect of a hook. Effects happen in the order in which the hook asked for them.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are explained with their variants")]
pub enum Effect {
    /// A message to a topic of the plugin (`own`), or to another one; the session `exclude` does not get it.
    Publish { topic: Topic, payload: Payload, exclude: Option<Arc<str>>, own: bool },
    /// A message of a topic of the plugin is to be removed.
    Remove { topic: Topic, offset: u64 },
    /// A message to one session.
    Send { session: Arc<str>, what: SessionMessage },
    /// A session is to be subscribed to a topic of the plugin (`own`), or to another one.
    Subscribe { session: Arc<str>, topic: Topic, own: bool },
    /// A subscription is to end.
    Unsubscribe { session: Arc<str>, topic: Topic, own: bool },
    /// A session is to be disconnected.
    Disconnect { session: Arc<str>, reason: String },
    /// A session on a raw endpoint is to be authenticated.
    Authenticate { session: Arc<str>, credentials: Credentials },
}

/// A user, and what is to show that a session is that user's. What shows it does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// A password or a token.
    pub secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A message to one session.
#[derive(Clone, Debug)]
pub enum SessionMessage {
    /// A frame, or a bare value on a raw endpoint.
    Payload(Payload),
    /// A text message on a raw endpoint.
    Text(String),
    /// A binary message on a raw endpoint.
    Binary(Bytes),
}

/// A timer as a hook has set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerWrite {
    /// When it is due, Unix milliseconds.
    pub due_unix_ms: u64,
    /// What its hook is called with.
    pub payload: Option<Payload>,
}

/// All that a hook asked for.
#[derive(Clone, Debug)]
pub struct HookOutput {
    /// The effects, in order.
    pub effects: Vec<Effect>,
    /// What each key of the state is to be; none removes it.
    pub values: BTreeMap<String, Option<Arc<[u8]>>>,
    /// What each timer is to be; none cancels it.
    pub timers: BTreeMap<String, Option<TimerWrite>>,
    /// How many plugins the event of this hook passed through.
    pub hops: u8,
}
