//! Encodes a request in either codec. It checks nothing; the broker does.

use super::{Call, Connect, History, HistoryFrom, Operation, Publish, Request, Subscribe};
use crate::value::{json, msgpack};
use crate::writer::{Writer, write_payload};
use crate::{Codec, Delivery, Position};

impl Request<'_> {
    /// Appends the content of one WebSocket message to `out`: what [`Request::decode`] reads.
    pub fn encode(&self, codec: Codec, out: &mut Vec<u8>) {
        match codec {
            Codec::Json => self.write(&mut json::Writer::new(out)),
            Codec::MessagePack => self.write(&mut msgpack::Writer::new(out)),
        }
    }

    fn write(&self, out: &mut impl Writer) {
        out.map();
        out.text_field("type", self.operation.name());
        if let Some(id) = self.id {
            out.number_field("id", id);
        }
        match &self.operation {
            Operation::Connect(Connect { token, client, instance, user, password }) => {
                write_text(out, "token", token.as_deref());
                write_text(out, "client", client.as_deref());
                write_text(out, "instance", instance.as_deref());
                write_text(out, "user", user.as_deref());
                write_text(out, "password", password.as_deref());
            }
            Operation::Subscribe(topics) => write_one_or_many(out, topics, write_subscribe),
            Operation::Unsubscribe(topics) => {
                write_one_or_many(out, topics, |out, topic| out.text_field("topic", topic));
            }
            Operation::Publish(Publish { topic, payload, key, echo }) => {
                out.text_field("topic", topic);
                write_text(out, "key", key.as_deref());
                if !echo {
                    out.key("echo");
                    out.bool(false);
                }
                write_payload(out, payload);
            }
            Operation::Call(call) => write_call(out, call),
            Operation::History(History { topic, from, limit }) => {
                out.text_field("topic", topic);
                match from {
                    Some(HistoryFrom::Since(position)) => write_at(out, "since", position),
                    Some(HistoryFrom::Before(position)) => write_at(out, "before", position),
                    None => {}
                }
                write_number(out, "limit", *limit);
            }
            Operation::Presence(topic) => out.text_field("topic", topic),
            Operation::Ping(payload) => {
                if let Some(payload) = payload {
                    write_payload(out, payload);
                }
            }
        }
        out.end();
    }
}

impl Operation<'_> {
    /// The `type` of the frame.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe(_) => "unsubscribe",
            Self::Publish(_) => "publish",
            Self::Call(_) => "call",
            Self::History(_) => "history",
            Self::Presence(_) => "presence",
            Self::Ping(_) => "ping",
        }
    }
}

/// One thing stands in the frame itself, several in the list `topics`.
fn write_one_or_many<W: Writer, T>(out: &mut W, items: &[T], write: impl Fn(&mut W, &T)) {
    if let [item] = items {
        write(out, item);
        return;
    }
    out.key("topics");
    out.array();
    for item in items {
        out.map();
        write(out, item);
        out.end();
    }
    out.end();
}

fn write_subscribe(out: &mut impl Writer, subscribe: &Subscribe<'_>) {
    let Subscribe { topic, since, last, delivery, presence } = subscribe;
    out.text_field("topic", topic);
    if let Some(position) = since {
        write_at(out, "since", position);
    }
    write_number(out, "last", *last);
    if let Some(delivery) = delivery {
        write_delivery(out, delivery);
    }
    if *presence {
        out.key("presence");
        out.bool(true);
    }
}

fn write_delivery(out: &mut impl Writer, delivery: &Delivery) {
    let name = delivery.policy().name();
    out.key("delivery");
    match delivery {
        Delivery::Queue | Delivery::DropOldest | Delivery::Latest => return out.text(name),
        Delivery::LatestBy(field) => {
            out.map();
            out.text_field("policy", name);
            out.text_field("field", field.as_str());
        }
        Delivery::Sample { every_ms } => {
            out.map();
            out.text_field("policy", name);
            out.number_field("every_ms", (*every_ms).into());
        }
    }
    out.end();
}

fn write_call(out: &mut impl Writer, call: &Call<'_>) {
    let Call { topic, plugin, method, payload, key } = call;
    write_text(out, "topic", topic.as_deref());
    write_text(out, "plugin", plugin.as_deref());
    out.text_field("method", method);
    write_text(out, "key", key.as_deref());
    if let Some(payload) = payload {
        write_payload(out, payload);
    }
}

fn write_at(out: &mut impl Writer, name: &str, position: &Position) {
    out.key(name);
    out.map();
    out.text_field("epoch", &position.epoch);
    out.number_field("offset", position.offset);
    out.end();
}

fn write_text(out: &mut impl Writer, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        out.text_field(name, text);
    }
}

fn write_number(out: &mut impl Writer, name: &str, number: Option<u64>) {
    if let Some(number) = number {
        out.number_field(name, number);
    }
}
