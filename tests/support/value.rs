//! Frames of both codecs as JSON values, read and written by libraries that the broker does not use for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rialto::Codec;
use serde_json::{Map, Number, Value, json};

/// The key under which a MessagePack `bin` stands in a JSON value here.
const BIN: &str = "$bin";

/// Writes a value; `{"$bin": base64}` becomes a `bin` in MessagePack.
pub(crate) fn encode(codec: Codec, value: &Value) -> Vec<u8> {
    match codec {
        Codec::Json => serde_json::to_vec(value).expect("a JSON value"),
        Codec::MessagePack => {
            let mut bytes = Vec::new();
            rmpv::encode::write_value(&mut bytes, &to_msgpack(value)).expect("memory takes all");
            bytes
        }
    }
}

/// Reads exactly one value.
pub(crate) fn decode(codec: Codec, mut bytes: &[u8]) -> Value {
    match codec {
        Codec::Json => serde_json::from_slice(bytes).expect("the broker writes valid JSON"),
        Codec::MessagePack => {
            let value = rmpv::decode::read_value(&mut bytes).expect("the broker writes valid MessagePack");
            assert!(bytes.is_empty(), "the broker writes nothing after the value");
            from_msgpack(value)
        }
    }
}

/// The value as a JSON session sees it: a `bin` is its base64 text.
pub(crate) fn plain(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(entries) => match bin(entries) {
            Some(text) => text.into(),
            None => Value::Object(entries.iter().map(|(key, value)| (key.clone(), plain(value))).collect()),
        },
        other => other.clone(),
    }
}

fn bin(entries: &Map<String, Value>) -> Option<&str> {
    if entries.len() == 1 { entries.get(BIN)?.as_str() } else { None }
}

fn to_msgpack(value: &Value) -> rmpv::Value {
    match value {
        Value::Null => rmpv::Value::Nil,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.as_f64().expect("a finite number").into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => rmpv::Value::Array(items.iter().map(to_msgpack).collect()),
        Value::Object(entries) => match bin(entries) {
            Some(text) => rmpv::Value::Binary(BASE64.decode(text).expect("base64")),
            None => {
                let entry = |(key, value): (&String, &Value)| (key.as_str().into(), to_msgpack(value));
                rmpv::Value::Map(entries.iter().map(entry).collect())
            }
        },
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
        rmpv::Value::F32(number) => Number::from_f64(number.into()).expect("a finite number").into(),
        rmpv::Value::F64(number) => Number::from_f64(number).expect("a finite number").into(),
        rmpv::Value::String(text) => text.into_str().expect("UTF-8").into(),
        rmpv::Value::Binary(bytes) => json!({ BIN: BASE64.encode(bytes) }),
        rmpv::Value::Array(items) => items.into_iter().map(from_msgpack).collect(),
        rmpv::Value::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let key = key.as_str().expect("string keys").to_owned();
                assert!(map.insert(key, from_msgpack(value)).is_none(), "the broker writes no key twice");
            }
            map.into()
        }
        rmpv::Value::Ext(..) => panic!("the broker writes no extension types"),
    }
}
