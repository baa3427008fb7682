//! The checks before a WebSocket upgrade (RFC 6455 section 4.2), and the origin check of all requests. It only looks at the
//! request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode, Uri, Version};
use rialto_protocol::Codec;
use sha1::{Digest, Sha1};

use crate::config;
use crate::server::http::credentials;
use crate::server::http::refusal::Rejection;

/// The header in which a browser says how the page relates to this server (W3C Fetch Metadata).
const FETCH_SITE: &str = "sec-fetch-site";

/// What RFC 6455 section 1.3 appends to the key.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An accepted upgrade request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Handshake {
    pub(in crate::server) codec: Codec,
    /// Whether the client named the codec as a subprotocol, which the response must then repeat.
    pub(in crate::server) named: bool,
    /// The value of `Sec-WebSocket-Accept`.
    pub(in crate::server) accept: String,
}

/// Checks the head of any request. `takes_body` says whether it may have a body.
///
/// # Errors
/// [`Rejection`] for a body that is not allowed or that has no `Content-Length`, and for anything that a proxy in front could
/// read differently (request smuggling, RFC 9112 sections 3.2 and 6.1).
pub(in crate::server) fn check_head<B>(request: &Request<B>, takes_body: bool) -> Result<(), Rejection> {
    let headers = request.headers();
    let length = headers.contains_key(header::CONTENT_LENGTH).then(|| single(headers, header::CONTENT_LENGTH));
    if takes_body {
        if headers.contains_key(header::TRANSFER_ENCODING) {
            let rejection = Rejection::new(
                StatusCode::LENGTH_REQUIRED,
                "a request body needs Content-Length, not Transfer-Encoding",
            );
            return Err(rejection.with(header::CONNECTION, "close"));
        }
        if length == Some(None) {
            return Err(Rejection::bad("more than one Content-Length header"));
        }
    } else if headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != Some("0")) {
        return Err(Rejection::bad("a request to this path must not have a body"));
    }
    match single(headers, header::HOST) {
        None if request.version() == Version::HTTP_10 && !headers.contains_key(header::HOST) => Ok(()),
        None => Err(Rejection::bad("exactly one Host header is required")),
        Some(host) => check_host(host, request.uri()),
    }
}

/// An absolute request target takes precedence over `Host` (RFC 9112 section 3.2.2), so both must name the same server.
fn check_host(host: &str, target: &Uri) -> Result<(), Rejection> {
    let is_host = |authority: &Authority| {
        let (name, text) = (authority.host(), authority.as_str());
        // A port is digits (RFC 3986 section 3.2.3), which the parser does not check.
        let port = text.strip_prefix(name).map(|rest| rest.strip_prefix(':').map_or(rest.is_empty(), is_digits));
        !name.is_empty() && port == Some(true)
    };
    if !host.parse::<Authority>().is_ok_and(|authority| is_host(&authority)) {
        return Err(Rejection::bad("Host must be a name or an address, with or without a port"));
    }
    match target.authority() {
        Some(authority) if !authority.as_str().eq_ignore_ascii_case(host) => {
            Err(Rejection::bad("the request target does not match the Host header"))
        }
        _ => Ok(()),
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Checks a request for `/ws` that has passed [`check_head`]. `secure` says whether the client's connection is encrypted.
///
/// # Errors
/// [`Rejection`] with the status and a sentence for the author of the client.
pub(in crate::server) fn check_websocket<B>(
    request: &Request<B>,
    rules: &config::Server,
    secure: bool,
) -> Result<Handshake, Rejection> {
    let accept = check_upgrade(request, rules, secure)?;
    let (codec, named) = subprotocol(request.headers())?;
    Ok(Handshake { codec, named, accept })
}

/// Checks a request for a raw endpoint, where no subprotocol is negotiated.
///
/// # Errors
/// As [`check_websocket`].
pub(in crate::server) fn check_raw_endpoint<B>(
    request: &Request<B>,
    rules: &config::Server,
    secure: bool,
) -> Result<Handshake, Rejection> {
    Ok(Handshake { codec: Codec::Json, named: false, accept: check_upgrade(request, rules, secure)? })
}

/// Whether a request asks for an upgrade to WebSocket.
pub(in crate::server) fn wants_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, header::UPGRADE, "websocket")
}

