//! The files the binary serves to browsers. They are part of the binary; nothing is read from disk.

use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode};

use super::body::{Body, Response};
use super::refusal::Rejection;

/// What a page may load and run: only its own files; and it may connect to any broker.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; style-src 'self'; \
                      script-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

/// Where the files of the JavaScript client lie.
const CLIENT: &str = "/sdk/";

/// Whether a path is of the JavaScript client, which pages of other servers load too.
pub(in crate::server) fn is_of_client(path: &str) -> bool {
    path.starts_with(CLIENT)
}

struct File {
    path: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! file {
    ($path:literal, $kind:expr, $source:literal) => {
        File { path: $path, kind: $kind, content: include_bytes!(concat!("../../../", $source)) }
    };
}

const FILES: &[File] = &[
    file!("/", HTML, "broker/web/index.html"),
    file!("/market", HTML, "broker/web/market.html"),
    file!("/web/app.js", JS, "broker/web/app.js"),
    file!("/web/base.css", CSS, "broker/web/base.css"),
    file!("/web/chart.js", JS, "broker/web/chart.js"),
    file!("/web/composer.js", JS, "broker/web/composer.js"),
    file!("/web/drawer.js", JS, "broker/web/drawer.js"),
    file!("/web/element.js", JS, "broker/web/element.js"),
    file!("/web/entry.js", JS, "broker/web/entry.js"),
    file!("/web/favicon.svg", SVG, "broker/web/favicon.svg"),
    file!("/web/figures.js", JS, "broker/web/figures.js"),
    file!("/web/forms.css", CSS, "broker/web/forms.css"),
    file!("/web/listing.js", JS, "broker/web/listing.js"),
    file!("/web/log.css", CSS, "broker/web/log.css"),
    file!("/web/log.js", JS, "broker/web/log.js"),
    file!("/web/market.css", CSS, "broker/web/market.css"),
    file!("/web/market.js", JS, "broker/web/market.js"),
    file!("/web/members.js", JS, "broker/web/members.js"),
    file!("/web/memory.js", JS, "broker/web/memory.js"),
    file!("/web/nameform.js", JS, "broker/web/nameform.js"),
    file!("/web/offers.js", JS, "broker/web/offers.js"),
    file!("/web/picker.js", JS, "broker/web/picker.js"),
    file!("/web/refusals.js", JS, "broker/web/refusals.js"),
    file!("/web/room.js", JS, "broker/web/room.js"),
    file!("/web/roomlist.js", JS, "broker/web/roomlist.js"),
    file!("/web/rooms.css", CSS, "broker/web/rooms.css"),
    file!("/web/roster.js", JS, "broker/web/roster.js"),
    file!("/web/row.js", JS, "broker/web/row.js"),
    file!("/web/shell.css", CSS, "broker/web/shell.css"),
    file!("/web/status.js", JS, "broker/web/status.js"),
    file!("/web/token.js", JS, "broker/web/token.js"),
    file!("/web/watchlist.js", JS, "broker/web/watchlist.js"),
    file!("/web/welcome.js", JS, "broker/web/welcome.js"),
    file!("/web/wording.js", JS, "broker/web/wording.js"),
    file!("/sdk/backoff.js", JS, "sdk/js/backoff.js"),
    file!("/sdk/bytes.js", JS, "sdk/js/bytes.js"),
    file!("/sdk/callback.js", JS, "sdk/js/callback.js"),
    file!("/sdk/client.js", JS, "sdk/js/client.js"),
    file!("/sdk/clock.js", JS, "sdk/js/clock.js"),
    file!("/sdk/codes.js", JS, "sdk/js/codes.js"),
    file!("/sdk/connection.js", JS, "sdk/js/connection.js"),
    file!("/sdk/cookie.js", JS, "sdk/js/cookie.js"),
    file!("/sdk/credentials.js", JS, "sdk/js/credentials.js"),
    file!("/sdk/cursor.js", JS, "sdk/js/cursor.js"),
    file!("/sdk/errors.js", JS, "sdk/js/errors.js"),
    file!("/sdk/events.js", JS, "sdk/js/events.js"),
    file!("/sdk/frame.js", JS, "sdk/js/frame.js"),
    file!("/sdk/heartbeat.js", JS, "sdk/js/heartbeat.js"),
    file!("/sdk/index.js", JS, "sdk/js/index.js"),
    file!("/sdk/key.js", JS, "sdk/js/key.js"),
    file!("/sdk/pattern.js", JS, "sdk/js/pattern.js"),
    file!("/sdk/replies.js", JS, "sdk/js/replies.js"),
    file!("/sdk/requests.js", JS, "sdk/js/requests.js"),
    file!("/sdk/signin.js", JS, "sdk/js/signin.js"),
    file!("/sdk/socket.js", JS, "sdk/js/socket.js"),
    file!("/sdk/subscription.js", JS, "sdk/js/subscription.js"),
    file!("/sdk/subscriptions.js", JS, "sdk/js/subscriptions.js"),
];

/// Answers a request for a page or one of its files.
///
/// # Errors
/// [`Rejection`] where there is no such file, and for methods that would change it.
pub(in crate::server) fn respond(method: &Method, path: &str) -> Result<Response, Rejection> {
    let Some(file) = FILES.iter().find(|file| file.path == path) else {
        return Err(Rejection::new(StatusCode::NOT_FOUND, "not found"));
    };
    if method != Method::GET && method != Method::HEAD {
        let rejection = Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed: use GET or HEAD");
        return Err(rejection.with(header::ALLOW, "GET, HEAD"));
    }
    let mut response = Response::new(Body::complete(file.content));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, file.kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if file.path.starts_with(CLIENT) {
        // Pages of any origin may load the client; whether they may connect is up to the origin check.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_page_and_of_the_client_is_served() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (folder, prefix, endings) in
            [("broker/web", "/web/", &["js", "css", "svg"][..]), ("sdk/js", "/sdk/", &["js"])]
        {
            for entry in std::fs::read_dir(root.join(folder)).expect("the folder is there") {
                let path = entry.expect("an entry").path();
                let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
                if endings.contains(&ending) {
                    let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
                    assert!(respond(&Method::GET, &format!("{prefix}{name}")).is_ok(), "{name}");
                }
            }
        }
    }

    #[test]
    fn pages_allow_only_reads_and_have_a_content_security_policy() {
        let refused = |method, path| respond(&method, path).expect_err("refused").status;
        assert_eq!(refused(Method::POST, "/"), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused(Method::GET, "/web/../Cargo.toml"), StatusCode::NOT_FOUND);
        let page = respond(&Method::GET, "/").expect("the page");
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("ascii");
        assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"));
        let shared = |path| {
            respond(&Method::GET, path).expect("a file").headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
        };
        assert_eq!((shared("/"), shared("/sdk/index.js")), (false, true));
    }
}
