//! `[auth.callout]` and its check: the backend that is asked who a session belongs to. It asks nobody.

use hyper::Uri;
use hyper::header::HeaderName;

use super::{
    problem::Problem,
    section::{Report, Section, Value, echo},
    server::{strings, texts},
    setting::{Custom, Form, Written, settings},
};
use serde_json::json;

settings! {
    /// Authentication by your own backend: at each handshake the broker asks it who the client is, by the session that the
    /// client has there. Off by default.
    ///
    /// The broker sends `GET` to `url` with the client's cookies and the headers of `headers`, and with `X-Forwarded-For`,
    /// `X-Forwarded-Host`, `X-Forwarded-Proto`, `X-Forwarded-Method` and `X-Forwarded-Uri` (without its query). The backend
    /// answers:
    /// - 200 with JSON: `{"user": "ann", "roles": ["trader"], "topics": {"subscribe": ["room.1"]}, "info": {"name": "Ann"},
    ///   "expires_at": 1764510000}`, of which only `user` is required; `expires_at` is Unix time in seconds. `{"user": null}`
    ///   is a session without a user, where `anonymous` allows that
    /// - 401 or 403: the client is refused
    /// - all else, also a redirect, or nothing in time: the client is not let in, and may come back later
    ///
    /// It is not asked about a request without cookies and without any of the headers, nor, where there are keys for tokens, about
    /// one with a token. Cookies are ignored where `allowed_origins` allows all.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CallOut: "[auth.callout]" requires ["url"] {
        /// Where the backend is: an address with `http://` or `https://`. For `https` the certificate authorities of the system
        /// count, or those of the file in the environment variable `SSL_CERT_FILE`.
        url: String = String::new() => Custom { form: url };
        /// The headers of the handshake that are passed on beside `Cookie`, at most 20.
        headers: Vec<String> = Vec::new() => Custom { form: strings };
        /// How long an answer may take, with the wait for others before it.
        timeout_ms: u64 = 2_000, 10 to 60_000 ms;
        /// How many questions may be under way at once. Others wait.
        calls: usize = 64, 1 to 10_000 items;
        /// How long an answer holds for the same question, so that a client that reconnects costs the backend nothing. So long it
        /// may take until a logout is noticed at the next handshake. 0 asks every time.
        cache_ms: u64 = 5_000, 0 to 300_000 ms;
        /// Circuit breaker: after so many failures in a row the backend is left alone.
        failures: u32 = 5, 1 to 1_000 items;
        /// Circuit breaker: how long, until one question tries again.
        pause_ms: u64 = 5_000, 10 to 600_000 ms;
    }
}

/// Most headers.
const HEADERS_MAX: usize = 20;

/// What the broker sets itself, or what would change how the request is read.
const OWN_HEADERS: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-uri",
];

const EXAMPLE: &str = "write `url = \"http://127.0.0.1:8000/rialto\"`";

fn url() -> Form {
    Form::of(json!({ "type": "string", "pattern": "^https?://" })).example("\"http://127.0.0.1:8000/rialto\"")
}

impl Written for CallOut {
    fn written(&self) -> Option<String> {
        let keys: Vec<String> = Self::written(self).iter().map(|(key, value)| format!("{key} = {value}")).collect();
        Some(format!("{{ {} }}", keys.join(", ")))
    }
}

/// A backend, as a value of `[auth]`.
pub(super) fn form() -> Form {
    Form::of(CallOut::TABLE.schema())
}

pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>) -> Option<CallOut> {
    let section = Section::open(report, "[auth.callout]", &CallOut::TABLE, value)?;
    let mut callout = CallOut::default();
    callout.read_keys(report, &section);
    if let Some(value) = section.get("headers") {
        for header in texts(report, "headers", value, "write `headers = [\"authorization\"]`", 0..=HEADERS_MAX) {
            match HeaderName::from_bytes(header.value.as_bytes()) {
                Ok(name) if OWN_HEADERS.contains(&name.as_str()) => {
                    let title = format!("`{name}` is not passed on: the broker sets it itself");
                    report.add(Problem::at(header.span, title).help("leave it out"));
                }
                Ok(name) => callout.headers.push(name.as_str().to_owned()),
                Err(_) => {
                    let title = format!("\"{}\" is no name of a header", echo(header.value));
                    report.add(Problem::at(header.span, title).help("write `headers = [\"authorization\"]`"));
                }
            }
        }
    }
    let Some(url) = section.get("url") else {
        if !report.torn {
            report.add(Problem::at(section.span(), "`[auth.callout]` needs a `url`").help(EXAMPLE));
        }
        return None;
    };
    let url = report.text("url", url, "\"http://127.0.0.1:8000/rialto\"")?;
    match fault(url.value) {
        None => callout.url = url.value.to_owned(),
        Some(fault) => report.add(Problem::at(url.span, fault).help(EXAMPLE)),
    }
    Some(callout)
}

/// What is wrong with an address.
fn fault(url: &str) -> Option<&'static str> {
    let Ok(parsed) = url.parse::<Uri>() else { return Some("`url` is no address") };
    let has_host = parsed.host().is_some_and(|host| !host.is_empty());
    match parsed.scheme_str() {
        Some("http" | "https") if !has_host => Some("`url` names no host"),
        Some("https") if !cfg!(feature = "tls") => Some("this build has no TLS, so `url` cannot begin with `https://`"),
        Some("http" | "https") if parsed.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            Some("`url` has a user name or a password, which does not belong in this file")
        }
        Some("http" | "https") => None,
        _ => Some("`url` begins with `http://` or `https://`"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn parse(keys: &str) -> Result<CallOut, Vec<String>> {
        let text = format!("[auth.callout]\n{keys}\n[[topic]]\npattern = \"a\"\n");
        match Config::parse(&text, Path::new("rialto.toml")) {
            Ok(config) => Ok(config.auth.and_then(|auth| auth.callout).expect("it is there")),
            Err(problems) => Err(problems.iter().map(|problem| problem.title().to_owned()).collect()),
        }
    }

    #[test]
    fn a_backend_is_read_with_its_defaults() {
        let read =
            parse("url = \"http://127.0.0.1:8000/who\"\nheaders = [\"Authorization\", \"x-tenant\"]\ncalls = 3\n");
        let expected = CallOut {
            url: "http://127.0.0.1:8000/who".to_owned(),
            headers: vec!["authorization".to_owned(), "x-tenant".to_owned()],
            calls: 3,
            ..CallOut::default()
        };
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (keys, expected) in [
            ("", "`[auth.callout]` needs a `url`"),
            ("url = 7", "`url` must be a string, not an integer"),
            ("url = \"ftp://a/b\"", "`url` begins with `http://` or `https://`"),
            ("url = \"/b\"", "`url` begins with `http://` or `https://`"),
            ("url = \"http://a b/\"", "`url` is no address"),
            ("url = \"http://u:p@a/\"", "`url` has a user name or a password, which does not belong in this file"),
            ("url = \"http://a/\"\ncalls = 0", "`calls` must be 1 to 10_000"),
            ("url = \"http://a/\"\nheaders = [\"a b\"]", "\"a b\" is no name of a header"),
            ("url = \"http://a/\"\nheaders = [\"Host\"]", "`host` is not passed on: the broker sets it itself"),
        ] {
            let problems = parse(keys).expect_err(keys);
            assert!(problems.iter().any(|problem| problem == expected), "{keys}: {problems:?}");
        }
    }
}