/// Checks all but the subprotocol. Returns the value of `Sec-WebSocket-Accept`.
fn check_upgrade<B>(request: &Request<B>, rules: &config::Server, secure: bool) -> Result<String, Rejection> {
    let headers = request.headers();
    if request.method() != Method::GET {
        let rejection =
            Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed: a WebSocket handshake uses GET");
        return Err(rejection.with(header::ALLOW, "GET"));
    }
    if request.version() != Version::HTTP_11 {
        return Err(Rejection::bad("a WebSocket handshake needs HTTP/1.1"));
    }
    if !has_token(headers, header::UPGRADE, "websocket") || !has_token(headers, header::CONNECTION, "upgrade") {
        let rejection = Rejection::new(StatusCode::UPGRADE_REQUIRED, "this path accepts WebSocket upgrades only");
        return Err(rejection.with(header::UPGRADE, "websocket"));
    }
    let Some(host) = single(headers, header::HOST) else {
        return Err(Rejection::bad("exactly one Host header is required"));
    };
    if single(headers, header::SEC_WEBSOCKET_VERSION) != Some("13") {
        let rejection = Rejection::new(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is required");
        return Err(rejection.with(header::SEC_WEBSOCKET_VERSION, "13"));
    }
    let key = single(headers, header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let Some(key) = key else {
        return Err(Rejection::bad("Sec-WebSocket-Key must be 16 bytes in base64, once"));
    };
    if !headers.contains_key(header::ORIGIN) && rules.require_origin {
        return Err(no_origin());
    }
    check_origin(headers, host, rules, secure)?;
    Ok(accept(key))
}

fn subprotocol(headers: &HeaderMap) -> Result<(Codec, bool), Rejection> {
    // A value that is not text counts as an offer too.
    let mut offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().any(|value| value.to_str().is_err());
    let names = tokens(headers, header::SEC_WEBSOCKET_PROTOCOL);
    for name in names.filter(|name| !name.starts_with(credentials::SUBPROTOCOL)) {
        offered = true;
        if let Some(codec) = Codec::from_subprotocol(name) {
            return Ok((codec, true));
        }
    }
    if offered {
        return Err(Rejection::bad("unsupported subprotocol: use rialto.v1.json or rialto.v1.msgpack"));
    }
    Ok((Codec::Json, false))
}

/// The origin check of a request that browsers send without a preflight: `GET` of a stream or a poll. For a page of another
/// allowed origin it returns that origin, for the CORS header of the response (WHATWG Fetch section 3.2).
///
/// # Errors
/// [`Rejection`] for pages of other origins.
pub(in crate::server) fn check_reader(
    headers: &HeaderMap,
    rules: &config::Server,
    secure: bool,
) -> Result<Option<HeaderValue>, Rejection> {
    let host = single(headers, header::HOST).unwrap_or_default();
    if let Some(origin) = headers.get(header::ORIGIN) {
        check_origin(headers, host, rules, secure)?;
        return Ok(Some(origin.clone()));
    }
    // Browsers omit the origin for the broker's own pages, and for pages that could not read the response.
    match single(headers, HeaderName::from_static(FETCH_SITE)) {
        Some("same-origin") => Ok(None),
        Some("same-site" | "cross-site") => Err(other_origin()),
        _ if rules.require_origin => Err(no_origin()),
        _ => Ok(None),
    }
}

/// The origin check of the HTTP API.
///
/// # Errors
/// [`Rejection`] for pages of other origins.
pub(in crate::server) fn check_program(
    headers: &HeaderMap,
    rules: &config::Server,
    secure: bool,
) -> Result<(), Rejection> {
    check_origin(headers, single(headers, header::HOST).unwrap_or_default(), rules, secure)
}

/// The origin check: a page of another origin (scheme, host and port, RFC 6454) must be in `allowed_origins`.
fn check_origin(headers: &HeaderMap, host: &str, rules: &config::Server, secure: bool) -> Result<(), Rejection> {
    if !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let (scheme, port) = if secure { ("https://", ":443") } else { ("http://", ":80") };
    // Browsers omit the default port from their origin (RFC 6454 section 6.2).
    let host = host.strip_suffix(port).unwrap_or(host);
    let allowed = single(headers, header::ORIGIN).is_some_and(|origin| {
        let own = origin.strip_prefix(scheme).is_some_and(|origin| origin.eq_ignore_ascii_case(host));
        own || rules.allowed_origins.iter().any(|one| one == "*" || one.eq_ignore_ascii_case(origin))
    });
    if allowed { Ok(()) } else { Err(other_origin()) }
}

fn no_origin() -> Rejection {
    Rejection::of_origin("origin check failed: an Origin header is required")
}

fn other_origin() -> Rejection {
    Rejection::of_origin("origin check failed: the origin is not in allowed_origins")
}

fn is_key(key: &str) -> bool {
    BASE64.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(ACCEPT_SUFFIX);
    BASE64.encode(hash.finalize())
}

/// The value of a header that occurs exactly once.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let only = values.next()?;
    if values.next().is_some() {
        return None;
    }
    only.to_str().ok()
}

fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|there| there.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 5] = [
        ("host", "localhost:8080"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn request(change: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri("/ws");
        let kept = GOOD.iter().filter(|(name, _)| change.iter().all(|(other, _)| name != other));
        for (name, value) in kept.chain(change.iter().filter(|(_, value)| !value.is_empty())) {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }

    fn decide(request: &Request<()>, rules: &config::Server, secure: bool) -> Result<Handshake, Rejection> {
        check_head(request, false)?;
        check_websocket(request, rules, secure)
    }

    #[test]
    fn the_example_of_the_rfc_passes() {
        let handshake = decide(&request(&[]), &config::Server::default(), false).expect("passes");
        assert_eq!(
            handshake,
            Handshake { codec: Codec::Json, named: false, accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into() }
        );
    }

    #[test]
    fn each_invalid_handshake_has_its_status() {
        for (change, status) in [
            (&[("upgrade", "")][..], 426),
            (&[("connection", "close")], 426),
            (&[("host", "")], 400),
            (&[("host", "a:80x")], 400),
            (&[("host", "[::1]:80x")], 400),
            (&[("host", "[::1].")], 400),
            (&[("host", "u@a")], 400),
            (&[("host", "a"), ("host", "b")], 400),
            (&[("sec-websocket-version", "8")], 426),
            (&[("sec-websocket-version", "")], 426),
            (&[("sec-websocket-key", "")], 400),
            (&[("sec-websocket-key", "c2hvcnQ=")], 400),
            (&[("sec-websocket-key", "not base64 at all......!")], 400),
            (&[("content-length", "5")], 400),
            (&[("transfer-encoding", "chunked")], 400),
            (&[("sec-websocket-protocol", "mqtt")], 400),
            (&[("origin", "http://evil.example")], 403),
            (&[("origin", "https://localhost:8080")], 403),
            (&[("origin", "http://localhost")], 403),
            (&[("origin", "null")], 403),
        ] {
            let rejection = decide(&request(change), &config::Server::default(), false).expect_err("rejection");
            assert_eq!(rejection.status.as_u16(), status, "{change:?}");
        }
        let mut post = request(&[]);
        *post.method_mut() = Method::POST;
        assert_eq!(
            decide(&post, &config::Server::default(), false).expect_err("rejection").status,
            StatusCode::METHOD_NOT_ALLOWED
        );
        let mut old = request(&[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(
            decide(&old, &config::Server::default(), false).expect_err("rejection").status,
            StatusCode::BAD_REQUEST
        );
    }

    #[test]
    fn origins_and_subprotocols_that_pass() {
        for (change, allowed, codec) in [
            (&[("origin", "http://localhost:8080")][..], "", Codec::Json),
            (&[("origin", "https://app.example")], "https://app.example", Codec::Json),
            (&[("origin", "null")], "*", Codec::Json),
            (&[("sec-websocket-protocol", "mqtt, rialto.v1.msgpack")], "", Codec::MessagePack),
            (&[("sec-websocket-protocol", "rialto.v1.json, rialto.v1.msgpack")], "", Codec::Json),
        ] {
            let rules = config::Server { allowed_origins: vec![allowed.to_owned()], ..config::Server::default() };
            let handshake = decide(&request(change), &rules, false).expect("passes");
            assert_eq!(handshake.codec, codec, "{change:?}");
        }
    }

    #[test]
    fn an_origin_has_a_scheme_and_may_be_required() {
        let rules = config::Server { require_origin: true, ..config::Server::default() };
        for (origin, secure, passes) in [
            ("http://localhost:8080", false, true),
            ("http://localhost:8080", true, false),
            ("https://localhost:8080", true, true),
            ("https://localhost:8080", false, false),
            ("", true, false),
        ] {
            let decided = decide(&request(&[("origin", origin)]), &rules, secure);
            assert_eq!(decided.is_ok(), passes, "{origin} {secure}");
        }
    }

    #[test]
    fn the_target_must_match_the_host() {
        for (target, host, passes) in [
            ("/ws", "a", true),
            ("/ws", "a:8080", true),
            ("/ws", "[::1]:8080", true),
            ("http://a:8080/ws", "a:8080", true),
            ("http://evil.example/ws", "good.example", false),
            ("/ws", "a b/c@d", false),
            ("/ws", "user@a", false),
            ("/ws", "a,b", true),
            ("/ws", "a/b", false),
        ] {
            let mut request = request(&[("host", host)]);
            *request.uri_mut() = target.parse().expect("a target");
            assert_eq!(check_head(&request, false).is_ok(), passes, "{target} {host}");
        }
        let usual = request(&[("host", "a:80"), ("origin", "http://a")]);
        assert!(decide(&usual, &config::Server::default(), false).is_ok());
        assert!(decide(&usual, &config::Server::default(), true).is_err());
    }

    #[test]
    fn requests_that_proxies_could_read_differently_are_rejected() {
        for (change, passes) in [
            (&[][..], true),
            (&[("content-length", "0")], true),
            (&[("content-length", "5")], false),
            (&[("content-length", "0"), ("content-length", "0")], false),
            (&[("content-length", "0"), ("transfer-encoding", "chunked")], false),
            (&[("transfer-encoding", "identity")], false),
            (&[("host", "a"), ("host", "a")], false),
            (&[("host", "")], false),
        ] {
            assert_eq!(check_head(&request(change), false).is_ok(), passes, "{change:?}");
        }
    }

    #[test]
    fn bodies_need_a_content_length_where_they_are_allowed() {
        for (change, status) in [
            (&[("content-length", "5")][..], None),
            (&[], None),
            (&[("content-length", "5"), ("content-length", "5")], Some(400)),
            (&[("transfer-encoding", "chunked")], Some(411)),
            (&[("transfer-encoding", "chunked"), ("content-length", "5")], Some(411)),
        ] {
            let rejection = check_head(&request(change), true).err();
            assert_eq!(rejection.map(|rejection| rejection.status.as_u16()), status, "{change:?}");
        }
    }

    #[test]
    fn streams_are_readable_from_allowed_origins_only() {
        let listed = ["https://app.example".to_owned()];
        for (change, require_origin, expected) in [
            (&[][..], false, Ok(None)),
            (&[], true, Err(())),
            (&[("sec-fetch-site", "same-origin")], true, Ok(None)),
            (&[("sec-fetch-site", "none")], false, Ok(None)),
            (&[("sec-fetch-site", "cross-site")], false, Err(())),
            (&[("sec-fetch-site", "same-site")], false, Err(())),
            (
                &[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")],
                true,
                Ok(Some("https://app.example")),
            ),
            (&[("origin", "https://evil.example")], false, Err(())),
        ] {
            let rules =
                config::Server { allowed_origins: listed.to_vec(), require_origin, ..config::Server::default() };
            let handshake = check_reader(request(change).headers(), &rules, false);
            let expected = expected.map(|origin| origin.map(HeaderValue::from_static));
            assert_eq!(handshake.map_err(|_| ()), expected, "{change:?}");
        }
    }
}
