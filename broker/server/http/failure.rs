//! Failed operations as HTTP responses: the error code becomes the status, its fields the body. `refusal` is for requests
//! that are rejected before they reach an operation.

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use rialto_protocol::{ApiAnswer, Codec, ErrorCode, Failure};

use super::body::{Body, Response};

/// The content type of each codec; MessagePack has several names.
const JSON: &str = "application/json";
const MESSAGE_PACK: [&str; 3] = ["application/msgpack", "application/x-msgpack", "application/vnd.msgpack"];

/// A response in one of the codecs.
pub(in crate::server) fn answer(status: StatusCode, codec: Codec, answer: &ApiAnswer<'_>) -> Response {
    let mut bytes = Vec::new();
    answer.encode(codec, &mut bytes);
    let mut response = Response::new(Body::complete(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(codec)));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The response to a request that failed.
pub(in crate::server) fn respond(failure: &Failure, codec: Codec) -> Response {
    let mut response = answer(status(failure.code), codec, &ApiAnswer::Failure(failure));
    if let Some(retry_after_ms) = failure.retry_after_ms {
        response.headers_mut().insert(header::RETRY_AFTER, retry_after_ms.div_ceil(1_000).max(1).into());
    }
    response
}

/// The codec of a content type; its parameters are ignored.
pub(in crate::server) fn codec_of(content_type: &str) -> Option<Codec> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(JSON) {
        return Some(Codec::Json);
    }
    MESSAGE_PACK.iter().any(|name| essence.eq_ignore_ascii_case(name)).then_some(Codec::MessagePack)
}

pub(in crate::server) fn content_type(codec: Codec) -> &'static str {
    match codec {
        Codec::Json => JSON,
        Codec::MessagePack => MESSAGE_PACK[0],
    }
}

fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::TooMany | ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Expired => StatusCode::GONE,
        ErrorCode::KeyReused => StatusCode::CONFLICT,
        ErrorCode::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::PluginFailed => StatusCode::BAD_GATEWAY,
        ErrorCode::Unavailable => StatusCode::NOT_IMPLEMENTED,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_become_a_status_and_a_retry_after() {
        for (failure, status, retry) in [
            (Failure::new(ErrorCode::Busy, "later").retry_after_ms(1), 503, Some("1")),
            (Failure::new(ErrorCode::TooMany, "later").retry_after_ms(1_001), 429, Some("2")),
            (Failure::new(ErrorCode::KeyReused, "no"), 409, None),
        ] {
            let response = respond(&failure, Codec::Json);
            assert_eq!(response.status().as_u16(), status);
            let retry_after = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().expect("ascii"));
            assert_eq!(retry_after, retry);
        }
    }

    #[test]
    fn content_types_name_a_codec() {
        for (name, codec) in [
            ("application/json", Some(Codec::Json)),
            ("Application/JSON; charset=utf-8", Some(Codec::Json)),
            ("application/msgpack", Some(Codec::MessagePack)),
            ("application/vnd.msgpack", Some(Codec::MessagePack)),
            ("application/jsonp", None),
            ("text/plain", None),
            ("", None),
        ] {
            assert_eq!(codec_of(name), codec, "{name}");
        }
    }
}
