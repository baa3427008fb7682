//! The credentials of a request: where clients put a token, or a name and a password, and the responses to those that are refused.
//! It verifies nothing.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::{self, HeaderMap};
use hyper::{Request, StatusCode};
use rialto_protocol::{ErrorCode, Failure};

use super::query::Query;
use super::refusal::Rejection;
use crate::auth::passwords::Login;
use crate::config::{Auth, Server};

/// How the WebSocket subprotocol begins that carries a token, for browsers: they can set no other header.
pub(in crate::server) const SUBPROTOCOL: &str = "rialto.token.";

/// The query parameter that carries a token.
pub(in crate::server) const PARAMETER: &str = "token";

/// The authentication scheme (RFC 6750 section 2.1).
const BEARER: &str = "Bearer ";

/// The authentication scheme of names and passwords (RFC 7617 section 2).
const BASIC: &str = "Basic ";

/// Seconds after which a client may come back that could not be authenticated now.
const LATER_SECONDS: u64 = 5;

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

/// The name and password of a request. Browsers send them with requests of any page, once they know them, so such a request is treated
/// as one with a cookie.
pub(in crate::server) fn login(headers: &HeaderMap, server: &Server) -> Option<Login> {
    if headers.contains_key(header::ORIGIN) && !are_cookies_fine(server) {
        return None;
    }
    let pair = BASE64.decode(of_scheme(headers, BASIC)?).ok()?;
    let (user, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    Some(Login { user: user.to_owned(), password: password.to_owned() })
}

/// Whether what browsers send on their own counts: cookies come with requests of any page (RFC 6265 section 5.4), so they do only
/// where the origin check leaves out foreign ones.
pub(in crate::server) fn are_cookies_fine(server: &Server) -> bool {
    server.allowed_origins.iter().all(|origin| origin != "*")
}

fn authorization(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    of_scheme(headers, BEARER).map(Cow::Borrowed)
}

/// The credentials of a scheme. Another one is for somebody else, such as a proxy.
fn of_scheme<'h>(headers: &'h HeaderMap, wanted: &str) -> Option<&'h str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let scheme = value.get(..wanted.len())?;
    scheme.eq_ignore_ascii_case(wanted).then(|| value[wanted.len()..].trim())
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

fn cookie<'r>(headers: &'r HeaderMap, auth: &Auth, server: &Server) -> Option<&'r str> {
    let name = auth.cookie.as_deref()?;
    if !are_cookies_fine(server) {
        return None;
    }
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"')).filter(|value| !value.is_empty())
}

/// The response to a request whose credentials are refused.
pub(in crate::server) fn refused(failure: &Failure) -> Rejection {
    match failure.code {
        ErrorCode::RateLimited => {
            Rejection::later(StatusCode::TOO_MANY_REQUESTS, "rate limit: too many credentials that are not valid", 1)
        }
        ErrorCode::Unavailable => {
            let text = "the authentication backend does not answer, try again later";
            Rejection::later(StatusCode::SERVICE_UNAVAILABLE, text, LATER_SECONDS)
        }
        ErrorCode::Expired => Rejection::new(StatusCode::UNAUTHORIZED, "the token has expired")
            .with(header::WWW_AUTHENTICATE, CHALLENGE_INVALID),
        _ => invalid(),
    }
}

/// The response to a request with credentials that are not valid, whatever is wrong with them.
pub(in crate::server) fn invalid() -> Rejection {
    Rejection::new(StatusCode::UNAUTHORIZED, "the credentials are not valid")
        .with(header::WWW_AUTHENTICATE, CHALLENGE_INVALID)
}

/// The response to a request that needs a token and has none.
pub(in crate::server) fn required() -> Rejection {
    Rejection::new(StatusCode::UNAUTHORIZED, "credentials are required").with(header::WWW_AUTHENTICATE, CHALLENGE)
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

    #[test]
    fn a_name_and_a_password_are_found_where_no_foreign_page_could_have_sent_them() {
        let find = |value: &str, origin: bool, open: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a value"));
            if origin {
                headers.insert(header::ORIGIN, "https://a.example".parse().expect("a value"));
            }
            let allowed_origins = if open { vec!["*".to_owned()] } else { Vec::new() };
            let login = login(&headers, &Server { allowed_origins, ..Server::default() });
            login.map(|login| (login.user, login.password))
        };
        let ann = Some(("ann".to_owned(), "ho:rse".to_owned()));
        for (value, origin, open, expected) in [
            ("Basic YW5uOmhvOnJzZQ==", false, false, ann.clone()),
            ("basic YW5uOmhvOnJzZQ==", true, false, ann.clone()),
            ("Basic YW5uOmhvOnJzZQ==", false, true, ann.clone()),
            ("Basic YW5uOmhvOnJzZQ==", true, true, None),
            ("Basic YW5u", false, false, None),
            ("Basic !", false, false, None),
            ("Bearer YW5uOmhvOnJzZQ==", false, false, None),
            ("Basic ", false, false, None),
        ] {
            assert_eq!(find(value, origin, open), expected, "{value} {origin} {open}");
        }
    }
}
