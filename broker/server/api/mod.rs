//! The HTTP API for programs: authentication, the codec, and the body within its limits. The requests themselves are
//! carried out by `operations`.

mod keys;
mod operations;
mod plugins;
mod reload;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use rialto_protocol::{ApiOperation, ApiRequest, Codec, ErrorCode, Failure};

use super::Front;
use super::http::body::{Body, Response};
use super::http::failure;
use crate::access;
use crate::config::{self, ActiveConfig, Limits};

const ROOT: &str = "/api/";
const VERSION: &str = "v1/";
const DOCUMENT: &str = "openapi.json";

/// The description of this API (OpenAPI 3.1).
const OPENAPI: &str = include_str!("openapi.json");

/// What a body may hold besides the payload: the names of its fields, a topic, a key.
const FIELD_BYTES_MAX: usize = 4 * 1024;
/// The same for the topics of a broadcast.
const TOPICS_BYTES_MAX: usize = 320 * 1024;
/// The longest token that a configuration can allow.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// The HTTP API.
#[derive(Debug)]
pub(super) struct Api {
    authentication: Authentication,
}

/// How a request shows which program it is from.
#[derive(Debug)]
enum Authentication {
    /// By one of the keys of the configuration.
    Keys,
    /// Not at all: the listener is open to the operator only, and every request counts as made with this key.
    Operator(config::ApiKey),
}

/// A failure, and whether the connection has to end because the request's body was not read.
struct Fault {
    failure: Failure,
    status: Option<StatusCode>,
    codec: Codec,
    is_last: bool,
}

/// Whether a path is one of this API's.
pub(super) fn is_for(path: &str) -> bool {
    path.starts_with(ROOT)
}

/// The methods of a path of this API, as `Allow` names them.
pub(super) fn methods(path: &str) -> &'static str {
    let is_document = path.strip_prefix(ROOT).and_then(|path| path.strip_prefix(VERSION)) == Some(DOCUMENT);
    if is_document { "GET, HEAD, OPTIONS" } else { "POST, OPTIONS" }
}

impl Api {
    /// For programs, which need a key of the configuration.
    pub(super) fn of_programs() -> Self {
        Self { authentication: Authentication::Keys }
    }

    /// For the operator, who needs no key and may do everything.
    pub(super) fn of_operator() -> Self {
        Self { authentication: Authentication::Operator(keys::operator()) }
    }

    /// Answers a request to a path of this API.
    pub(super) async fn answer(&self, front: &Front, config: &ActiveConfig, request: Request<Incoming>) -> Response {
        let name = request.uri().path().strip_prefix(ROOT).and_then(|path| path.strip_prefix(VERSION));
        match name {
            Some(DOCUMENT) => document(request.method()),
            Some(name) => match ApiOperation::from_name(name) {
                Some(operation) if request.method() == Method::POST => {
                    self.carry_out(front, config, operation, request).await.unwrap_or_else(Fault::into_response)
                }
                Some(_) => wrong_method("POST"),
                None => unknown(),
            },
            None => unknown(),
        }
    }

