//! The upgrade gate: decides before any 101 whether a request may become a WebSocket (RFC 6455 section 4.2). It only
//! looks at the request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode, Uri, Version};
use rialto_protocol::Codec;
use sha1::{Digest, Sha1};

use crate::server::http::refusal::Refused;

/// Where a browser says whose page asks (W3C Fetch Metadata).
const FETCH_SITE: &str = "sec-fetch-site";

/// What RFC 6455 section 1.3 appends to the key.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request that may be upgraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Handshake {
    pub(in crate::server) codec: Codec,
    /// Whether the client asked for the codec by subprotocol, so that the answer must name it.
    pub(in crate::server) named: bool,
    /// The value of `Sec-WebSocket-Accept`.
    pub(in crate::server) accept: String,
}

/// Who may connect.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Rules {
    /// Browser origins besides the broker's own.
    pub(in crate::server) allowed_origins: Vec<String>,
    /// Whether those who send no `Origin`, which are no browsers, are turned away.
    pub(in crate::server) require_origin: bool,
}

/// Checks what holds for every request, whatever it is for. `takes_body` says whether it may have a body.
///
/// # Errors
/// [`Refused`] for a body that is not wanted or whose length is not told beforehand, and for anything about which a proxy in
/// front of us could be of another opinion (RFC 9112 sections 3.2 and 6.1).
pub(in crate::server) fn check_head<B>(request: &Request<B>, takes_body: bool) -> Result<(), Refused> {
    let headers = request.headers();
    let length = headers.contains_key(header::CONTENT_LENGTH).then(|| single(headers, header::CONTENT_LENGTH));
    if takes_body {
        if headers.contains_key(header::TRANSFER_ENCODING) {
            let refused =
                Refused::new(StatusCode::LENGTH_REQUIRED, "a body needs a Content-Length, not Transfer-Encoding");
            return Err(refused.with(header::CONNECTION, "close"));
        }
        if length == Some(None) {
            return Err(Refused::bad("one Content-Length is enough"));
        }
    } else if headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != Some("0")) {
        return Err(Refused::bad("a request to this address has no body"));
    }
    match single(headers, header::HOST) {
        None if request.version() == Version::HTTP_10 && !headers.contains_key(header::HOST) => Ok(()),
        None => Err(Refused::bad("exactly one Host header is needed")),
        Some(host) => check_host(host, request.uri()),
    }
}

/// The target of a request says where it is for before `Host` does (RFC 9112 section 3.2.2), so they must say the same.
fn check_host(host: &str, target: &Uri) -> Result<(), Refused> {
    let is_host = |authority: &Authority| !authority.as_str().contains('@') && !authority.host().is_empty();
    if !host.parse::<Authority>().is_ok_and(|authority| is_host(&authority)) {
        return Err(Refused::bad("Host must be a name or an address, with or without a port"));
    }
    match target.authority() {
        Some(authority) if !authority.as_str().eq_ignore_ascii_case(host) => {
            Err(Refused::bad("the address of the request is not that of its Host header"))
        }
        _ => Ok(()),
    }
}

/// Checks one request for `/ws`, of which [`check_head`] has found nothing wrong. `secure` says whether the client's
/// connection is encrypted.
///
/// # Errors
/// [`Refused`] with the status and a sentence for whoever wrote the client.
pub(in crate::server) fn check<B>(request: &Request<B>, rules: &Rules, secure: bool) -> Result<Handshake, Refused> {
    let accept = check_upgrade(request, rules, secure)?;
    let (codec, named) = subprotocol(request.headers())?;
    Ok(Handshake { codec, named, accept })
}

/// Checks one request for a raw endpoint, where no subprotocol is agreed on.
///
/// # Errors
/// As [`check`].
pub(in crate::server) fn check_raw<B>(request: &Request<B>, rules: &Rules, secure: bool) -> Result<Handshake, Refused> {
    Ok(Handshake { codec: Codec::Json, named: false, accept: check_upgrade(request, rules, secure)? })
}

