//! The token of a request: where clients put it, and the response to one that is refused. It verifies nothing.

use std::borrow::Cow;

use hyper::header::{self, HeaderMap};
use hyper::{Request, StatusCode};
use rialto_protocol::{ErrorCode, Failure};

use super::query::Query;
use super::refusal::Rejection;
use crate::config::{Auth, Server};

/// How the WebSocket subprotocol begins that carries a token, for browsers: they can set no other header.
pub(in crate::server) const SUBPROTOCOL: &str = "rialto.token.";

/// The query parameter that carries a token.
pub(in crate::server) const PARAMETER: &str = "token";

/// The authentication scheme (RFC 6750 section 2.1).
const BEARER: &str = "Bearer ";

/// The challenges of responses (RFC 6750 section 3).
const CHALLENGE: &str = "Bearer";
const CHALLENGE_INVALID: &str = "Bearer error=\"invalid_token\"";

/// The token of a request, by the first of these that is there: `Authorization`, the query, a subprotocol, the cookie.
pub(in crate::server) fn token<'r, B>(request: &'r Request<B>, auth: &Auth, server: &Server) -> Option<Cow<'r, str>> {
    let headers = request.headers();
    authorization(headers)
        .or_else(|| query(request.uri().query().unwrap_or_default()))
        .or_else(|| subprotocol(headers).map(Cow::Borrowed))
        .or_else(|| cookie(headers, auth, server).map(Cow::Borrowed))
}

/// A scheme that is not this one is for somebody else, such as a proxy.
fn authorization(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let scheme = value.get(..BEARER.len())?;
    scheme.eq_ignore_ascii_case(BEARER).then(|| Cow::Borrowed(value[BEARER.len()..].trim()))
}

fn query(query: &str) -> Option<Cow<'_, str>> {
    let tokens = Query::parse(query).ok()?;
    let token = tokens.one(PARAMETER).ok()??;
    (!token.is_empty()).then(|| Cow::Owned(token.to_owned()))
}

fn subprotocol(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).find_map(|name| name.trim().strip_prefix(SUBPROTOCOL))
}

/// Cookies come with requests of any page (RFC 6265 section 5.4), so they count only where the origin check leaves out foreign
/// ones.
fn cookie<'r>(headers: &'r HeaderMap, auth: &Auth, server: &Server) -> Option<&'r str> {
    let name = auth.cookie.as_deref()?;
    if server.allowed_origins.iter().any(|origin| origin == "*") {
        return None;
    }
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"')).filter(|value| !value.is_empty())
}

/// The response to a request whose token is refused.
pub(in crate::server) fn refused(failure: &Failure) -> Rejection {
    match failure.code {
        ErrorCode::RateLimited => {
            Rejection::later(StatusCode::TOO_MANY_REQUESTS, "rate limit: too many tokens that are not valid", 1)
        }
        ErrorCode::Expired => Rejection::new(StatusCode::UNAUTHORIZED, "the token has expired")
            .with(header::WWW_AUTHENTICATE, CHALLENGE_INVALID),
        _ => Rejection::new(StatusCode::UNAUTHORIZED, "the token is not valid")
            .with(header::WWW_AUTHENTICATE, CHALLENGE_INVALID),
    }
}

/// The response to a request that needs a token and has none.
pub(in crate::server) fn required() -> Rejection {
    Rejection::new(StatusCode::UNAUTHORIZED, "a token is required").with(header::WWW_AUTHENTICATE, CHALLENGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(query: &str, headers: &[(&str, &str)], open: bool) -> Option<String> {
        let mut request = Request::builder().uri(format!("/ws{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let auth = Auth { cookie: Some("session".to_owned()), ..Auth::default() };
        let allowed_origins = if open { vec!["*".to_owned()] } else { Vec::new() };
        let server = Server { allowed_origins, ..Server::default() };
        token(&request.body(()).expect("a request"), &auth, &server).map(Cow::into_owned)
    }

    #[test]
    fn a_token_is_found_wherever_a_client_can_put_it() {
        for (query, headers, open, expected) in [
            ("", &[("authorization", "Bearer a.b.c")][..], false, Some("a.b.c")),
            ("", &[("authorization", "bearer  a.b.c ")], false, Some("a.b.c")),
            ("", &[("authorization", "Basic a.b.c")], false, None),
            ("", &[("authorization", "Bear")], false, None),
            ("?token=a.b.c&x=1", &[], false, Some("a.b.c")),
            ("?token=a&token=b", &[], false, None),
            ("?token=", &[], false, None),
            ("", &[("sec-websocket-protocol", "rialto.v1.json, rialto.token.a.b.c")], false, Some("a.b.c")),
            ("", &[("cookie", "theme=dark; session=a.b.c")], false, Some("a.b.c")),
            ("", &[("cookie", "session=\"a.b.c\"")], false, Some("a.b.c")),
            ("", &[("cookie", "session=a.b.c")], true, None),
            ("", &[("cookie", "xsession=a.b.c; session")], false, None),
            ("?token=q", &[("authorization", "Bearer h"), ("cookie", "session=c")], false, Some("h")),
            ("?token=q", &[("cookie", "session=c")], false, Some("q")),
            ("", &[], false, None),
        ] {
            assert_eq!(find(query, headers, open).as_deref(), expected, "{query} {headers:?}");
        }
    }
}