    async fn carry_out(
        &self,
        front: &Front,
        config: &ActiveConfig,
        operation: ApiOperation,
        request: Request<Incoming>,
    ) -> Result<Response, Fault> {
        let headers = request.headers();
        let requested = codec(headers);
        let fault = |failure| Fault::new(failure, requested.unwrap_or(Codec::Json));
        let fail = |code, message: &str| fault(Failure::new(code, message));
        let found = match &self.authentication {
            Authentication::Keys => keys::find(config.api.as_ref().map_or(&[][..], |api| &api.keys[..]), headers),
            Authentication::Operator(operator) => Some(operator),
        };
        let Some(key) = found else {
            return Err(fail(ErrorCode::Unauthorized, "authentication required: send Authorization: Bearer KEY").last());
        };
        access::check_operation(key, operation).map_err(|failure| fault(failure).last())?;
        let Some(codec) = requested else {
            let message = "the Content-Type must be application/json or application/msgpack";
            return Err(fail(ErrorCode::BadRequest, message).status(StatusCode::UNSUPPORTED_MEDIA_TYPE).last());
        };
        let body = read(&config.limits, operation, request).await.map_err(|fault| Fault { codec, ..fault })?;
        let decoded = ApiRequest::decode(operation, codec, &body);
        let request = decoded.map_err(|message| fail(ErrorCode::BadRequest, &message))?;
        tracing::debug!(key = key.name, operation = operation.name(), "API request");
        let result = operations::carry_out(&front.broker, key, request).await;
        let result = result.map_err(|failure| Fault::new(failure, codec))?;
        Ok(failure::answer(StatusCode::OK, codec, &result.as_answer()))
    }
}

/// Reads a body, which must announce its length, keep to the limit and arrive in time.
async fn read(limits: &Limits, operation: ApiOperation, request: Request<Incoming>) -> Result<Bytes, Fault> {
    let fail = |code, message: String| Fault::new(Failure::new(code, message), Codec::Json).last();
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let Some(length) = length.and_then(|length| length.parse::<usize>().ok()) else {
        let fault = fail(ErrorCode::BadRequest, "a body needs a Content-Length".to_owned());
        return Err(fault.status(StatusCode::LENGTH_REQUIRED));
    };
    let most = body_bytes_max(limits.message_bytes, operation);
    let too_large = || fail(ErrorCode::TooLarge, format!("the body exceeds {most} bytes"));
    if length > most {
        return Err(too_large());
    }
    let deadline = Duration::from_millis(limits.frame_ms);
    match tokio::time::timeout(deadline, Limited::new(request.into_body(), most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(fail(ErrorCode::BadRequest, "the body ended before its length".to_owned())),
        Err(_) => {
            let fault = fail(ErrorCode::BadRequest, "the body did not arrive in time".to_owned());
            Err(fault.status(StatusCode::REQUEST_TIMEOUT))
        }
    }
}

fn body_bytes_max(message_bytes: usize, operation: ApiOperation) -> usize {
    match operation {
        ApiOperation::Broadcast => message_bytes + TOPICS_BYTES_MAX,
        ApiOperation::Publish | ApiOperation::Call => message_bytes + FIELD_BYTES_MAX,
        // It may have a token.
        ApiOperation::Explain => TOKEN_BYTES_MAX + FIELD_BYTES_MAX,
        _ => FIELD_BYTES_MAX,
    }
}

/// The codec of a body; none for an unknown media type or a body with a content encoding.
fn codec(headers: &HeaderMap) -> Option<Codec> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return None;
    }
    failure::codec_of(headers.get(header::CONTENT_TYPE)?.to_str().ok()?)
}

fn document(method: &Method) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return wrong_method("GET, HEAD");
    }
    let mut response = Response::new(Body::complete(OPENAPI));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn unknown() -> Response {
    failure::respond(&Failure::new(ErrorCode::NotFound, "the API has no such operation"), Codec::Json)
}

fn wrong_method(allow: &'static str) -> Response {
    let failure = Failure::new(ErrorCode::BadRequest, format!("method not allowed: use {allow}"));
    let mut response = failure::respond(&failure, Codec::Json);
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    // Its body, if there is one, is not read.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

impl Fault {
    fn new(failure: Failure, codec: Codec) -> Self {
        Self { failure, status: None, codec, is_last: false }
    }

    /// Ends the connection after the answer: the body is not read, so no later request can be.
    fn last(self) -> Self {
        Self { is_last: true, ..self }
    }

    fn status(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    fn into_response(self) -> Response {
        let mut response = failure::respond(&self.failure, self.codec);
        if let Some(status) = self.status {
            *response.status_mut() = status;
        }
        if self.is_last {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
