//! Reads a payload as the broker does when it validates one, into plain JSON.

use crate::payload::{Encoding, Payload};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// How deep arrays and maps may nest.
const DEPTH_MAX: u32 = 32;

/// The value of a payload: one value, nested at most 32 deep, finite numbers, text as keys. Bytes become base64 text.
pub(super) fn read(payload: &Payload) -> Result<Value, String> {
    let seed = Checked { depth_left: DEPTH_MAX };
    match payload.encoding {
        Encoding::Bytes => Ok(Value::String(STANDARD.encode(&payload.content))),
        Encoding::Json => {
            let mut reader = serde_json::Deserializer::from_slice(&payload.content);
            let value = seed.deserialize(&mut reader).map_err(|error| error.to_string())?;
            reader.end().map_err(|error| error.to_string())?;
            Ok(value)
        }
        Encoding::Msgpack => {
            let mut rest = payload.content.as_slice();
            let mut reader = rmp_serde::Deserializer::new(&mut rest);
            let value = seed.deserialize(&mut reader).map_err(|error| error.to_string())?;
            if rest.is_empty() { Ok(value) } else { Err(format!("{} bytes after the value", rest.len())) }
        }
    }
}

/// A place in a value, with so many levels still allowed below it.
#[derive(Clone, Copy)]
struct Checked {
    depth_left: u32,
}

impl Checked {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom(format_args!("nested more than {DEPTH_MAX} deep"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a value of JSON or MessagePack without extension types")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom(format_args!("the number {value}")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(STANDARD.encode(value).into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(below)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let below = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            map.insert(key, entries.next_value_seed(below)?);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn json_payload(text: &str) -> Payload {
        Payload { encoding: Encoding::Json, content: text.as_bytes().to_vec() }
    }

    fn msgpack_payload(content: &[u8]) -> Payload {
        Payload { encoding: Encoding::Msgpack, content: content.to_vec() }
    }

    #[test]
    fn valid_payloads_are_read() {
        let deep = "[".repeat(32) + &"]".repeat(32);
        let table = [
            (json_payload(r#"{"a":[1,-1,0.5,null,true,"x"]}"#), json!({"a": [1, -1, 0.5, null, true, "x"]})),
            (json_payload("18446744073709551615"), json!(u64::MAX)),
            (json_payload(&deep), serde_json::from_str(&deep).expect("it is JSON")),
            (msgpack_payload(b"\x81\xa1a\x92\x01\xff"), json!({"a": [1, -1]})),
            (msgpack_payload(b"\xc4\x03\x01\x02\x03"), json!("AQID")),
            (Payload::bytes([1, 2, 3]), json!("AQID")),
        ];
        for (payload, expected) in table {
            assert_eq!(read(&payload), Ok(expected));
        }
    }

    #[test]
    fn invalid_payloads_are_refused() {
        let deep = "[".repeat(33) + &"]".repeat(33);
        let table = [
            (json_payload(""), "EOF while parsing a value at line 1 column 0"),
            (json_payload("1 2"), "trailing characters at line 1 column 3"),
            (json_payload(&deep), "nested more than 32 deep"),
            (msgpack_payload(b"\x01\x02"), "1 bytes after the value"),
            (msgpack_payload(&[0x91; 40]), "nested more than 32 deep"),
            (msgpack_payload(b"\x81\x01\x02"), "invalid type: integer `1`, expected a string"),
            (msgpack_payload(b"\xcb\x7f\xf0\0\0\0\0\0\0"), "the number inf"),
            (msgpack_payload(b"\xd4\x05\x01"), "extension types"),
        ];
        for (payload, expected) in table {
            let problem = read(&payload).expect_err(expected);
            assert!(problem.contains(expected), "{problem:?} should tell of {expected:?}");
        }
    }
}
