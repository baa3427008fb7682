//! What a decoded request means, as one JSON value without a trace of its codec.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rialto_protocol::{Delivery, Encoding, HistoryFrom, Operation, Payload, Position, Request, Subscribe};
use serde_json::{Map, Number, Value, json};

/// The request as a frame would say it, everything that has a default said.
pub(crate) fn meaning(request: &Request<'_>) -> Value {
    let mut frame = match &request.operation {
        Operation::Connect(connect) => {
            let mut frame = json!({"type": "connect"});
            set(&mut frame, "token", connect.token.as_deref());
            set(&mut frame, "client", connect.client.as_deref());
            set(&mut frame, "instance", connect.instance.as_deref());
            set(&mut frame, "user", connect.user.as_deref());
            set(&mut frame, "password", connect.password.as_deref());
            frame
        }
        Operation::Subscribe(topics) => {
            json!({"type": "subscribe", "topics": topics.iter().map(subscribed).collect::<Value>()})
        }
        Operation::Unsubscribe(topics) => {
            json!({"type": "unsubscribe", "topics": topics.iter().map(|topic| json!({"topic": topic})).collect::<Value>()})
        }
        Operation::Publish(publish) => {
            let mut frame = json!({"type": "publish", "topic": publish.topic, "echo": publish.echo});
            set(&mut frame, "key", publish.key.as_deref());
            set_payload(&mut frame, Some(&publish.payload));
            frame
        }
        Operation::Call(call) => {
            let mut frame = json!({"type": "call", "method": call.method});
            set(&mut frame, "topic", call.topic.as_deref());
            set(&mut frame, "plugin", call.plugin.as_deref());
            set(&mut frame, "key", call.key.as_deref());
            set_payload(&mut frame, call.payload.as_ref());
            frame
        }
        Operation::History(history) => {
            let mut frame = json!({"type": "history", "topic": history.topic});
            match &history.from {
                Some(HistoryFrom::Since(since)) => frame["since"] = position(since),
                Some(HistoryFrom::Before(before)) => frame["before"] = position(before),
                None => {}
            }
            set(&mut frame, "limit", history.limit);
            frame
        }
        Operation::Presence(topic) => json!({"type": "presence", "topic": topic}),
        Operation::Ping(payload) => {
            let mut frame = json!({"type": "ping"});
            set_payload(&mut frame, payload.as_ref());
            frame
        }
    };
    set(&mut frame, "id", request.id);
    frame
}

fn set(frame: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        frame[name] = value.into();
    }
}

fn set_payload(frame: &mut Value, payload: Option<&Payload>) {
    if let Some(payload) = payload {
        let name = if payload.encoding() == Encoding::Bytes { "bytes" } else { "data" };
        frame[name] = content(payload);
    }
}

fn subscribed(subscribe: &Subscribe<'_>) -> Value {
    let mut topic = json!({"topic": subscribe.topic, "presence": subscribe.presence});
    set(&mut topic, "last", subscribe.last);
    set(&mut topic, "delivery", subscribe.delivery.as_ref().map(delivery));
    set(&mut topic, "since", subscribe.since.as_ref().map(position));
    topic
}

fn position(position: &Position) -> Value {
    json!({"epoch": &*position.epoch, "offset": position.offset})
}

fn delivery(delivery: &Delivery) -> Value {
    let name = delivery.policy().name();
    match delivery {
        Delivery::LatestBy(pointer) => json!({"policy": name, "field": pointer.as_str()}),
        Delivery::Sample { every_ms } => json!({"policy": name, "every_ms": every_ms}),
        _ => name.into(),
    }
}

/// What a JSON session sees of a payload, by readers that are not under test.
pub(crate) fn content(payload: &Payload) -> Value {
    match payload.encoding() {
        Encoding::Json => serde_json::from_slice(payload.content()).expect("a payload is JSON"),
        Encoding::Bytes => BASE64.encode(payload.content()).into(),
        Encoding::MessagePack => {
            let mut bytes = &payload.content()[..];
            let value = rmpv::decode::read_value(&mut bytes).expect("a payload is MessagePack");
            assert!(bytes.is_empty(), "bytes after the payload");
            from_msgpack(value)
        }
    }
}

fn from_msgpack(value: rmpv::Value) -> Value {
    match value {
        rmpv::Value::Nil => Value::Null,
        rmpv::Value::Boolean(flag) => flag.into(),
        rmpv::Value::Integer(number) => match number.as_u64() {
            Some(number) => number.into(),
            None => number.as_i64().expect("64 bits").into(),
        },
        rmpv::Value::F32(number) => Number::from_f64(number.into()).expect("finite").into(),
        rmpv::Value::F64(number) => Number::from_f64(number).expect("finite").into(),
        rmpv::Value::String(text) => text.into_str().expect("UTF-8").into(),
        rmpv::Value::Binary(bytes) => BASE64.encode(bytes).into(),
        rmpv::Value::Array(items) => items.into_iter().map(from_msgpack).collect(),
        rmpv::Value::Map(entries) => {
            let entry = |(key, value): (rmpv::Value, rmpv::Value)| {
                (key.as_str().expect("a text as key").to_owned(), from_msgpack(value))
            };
            Value::Object(entries.into_iter().map(entry).collect::<Map<_, _>>())
        }
        rmpv::Value::Ext(..) => panic!("an extension in a payload"),
    }
}
