//! Requests: what a client asks of the broker, decoded from either codec. It checks shapes, not permissions.

use std::borrow::Cow;

use crate::fields::{Field, Fields, shorten};
use crate::{Codec, Delivery, ErrorCode, Payload, Position};

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

impl<'b> Request<'b> {
    /// Decodes the content of one WebSocket message.
    ///
    /// # Errors
    /// A [`RequestError`] with code `bad_request` that names what is wrong: not a map, a field of the wrong type, a
    /// field missing or standing twice, an unknown type, a value the protocol does not carry, be it in a field that
    /// nothing asks for. Other than that, fields that are unknown or that the operation has no use for are passed over.
    pub fn decode(codec: Codec, frame: &'b [u8]) -> Result<Self, RequestError> {
        let bad = |id, message| RequestError { id, code: ErrorCode::BadRequest, message };
        let (fields, outcome) = Fields::read(codec, frame);
        let id = positive(&fields);
        // A value that breaks a rule does not hide the id, wherever that stands.
        outcome.map_err(|message| bad(id.clone().ok().flatten(), message))?;
        let id = id.map_err(|message| bad(None, message))?;
        let operation = operation(&fields).map_err(|message| bad(id, message))?;
        Ok(Self { id, operation })
    }
}

fn positive(fields: &Fields<'_>) -> Result<Option<u64>, String> {
    let expected = "a positive integer";
    match fields.number(Field::Id, expected)? {
        Some(0) => Err(format!("field \"id\" is not {expected}")),
        id => Ok(id),
    }
}

fn operation<'b>(fields: &Fields<'b>) -> Result<Operation<'b>, String> {
    match &*required(fields, Field::Type)? {
        "connect" => {
            let (token, client) = (fields.text(Field::Token)?, fields.text(Field::Client)?);
            Ok(Operation::Connect(Connect { token, client }))
        }
        "subscribe" => one_or_many(fields, subscribe).map(Operation::Subscribe),
        "unsubscribe" => one_or_many(fields, |item| required(item, Field::Topic)).map(Operation::Unsubscribe),
        "publish" => publish(fields).map(Operation::Publish),
        "call" => call(fields).map(Operation::Call),
        "history" => history(fields).map(Operation::History),
        "presence" => required(fields, Field::Topic).map(Operation::Presence),
        "ping" => Ok(Operation::Ping(fields.payload()?)),
        unknown => Err(format!("type \"{}\" is unknown", shorten(unknown))),
    }
}

/// Reads the fields of one topic, or of each in the list `topics`.
fn one_or_many<'b, T>(fields: &Fields<'b>, read: impl Fn(&Fields<'b>) -> Result<T, String>) -> Result<Vec<T>, String> {
    if fields.has(Field::Topics) && fields.has(Field::Topic) {
        return Err("fields \"topic\" and \"topics\" exclude each other".to_owned());
    }
    match fields.each(Field::Topics, &read)? {
        Some(items) if items.is_empty() => Err("field \"topics\" is empty".to_owned()),
        Some(items) => Ok(items),
        None => Ok(vec![read(fields)?]),
    }
}

fn subscribe<'b>(fields: &Fields<'b>) -> Result<Subscribe<'b>, String> {
    Ok(Subscribe {
        topic: required(fields, Field::Topic)?,
        since: position(fields, Field::Since)?,
        last: fields.number(Field::Last, "a count")?,
        delivery: Delivery::read(fields)?,
        presence: fields.flag(Field::Presence)?.unwrap_or(false),
    })
}

pub(crate) fn history<'b>(fields: &Fields<'b>) -> Result<History<'b>, String> {
    let topic = required(fields, Field::Topic)?;
    let from = match (position(fields, Field::Since)?, position(fields, Field::Before)?) {
        (Some(_), Some(_)) => return Err("fields \"since\" and \"before\" exclude each other".to_owned()),
        (Some(since), None) => Some(HistoryFrom::Since(since)),
        (None, before) => before.map(HistoryFrom::Before),
    };
    Ok(History { topic, from, limit: fields.number(Field::Limit, "a count")? })
}

fn position(fields: &Fields<'_>, field: Field) -> Result<Option<Position>, String> {
    let Some(position) = fields.map(field)? else { return Ok(None) };
    let inside = |message| format!("field \"{}\": {message}", field.name());
    let epoch = required(&position, Field::Epoch).map_err(inside)?.into_owned();
    let offset = position.number(Field::Offset, "a whole number").map_err(inside)?;
    let offset = offset.ok_or_else(|| inside("field \"offset\" is missing".to_owned()))?;
    Ok(Some(Position { epoch: epoch.into(), offset }))
}

pub(crate) fn publish<'b>(fields: &Fields<'b>) -> Result<Publish<'b>, String> {
    let topic = required(fields, Field::Topic)?;
    let payload = fields.payload()?.ok_or("field \"data\" or \"bytes\" is missing")?;
    let key = fields.text(Field::Key)?;
    let echo = fields.flag(Field::Echo)?.unwrap_or(true);
    Ok(Publish { topic, payload, key, echo })
}

pub(crate) fn call<'b>(fields: &Fields<'b>) -> Result<Call<'b>, String> {
    let (topic, plugin) = (fields.text(Field::Topic)?, fields.text(Field::Plugin)?);
    if topic.is_some() == plugin.is_some() {
        return Err("one of the fields \"topic\" and \"plugin\" is needed".to_owned());
    }
    let method = required(fields, Field::Method)?;
    Ok(Call { topic, plugin, method, payload: fields.payload()?, key: fields.text(Field::Key)? })
}

pub(crate) fn required<'b>(fields: &Fields<'b>, field: Field) -> Result<Cow<'b, str>, String> {
    fields.text(field)?.ok_or_else(|| format!("field \"{}\" is missing", field.name()))
}
