//! Requests that are rejected before they reach an operation: a status, a sentence for the author of the client, and maybe
//! a header such as `Retry-After`.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use rialto_protocol::{Codec, ErrorCode, Failure};

use super::body::{Body, Response};
use super::failure;

/// The rejection of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Rejection {
    pub(in crate::server) status: StatusCode,
    text: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
    /// Whether the origin check failed.
    is_origin: bool,
}

impl Rejection {
    pub(in crate::server) fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, text: text.into(), header: None, is_origin: false }
    }

    /// The origin check failed.
    pub(in crate::server) fn of_origin(text: &'static str) -> Self {
        Self { is_origin: true, ..Self::new(StatusCode::FORBIDDEN, text) }
    }

    pub(in crate::server) fn bad(text: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub(in crate::server) fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, HeaderValue::from_static(value))), ..self }
    }

    /// A rejection that a client may retry, with `Retry-After`.
    pub(in crate::server) fn later(status: StatusCode, text: &'static str, seconds: u64) -> Self {
        Self { header: Some((header::RETRY_AFTER, seconds.into())), ..Self::new(status, text) }
    }

    /// Whether a connection, session or rate limit was reached.
    pub(in crate::server) fn is_limit(&self) -> bool {
        [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&self.status)
    }

    /// A limit that was reached, as text and seconds until the client may try again.
    pub(in crate::server) fn as_limit(&self) -> Option<(Cow<'static, str>, u64)> {
        let (name, value) = self.header.as_ref().filter(|_| self.is_limit())?;
        let seconds = value.to_str().ok().filter(|_| *name == header::RETRY_AFTER)?.parse().ok()?;
        Some((self.text.clone(), seconds))
    }

    /// Whether the origin check failed.
    pub(in crate::server) fn is_origin(&self) -> bool {
        self.is_origin
    }

    /// Whether the connection ends with this response: its bytes cannot be trusted, or a limit was reached.
    fn ends_connection(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST || self.is_limit()
    }

    /// The response of the HTTP API, where rejections have the format of all failures.
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
            Failure { retry_after_ms: seconds.map(|seconds| seconds * 1_000), ..Failure::new(code, self.text.clone()) };
        let mut response = failure::respond(&failure, Codec::Json);
        self.finish(&mut response);
        response
    }

    fn finish(self, response: &mut Response) {
        *response.status_mut() = self.status;
        let ends_connection = self.ends_connection();
        let headers = response.headers_mut();
        if ends_connection {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
    }
}

impl From<Rejection> for Response {
    fn from(rejection: Rejection) -> Self {
        let mut response = Response::new(Body::complete(rejection.text.clone().into_owned()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        rejection.finish(&mut response);
        response
    }
}

/// Adds the CORS headers that let a page of another origin read the response.
pub(in crate::server) fn with_cors(mut response: Response, origin: Option<HeaderValue>) -> Response {
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}
