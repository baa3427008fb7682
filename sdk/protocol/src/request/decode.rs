//! Decodes a request from either codec. It checks shapes, not permissions.

use std::borrow::Cow;

use super::{
    Call, Connect, History, HistoryFrom, Operation, Publish, REQUEST_TOPICS_MAX, Request, RequestError, Subscribe,
};
use crate::fields::{Field, Fields, shorten};
use crate::{Codec, Delivery, ErrorCode, Position};

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
            let instance = fields.text(Field::Instance)?;
            if instance.as_ref().is_some_and(|instance| !Connect::is_instance(instance)) {
                return Err("field \"instance\" is not 22 to 64 letters, digits, `-` or `_`".to_owned());
            }
            let (user, password) = (fields.text(Field::User)?, fields.text(Field::Password)?);
            match (&token, &user, &password) {
                (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                    Err("a \"token\" and a \"user\" with a \"password\" do not go together".to_owned())
                }
                (_, Some(_), None) | (_, None, Some(_)) => Err("\"user\" and \"password\" go together".to_owned()),
                _ => Ok(Operation::Connect(Connect { token, client, instance, user, password })),
            }
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
    match fields.each(Field::Topics, REQUEST_TOPICS_MAX, &read)? {
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
