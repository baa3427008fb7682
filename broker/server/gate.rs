//! The upgrade gate: decides before any 101 whether a request may become a WebSocket (RFC 6455 section 4.2). It only
//! looks at the request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, Request, StatusCode, Version};
use rialto_protocol::Codec;
use sha1::{Digest, Sha1};

/// What RFC 6455 section 1.3 appends to the key.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request that may be upgraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) codec: Codec,
    /// Whether the client asked for the codec by subprotocol, so that the answer must name it.
    pub(super) named: bool,
    /// The value of `Sec-WebSocket-Accept`.
    pub(super) accept: String,
}

/// A request that is answered without an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) text: &'static str,
    pub(super) header: Option<(HeaderName, &'static str)>,
}

/// Checks one request for `/ws`, on a door whose own pages have origins that begin with `own_scheme`.
///
/// # Errors
/// [`Refused`] with the status and a sentence for whoever wrote the client.
pub(super) fn check<B>(request: &Request<B>, own_scheme: &str, allowed_origins: &[String]) -> Result<Passed, Refused> {
    let headers = request.headers();
    if request.method() != Method::GET {
        let refused = refuse(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with GET");
        return Err(Refused { header: Some((header::ALLOW, "GET")), ..refused });
    }
    if request.version() != Version::HTTP_11 {
        return Err(bad("a WebSocket needs HTTP/1.1"));
    }
    if !has_token(headers, header::UPGRADE, "websocket") || !has_token(headers, header::CONNECTION, "upgrade") {
        let refused = refuse(StatusCode::UPGRADE_REQUIRED, "this address speaks WebSocket only");
        return Err(Refused { header: Some((header::UPGRADE, "websocket")), ..refused });
    }
    let Some(host) = single(headers, header::HOST) else {
        return Err(bad("exactly one Host header is needed"));
    };
    if headers.contains_key(header::TRANSFER_ENCODING)
        || single(headers, header::CONTENT_LENGTH).is_some_and(|n| n != "0")
    {
        return Err(bad("an upgrade has no body"));
    }
    if single(headers, header::SEC_WEBSOCKET_VERSION) != Some("13") {
        let refused = refuse(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is needed");
        return Err(Refused { header: Some((header::SEC_WEBSOCKET_VERSION, "13")), ..refused });
    }
    let key = single(headers, header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let Some(key) = key else {
        return Err(bad("Sec-WebSocket-Key must be 16 bytes in base64, once"));
    };
    if !origin_allowed(headers, own_scheme, host, allowed_origins) {
        return Err(refuse(StatusCode::FORBIDDEN, "pages of this origin may not connect"));
    }
    let (codec, named) = subprotocol(headers)?;
    Ok(Passed { codec, named, accept: accept(key) })
}

fn subprotocol(headers: &HeaderMap) -> Result<(Codec, bool), Refused> {
    let mut offered = false;
    for name in tokens(headers, header::SEC_WEBSOCKET_PROTOCOL) {
        offered = true;
        if let Some(codec) = Codec::from_subprotocol(name) {
            return Ok((codec, true));
        }
    }
    if offered {
        return Err(bad("the subprotocols are rialto.v1.json and rialto.v1.msgpack"));
    }
    Ok((Codec::Json, false))
}

/// Only browsers send `Origin`, and they send it always: a page of another origin must be listed.
fn origin_allowed(headers: &HeaderMap, own_scheme: &str, host: &str, allowed: &[String]) -> bool {
    if !headers.contains_key(header::ORIGIN) {
        return true;
    }
    let Some(origin) = single(headers, header::ORIGIN) else { return false };
    let own = origin.strip_prefix(own_scheme).is_some_and(|origin| origin.eq_ignore_ascii_case(host));
    own || allowed.iter().any(|one| one == "*" || one.eq_ignore_ascii_case(origin))
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

fn bad(text: &'static str) -> Refused {
    refuse(StatusCode::BAD_REQUEST, text)
}

fn refuse(status: StatusCode, text: &'static str) -> Refused {
    Refused { status, text, header: None }
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

    #[test]
    fn the_example_of_the_rfc_passes() {
        let passed = check(&request(&[]), "http://", &[]).expect("passes");
        assert_eq!(passed, Passed { codec: Codec::Json, named: false, accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into() });
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
            let refused = check(&request(change), "http://", &[]).expect_err("refused");
            assert_eq!(refused.status.as_u16(), status, "{change:?}");
        }
        let mut post = request(&[]);
        *post.method_mut() = Method::POST;
        assert_eq!(check(&post, "http://", &[]).expect_err("refused").status, StatusCode::METHOD_NOT_ALLOWED);
        let mut old = request(&[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(check(&old, "http://", &[]).expect_err("refused").status, StatusCode::BAD_REQUEST);
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
            let passed = check(&request(change), "http://", &[allowed.to_owned()]).expect("passes");
            assert_eq!(passed.codec, codec, "{change:?}");
        }
    }

    #[test]
    fn the_own_origin_has_the_scheme_of_the_door() {
        for (own_scheme, origin, passes) in [
            ("http://", "http://localhost:8080", true),
            ("http://", "https://localhost:8080", false),
            ("https://", "https://localhost:8080", true),
            ("https://", "https://LOCALHOST:8080", true),
            ("https://", "http://localhost:8080", false),
            ("https://", "https://localhost", false),
            ("https://", "localhost:8080", false),
        ] {
            let checked = check(&request(&[("origin", origin)]), own_scheme, &[]);
            assert_eq!(checked.is_ok(), passes, "{origin} at {own_scheme}");
        }
    }
}
