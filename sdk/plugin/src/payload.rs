//! The data of messages, calls and answers, and its two codecs.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How the content of a [`Payload`] is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// One JSON value (RFC 8259) in UTF-8.
    Json,
    /// One MessagePack value.
    Msgpack,
    /// Opaque bytes.
    Bytes,
}

/// The data of a message, a call or an answer.
///
/// The broker validates what a plugin returns: one value, nested at most 32 deep, finite numbers, string keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Payload {
    /// How `content` is written.
    pub encoding: Encoding,
    /// The encoded value, or the bytes themselves.
    pub content: Vec<u8>,
}

/// Data that is not what the plugin expects. As an [`Error`](crate::Error) it is a rejection that tells the client so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub(crate) String);

/// A value that cannot be encoded. As an [`Error`](crate::Error) it is a failure of the plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot encode: {0}")]
pub struct EncodeError(pub(crate) String);

impl Payload {
    /// Writes `value` as JSON.
    ///
    /// # Errors
    /// When `value` has no JSON form, such as a map whose keys are not text.
    pub fn json(value: &(impl Serialize + ?Sized)) -> Result<Self, EncodeError> {
        let content = serde_json::to_vec(value).map_err(|error| EncodeError(error.to_string()))?;
        Ok(Self { encoding: Encoding::Json, content })
    }

    /// Writes `value` as MessagePack; structs become maps with their field names, as in JSON.
    ///
    /// # Errors
    /// When the `Serialize` of `value` fails.
    pub fn msgpack(value: &(impl Serialize + ?Sized)) -> Result<Self, EncodeError> {
        let mut content = Vec::new();
        // Human-readable, so that a type has the same shape in both codecs.
        let mut writer = rmp_serde::Serializer::new(&mut content).with_struct_map().with_human_readable();
        value.serialize(&mut writer).map_err(|error| EncodeError(error.to_string()))?;
        Ok(Self { encoding: Encoding::Msgpack, content })
    }

    /// Opaque bytes, which no codec looks into.
    pub fn bytes(content: impl Into<Vec<u8>>) -> Self {
        Self { encoding: Encoding::Bytes, content: content.into() }
    }

    /// Writes `value` in the codec of `encoding`; for [`Encoding::Bytes`] that is JSON.
    ///
    /// # Errors
    /// As [`Payload::json`] and [`Payload::msgpack`].
    pub fn encode(encoding: Encoding, value: &(impl Serialize + ?Sized)) -> Result<Self, EncodeError> {
        match encoding {
            Encoding::Json | Encoding::Bytes => Self::json(value),
            Encoding::Msgpack => Self::msgpack(value),
        }
    }

    /// Reads the value, whichever codec it came in.
    ///
    /// # Errors
    /// When the value is not a `T`, or the payload is opaque bytes.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        match self.encoding {
            Encoding::Json => serde_json::from_slice(&self.content).map_err(|error| DecodeError(error.to_string())),
            Encoding::Msgpack => {
                let mut reader = rmp_serde::Deserializer::from_read_ref(&self.content).with_human_readable();
                T::deserialize(&mut reader).map_err(|error| DecodeError(describe(&error)))
            }
            Encoding::Bytes => Err(DecodeError("expected data, got opaque bytes".to_owned())),
        }
    }
}

/// Like serde_json's messages: the codec's own name a marker byte.
fn describe(error: &rmp_serde::decode::Error) -> String {
    use rmp::Marker;
    let rmp_serde::decode::Error::TypeMismatch(marker) = error else { return error.to_string() };
    let found = match marker {
        Marker::Null => "null",
        Marker::True | Marker::False => "a boolean",
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => "a string",
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => "bytes",
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => "a sequence",
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => "a map",
        _ => "a number",
    };
    format!("invalid type: {found}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::net::IpAddr;

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Order {
        id: u64,
        side: Side,
        from: Option<IpAddr>,
        tags: Vec<String>,
    }

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    enum Side {
        Buy,
        Limit { price: f64 },
    }

    #[test]
    fn values_survive_both_codecs() {
        let orders = [
            Order { id: u64::MAX, side: Side::Buy, from: None, tags: vec![] },
            Order {
                id: 1,
                side: Side::Limit { price: 0.1 },
                from: Some([127, 0, 0, 1].into()),
                tags: vec!["ä".into()],
            },
        ];
        for order in orders {
            for encoding in [Encoding::Json, Encoding::Msgpack] {
                let payload = Payload::encode(encoding, &order).expect("an order can be encoded");
                assert_eq!(payload.encoding, encoding);
                assert_eq!(payload.decode::<Order>().expect("what was written is read"), order, "{encoding:?}");
            }
        }
    }

    #[test]
    fn both_codecs_have_the_same_shape() {
        let order = Order { id: 7, side: Side::Limit { price: 2.5 }, from: Some([10, 0, 0, 1].into()), tags: vec![] };
        let shapes = [Encoding::Json, Encoding::Msgpack].map(|encoding| {
            let payload = Payload::encode(encoding, &order).expect("an order can be encoded");
            payload.decode::<serde_json::Value>().expect("any value is read")
        });
        assert_eq!(shapes[0], shapes[1]);
        assert_eq!(shapes[0]["from"], "10.0.0.1");
    }

    #[test]
    fn wrong_data_says_what_is_wrong() {
        let table = [
            (Payload::json(&"x"), "invalid type: string \"x\", expected u64 at line 1 column 3"),
            (Payload::msgpack(&"x"), "invalid type: a string"),
            (Payload::msgpack(&[1]), "invalid type: a sequence"),
            (Ok(Payload::bytes(*b"x")), "expected data, got opaque bytes"),
            (
                Ok(Payload { encoding: Encoding::Json, content: b"1 2".to_vec() }),
                "trailing characters at line 1 column 3",
            ),
        ];
        for (payload, expected) in table {
            let payload = payload.expect("a string can be encoded");
            assert_eq!(payload.decode::<u64>().expect_err(expected).to_string(), expected);
        }
    }
}
