//! A request that is answered with an error: its status, a sentence for whoever wrote the client, and a header that says
//! more.

use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use rialto_protocol::{Codec, ErrorCode, Failure};

use super::body::{Body, Response};
use super::failure;

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Refused {
    pub(in crate::server) status: StatusCode,
    text: &'static str,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refused {
    pub(in crate::server) fn new(status: StatusCode, text: &'static str) -> Self {
        Self { status, text, header: None }
    }

    pub(in crate::server) fn bad(text: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub(in crate::server) fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, HeaderValue::from_static(value))), ..self }
    }

    /// Something that a client may try again.
    pub(in crate::server) fn later(status: StatusCode, text: &'static str, seconds: u64) -> Self {
        Self { header: Some((header::RETRY_AFTER, seconds.into())), ..Self::new(status, text) }
    }

    /// Whether the broker has no place for who asked.
    pub(in crate::server) fn is_for_want_of_a_place(&self) -> bool {
        [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&self.status)
    }

    /// Whether nothing more is read from who asked: what it sends cannot be trusted, or there is no place for it.
    fn is_last(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST || self.is_for_want_of_a_place()
    }

    /// The answer to a program, to which refusals are failures like all others.
    pub(in crate::server) fn into_failure(self) -> Response {
        let code = match self.status {
            StatusCode::FORBIDDEN => ErrorCode::Forbidden,
            StatusCode::NOT_FOUND => ErrorCode::NotFound,
            StatusCode::TOO_MANY_REQUESTS => ErrorCode::TooMany,
            StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Busy,
            _ => ErrorCode::BadRequest,
        };
        let retry_after = self.header.as_ref().filter(|(name, _)| *name == header::RETRY_AFTER);
        let seconds: Option<u64> = retry_after.and_then(|(_, value)| value.to_str().ok()?.parse().ok());
        let failure =
            Failure { retry_after_ms: seconds.map(|seconds| seconds * 1_000), ..Failure::new(code, self.text) };
        let mut response = failure::respond(&failure, Codec::Json);
        self.finish(&mut response);
        response
    }

    fn finish(self, response: &mut Response) {
        *response.status_mut() = self.status;
        let is_last = self.is_last();
        let headers = response.headers_mut();
        if is_last {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
    }
}

impl From<Refused> for Response {
    fn from(refused: Refused) -> Self {
        let mut response = Response::new(Body::whole(refused.text));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        refused.finish(&mut response);
        response
    }
}
