//! The fields of the broker's frames that Server-Sent Events and long poll need. The rest of a frame is passed on as it is.

use std::borrow::Cow;

use rialto_protocol::{CloseCode, ErrorCode, Failure, Payload, Position};
use serde::Deserialize;

/// The fields of a frame.
#[derive(Debug, Deserialize)]
pub(in crate::server) struct ServerFrame<'f> {
    #[serde(borrow, rename = "type")]
    pub(in crate::server) kind: Cow<'f, str>,
    /// The request that is answered.
    pub(in crate::server) id: Option<usize>,
    #[serde(borrow)]
    pub(in crate::server) topic: Option<Cow<'f, str>>,
    pub(in crate::server) offset: Option<u64>,
    /// The last offset of a gap.
    pub(in crate::server) to: Option<u64>,
    #[serde(borrow)]
    position: Option<PositionFields<'f>>,
    pub(in crate::server) recovered: Option<bool>,
    pub(in crate::server) retry_after_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct PositionFields<'f> {
    #[serde(borrow)]
    epoch: Cow<'f, str>,
    offset: u64,
}

/// The fields of an `error`, and of a `closing`, whose code is a number.
#[derive(Debug, Deserialize)]
struct FailureFields<'f> {
    code: serde_json::Value,
    #[serde(borrow)]
    message: Cow<'f, str>,
    retry_after_ms: Option<u64>,
    detail: Option<serde_json::Value>,
}

impl<'f> ServerFrame<'f> {
    /// None for bytes that are not a frame of this broker.
    pub(in crate::server) fn read(frame: &'f [u8]) -> Option<Self> {
        serde_json::from_slice(frame).ok()
    }

    pub(in crate::server) fn position(&self) -> Option<Position> {
        self.position
            .as_ref()
            .map(|PositionFields { epoch, offset }| Position { epoch: (**epoch).into(), offset: *offset })
    }
}

/// The failure that an `error` or `closing` frame reports.
pub(in crate::server) fn failure(frame: &[u8]) -> Failure {
    let Ok(FailureFields { code, message, retry_after_ms, detail }) = serde_json::from_slice(frame) else {
        return Failure::new(ErrorCode::Internal, "the session could not be started");
    };
    let code = match (code.as_str(), code.as_u64()) {
        (Some(name), _) => ErrorCode::from_name(name).unwrap_or(ErrorCode::Internal),
        (None, Some(number)) if number == u64::from(CloseCode::TooMany.number()) => ErrorCode::TooMany,
        (None, Some(number)) if number == u64::from(CloseCode::Unauthorized.number()) => ErrorCode::Unauthorized,
        (None, Some(number)) if number == u64::from(CloseCode::Kicked.number()) => ErrorCode::Forbidden,
        _ => ErrorCode::Busy,
    };
    let detail = detail.and_then(|detail| Payload::json(&detail).ok());
    Failure { code, message: message.into_owned(), retry_after_ms, detail }
}

/// The failure for a session that ended with nothing but a close code.
pub(in crate::server) fn cut_off(code: Option<u16>) -> Failure {
    if code == Some(CloseCode::MessageTooBig.number()) {
        return Failure::new(ErrorCode::TooLarge, "the request is larger than message_bytes");
    }
    Failure::new(ErrorCode::Busy, "the session ended before it was started").retry_after_ms(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_keep_the_fields_of_the_frame() {
        for (frame, code, retry_after_ms) in [
            (r#"{"type":"error","id":1,"code":"not_found","message":"no"}"#, ErrorCode::NotFound, None),
            (r#"{"type":"closing","code":4005,"message":"no","retry_after_ms":5}"#, ErrorCode::TooMany, Some(5)),
            (r#"{"type":"closing","code":1001,"message":"no","retry_after_ms":5}"#, ErrorCode::Busy, Some(5)),
        ] {
            assert_eq!(
                (failure(frame.as_bytes()).code, failure(frame.as_bytes()).retry_after_ms),
                (code, retry_after_ms)
            );
        }
        let failure = failure(br#"{"code":"rejected","message":"a \"b\"","detail":{"kind":"empty"}}"#);
        assert_eq!(
            (&*failure.message, failure.detail),
            ("a \"b\"", Payload::json(&serde_json::json!({"kind": "empty"})).ok())
        );
    }
}
