//! The effects of hooks, as a test sees them.

use super::Failure;
use crate::message::Raw;
use crate::payload::Payload;
use crate::session::Session;
use serde_json::Value;

/// A message that went out.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The topic it went to.
    pub topic: String,
    /// Its data as plain JSON; bytes are base64 text.
    pub data: Value,
    /// Its data as it was encoded.
    pub payload: Payload,
}

/// Something that a hook asked for and that happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// A message went out.
    Published(Published),
    /// A message was to be removed, if it is kept.
    Removed {
        /// From which topic.
        topic: String,
        /// Its offset.
        offset: u64,
    },
    /// Something was sent to one session.
    Sent {
        /// To whom.
        session: Session,
        /// What.
        what: Sent,
    },
    /// A session was subscribed.
    Subscribed {
        /// Who.
        session: Session,
        /// To which topic.
        topic: String,
    },
    /// A subscription was ended.
    Unsubscribed {
        /// Whose.
        session: Session,
        /// To which topic.
        topic: String,
    },
    /// A session was ended.
    Disconnected {
        /// Who.
        session: Session,
        /// Why.
        reason: String,
    },
    /// A session was to be authenticated. [`Host::authenticated`](super::Host::authenticated) says what came of it.
    Authenticate {
        /// Which one.
        session: Session,
        /// As whom.
        user: String,
        /// By which password or token.
        secret: String,
    },
}

/// What was sent to one session.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sent {
    /// A value.
    Payload {
        /// It as plain JSON; bytes are base64 text.
        data: Value,
        /// It as it was encoded.
        payload: Payload,
    },
    /// A message as it is, on a raw endpoint.
    Raw(Raw),
}

/// What a plugin returned, as plain JSON; bytes become base64 text.
pub(super) fn to_json(payload: Payload) -> Result<Value, Failure> {
    let checked = rialto_protocol::Payload::try_from(payload);
    let checked = checked.map_err(|error| Failure::Failed(format!("invalid return value: {error}")))?;
    Ok(checked_to_json(&checked))
}

pub(super) fn checked_to_json(payload: &rialto_protocol::Payload) -> Value {
    payload.parse().expect("the payload was checked when it was made")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Encoding;
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
            assert_eq!(to_json(payload), Ok(expected));
        }
    }

    #[test]
    fn invalid_payloads_are_refused() {
        let deep = "[".repeat(33) + &"]".repeat(33);
        let table = [
            (json_payload(""), "the value is cut off at byte 0"),
            (json_payload("1 2"), "bytes after the value (byte 2)"),
            (json_payload(&deep), "nested deeper than 32"),
            (msgpack_payload(b"\x01\x02"), "bytes after the value (byte 1)"),
            (msgpack_payload(&[0x91; 40]), "nested deeper than 32"),
            (msgpack_payload(b"\x81\x01\x02"), "a map key is not a string (byte 1)"),
            (msgpack_payload(b"\xcb\x7f\xf0\0\0\0\0\0\0"), "a number is not finite (byte 0)"),
            (msgpack_payload(b"\xd4\x05\x01"), "extension types are not carried (byte 0)"),
        ];
        for (payload, expected) in table {
            let failure = to_json(payload).expect_err(expected);
            assert!(failure.reason().contains(expected), "{failure:?} should contain {expected:?}");
        }
    }
}