/// Whether a request wants to become a WebSocket.
pub(in crate::server) fn wants_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, header::UPGRADE, "websocket")
}

/// Checks all of a request but the subprotocol. Gives the value of `Sec-WebSocket-Accept`.
fn check_upgrade<B>(request: &Request<B>, rules: &Rules, secure: bool) -> Result<String, Refused> {
    let headers = request.headers();
    if request.method() != Method::GET {
        let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with GET");
        return Err(refused.with(header::ALLOW, "GET"));
    }
    if request.version() != Version::HTTP_11 {
        return Err(Refused::bad("a WebSocket needs HTTP/1.1"));
    }
    if !has_token(headers, header::UPGRADE, "websocket") || !has_token(headers, header::CONNECTION, "upgrade") {
        let refused = Refused::new(StatusCode::UPGRADE_REQUIRED, "this address speaks WebSocket only");
        return Err(refused.with(header::UPGRADE, "websocket"));
    }
    let Some(host) = single(headers, header::HOST) else {
        return Err(Refused::bad("exactly one Host header is needed"));
    };
    if single(headers, header::SEC_WEBSOCKET_VERSION) != Some("13") {
        let refused = Refused::new(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is needed");
        return Err(refused.with(header::SEC_WEBSOCKET_VERSION, "13"));
    }
    let key = single(headers, header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let Some(key) = key else {
        return Err(Refused::bad("Sec-WebSocket-Key must be 16 bytes in base64, once"));
    };
    if !headers.contains_key(header::ORIGIN) && rules.require_origin {
        return Err(no_origin());
    }
    check_origin(headers, host, rules, secure)?;
    Ok(accept(key))
}

fn subprotocol(headers: &HeaderMap) -> Result<(Codec, bool), Refused> {
    // What is no text was offered too.
    let mut offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().any(|value| value.to_str().is_err());
    for name in tokens(headers, header::SEC_WEBSOCKET_PROTOCOL) {
        offered = true;
        if let Some(codec) = Codec::from_subprotocol(name) {
            return Ok((codec, true));
        }
    }
    if offered {
        return Err(Refused::bad("the subprotocols are rialto.v1.json and rialto.v1.msgpack"));
    }
    Ok((Codec::Json, false))
}

/// Checks a request that a browser may send for a page without asking whether it may: `GET` of a stream or a poll. Where
/// the page is not the broker's own but may connect, gives its origin, so that it may also read the answer (WHATWG Fetch section 3.2).
///
/// # Errors
/// [`Refused`] for pages of other origins.
pub(in crate::server) fn check_reader(
    headers: &HeaderMap,
    rules: &Rules,
    secure: bool,
) -> Result<Option<HeaderValue>, Refused> {
    let host = single(headers, header::HOST).unwrap_or_default();
    if let Some(origin) = headers.get(header::ORIGIN) {
        check_origin(headers, host, rules, secure)?;
        return Ok(Some(origin.clone()));
    }
    // Browsers leave the origin out where the page is the broker's own, and where the page could not read the answer.
    match single(headers, HeaderName::from_static(FETCH_SITE)) {
        Some("same-origin") => Ok(None),
        Some("same-site" | "cross-site") => Err(other_origin()),
        _ if rules.require_origin => Err(no_origin()),
        _ => Ok(None),
    }
}

/// Checks a request of a program. Browsers are let in only with pages that may connect.
///
/// # Errors
/// [`Refused`] for pages of other origins.
pub(in crate::server) fn check_program(headers: &HeaderMap, rules: &Rules, secure: bool) -> Result<(), Refused> {
    check_origin(headers, single(headers, header::HOST).unwrap_or_default(), rules, secure)
}

/// Browsers send `Origin` wherever it matters: a page of another origin (scheme, host and port, RFC 6454) must be listed.
fn check_origin(headers: &HeaderMap, host: &str, rules: &Rules, secure: bool) -> Result<(), Refused> {
    if !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let (scheme, port) = if secure { ("https://", ":443") } else { ("http://", ":80") };
    // Browsers leave the usual port out of their origin (RFC 6454 section 6.2).
    let host = host.strip_suffix(port).unwrap_or(host);
    let allowed = single(headers, header::ORIGIN).is_some_and(|origin| {
        let own = origin.strip_prefix(scheme).is_some_and(|origin| origin.eq_ignore_ascii_case(host));
        own || rules.allowed_origins.iter().any(|one| one == "*" || one.eq_ignore_ascii_case(origin))
    });
    if allowed { Ok(()) } else { Err(other_origin()) }
}

fn no_origin() -> Refused {
    Refused::new(StatusCode::FORBIDDEN, "an Origin header is needed")
}

fn other_origin() -> Refused {
    Refused::new(StatusCode::FORBIDDEN, "pages of this origin may not connect")
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

/// The value of a header that stands exactly once.
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

    fn decide(request: &Request<()>, rules: &Rules, secure: bool) -> Result<Handshake, Refused> {
        check_head(request, false)?;
        check(request, rules, secure)
    }

    #[test]
    fn the_example_of_the_rfc_passes() {
        let passed = decide(&request(&[]), &Rules::default(), false).expect("passes");
        assert_eq!(
            passed,
            Handshake { codec: Codec::Json, named: false, accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into() }
        );
    }

    #[test]
    fn each_flaw_has_its_status() {
        for (change, status) in [
            (&[("upgrade", "")][..], 426),
            (&[("connection", "close")], 426),
            (&[("host", "")], 400),
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
            let refused = decide(&request(change), &Rules::default(), false).expect_err("refused");
            assert_eq!(refused.status.as_u16(), status, "{change:?}");
        }
        let mut post = request(&[]);
        *post.method_mut() = Method::POST;
        assert_eq!(
            decide(&post, &Rules::default(), false).expect_err("refused").status,
            StatusCode::METHOD_NOT_ALLOWED
        );
        let mut old = request(&[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(decide(&old, &Rules::default(), false).expect_err("refused").status, StatusCode::BAD_REQUEST);
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
            let rules = Rules { allowed_origins: vec![allowed.to_owned()], require_origin: false };
            let passed = decide(&request(change), &rules, false).expect("passes");
            assert_eq!(passed.codec, codec, "{change:?}");
        }
    }

    #[test]
    fn an_origin_has_a_scheme_and_may_be_required() {
        let rules = Rules { require_origin: true, ..Rules::default() };
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
    fn the_target_and_the_host_are_one() {
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
        assert!(decide(&usual, &Rules::default(), false).is_ok());
        assert!(decide(&usual, &Rules::default(), true).is_err());
    }

    #[test]
    fn what_proxies_could_read_otherwise_is_refused_for_every_address() {
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
    fn bodies_are_taken_where_they_are_wanted_and_their_length_is_told() {
        for (change, status) in [
            (&[("content-length", "5")][..], None),
            (&[], None),
            (&[("content-length", "5"), ("content-length", "5")], Some(400)),
            (&[("transfer-encoding", "chunked")], Some(411)),
            (&[("transfer-encoding", "chunked"), ("content-length", "5")], Some(411)),
        ] {
            let refused = check_head(&request(change), true).err();
            assert_eq!(refused.map(|refused| refused.status.as_u16()), status, "{change:?}");
        }
    }

    #[test]
    fn pages_of_others_read_no_stream_unless_they_are_listed() {
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
            let rules = Rules { allowed_origins: listed.to_vec(), require_origin };
            let passed = check_reader(request(change).headers(), &rules, false);
            let expected = expected.map(|origin| origin.map(HeaderValue::from_static));
            assert_eq!(passed.map_err(|_| ()), expected, "{change:?}");
        }
    }
}
