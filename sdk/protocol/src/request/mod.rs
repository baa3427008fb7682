//! Requests: what a client asks of the broker. `decode` is the broker's side, `encode` the client's.

mod decode;
mod encode;

use std::borrow::Cow;

use crate::{Delivery, ErrorCode, Payload, Position};

pub(crate) use self::decode::{call, history, publish, required};

/// Most topics of one request with a list. More topics take more requests: each holds up others as little as any other.
pub const REQUEST_TOPICS_MAX: usize = 128;

/// One request frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'b> {
    /// The number the reply repeats; without one there is no `ok`, but errors are still sent.
    pub id: Option<u64>,
    /// What is asked for.
    pub operation: Operation<'b>,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation<'b> {
    /// Say who is speaking.
    Connect(Connect<'b>),
    /// Receive the messages of topics. Never empty; more than one where the request had a list.
    Subscribe(Vec<Subscribe<'b>>),
    /// No longer receive the messages of these topics.
    Unsubscribe(Vec<Cow<'b, str>>),
    /// Send a message to a topic.
    Publish(Publish<'b>),
    /// Ask a plugin.
    Call(Call<'b>),
    /// Read past messages.
    History(History<'b>),
    /// Ask who is present in this topic.
    Presence(Cow<'b, str>),
    /// Ask for a `pong`.
    Ping(Option<Payload>),
}

/// The fields of `connect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect<'b> {
    /// A token that proves who the session is.
    pub token: Option<Cow<'b, str>>,
    /// Name and version of the client program.
    pub client: Option<Cow<'b, str>>,
    /// A secret that this client made up, the same on all its connections: 22 to 64 random letters, digits, `-` and `_`.
    /// Its idempotency keys belong to it, where the session has no user.
    pub instance: Option<Cow<'b, str>>,
    /// The name of a user with a password, instead of a token.
    pub user: Option<Cow<'b, str>>,
    /// The password of that user.
    pub password: Option<Cow<'b, str>>,
}

impl Connect<'_> {
    /// Whether a text may be an instance. How random it is cannot be seen.
    #[must_use]
    pub fn is_instance(text: &str) -> bool {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (22..=64).contains(&text.len()) && text.bytes().all(fits)
    }
}

/// One topic of a `subscribe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe<'b> {
    /// A topic or a pattern.
    pub topic: Cow<'b, str>,
    /// The last position the client has seen.
    pub since: Option<Position>,
    /// How many past messages to send first.
    pub last: Option<u64>,
    /// The delivery policy; none means the topic's own.
    pub delivery: Option<Delivery>,
    /// Whether joins and leaves are wanted.
    pub presence: bool,
}

/// The fields of `publish`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<'b> {
    /// Where to.
    pub topic: Cow<'b, str>,
    /// What.
    pub payload: Payload,
    /// The idempotency key.
    pub key: Option<Cow<'b, str>>,
    /// Whether the publisher's own session also gets the message.
    pub echo: bool,
}

/// The fields of `call`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'b> {
    /// The topic whose plugin is asked.
    pub topic: Option<Cow<'b, str>>,
    /// The plugin that is asked, when no topic is given.
    pub plugin: Option<Cow<'b, str>>,
    /// What is asked.
    pub method: Cow<'b, str>,
    /// With what.
    pub payload: Option<Payload>,
    /// The idempotency key.
    pub key: Option<Cow<'b, str>>,
}

/// The fields of `history`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<'b> {
    /// Whose messages.
    pub topic: Cow<'b, str>,
    /// Which of them; none means the newest.
    pub from: Option<HistoryFrom>,
    /// How many at most.
    pub limit: Option<u64>,
}

/// Which past messages are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryFrom {
    /// Those after a position, the oldest first.
    Since(Position),
    /// The newest ones before a position.
    Before(Position),
}

/// Why a frame is not a request; to be sent back as an `error` frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct RequestError {
    /// The request's id as far as it could be read.
    pub id: Option<u64>,
    /// The code.
    pub code: ErrorCode,
    /// A sentence for the developer of the client.
    pub message: String,
}
