//! HTTP: pages and their headers, and every way in which an upgrade is refused.

use rialto::Codec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Running, http, upgrade_request, within};
use crate::websocket::witness::Witness;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[tokio::test]
async fn the_pages_are_served_with_a_content_security_policy_for_own_files() {
    let running = Running::start();
    let page = http(running.address, &get("/")).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.body.contains("<!doctype html>") || page.body.contains("<!DOCTYPE html>"), "{}", page.body);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe-"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("object-src 'none'"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let mut files = 0;
    for part in page.body.split(['"', '\'']).filter(|part| part.starts_with("/web/") || part.starts_with("/sdk/")) {
        let file = http(running.address, &get(part)).await;
        assert_eq!(file.status, 200, "{part}");
        files += 1;
    }
    assert!(files > 0, "the page names its files");
}

#[tokio::test]
async fn each_invalid_request_has_its_status_and_affects_no_other_client() {
    let running = Running::start();
    let mut witness = Witness::new(&running).await;
    let address = running.address;
    let upgrade = |change: &[(&str, &str)]| upgrade_request(address, change);
    let cases = [
        (get("/nothing"), 404),
        (get("/web/../Cargo.toml"), 404),
        (get("/web/"), 404),
        (get("/ws/"), 404),
        (get("/").replace("GET", "POST"), 405),
        (get("/").replace("GET", "DELETE"), 405),
        (get("/ws"), 426),
        (upgrade(&[]).replace("GET", "POST"), 405),
        (upgrade(&[]).replace("HTTP/1.1", "HTTP/1.0"), 400),
        (upgrade(&[("Host", "")]), 400),
        (upgrade(&[("Connection", "close")]), 426),
        (upgrade(&[("Upgrade", "h2c")]), 426),
        (upgrade(&[("Sec-WebSocket-Version", "8")]), 426),
        (upgrade(&[("Sec-WebSocket-Version", "")]), 426),
        (upgrade(&[("Sec-WebSocket-Key", "")]), 400),
        (upgrade(&[("Sec-WebSocket-Key", "short")]), 400),
        (upgrade(&[("Sec-WebSocket-Key", "c2hvcnQ=")]), 400),
        (upgrade(&[("Sec-WebSocket-Protocol", "mqtt")]), 400),
        (upgrade(&[("Content-Length", "5")]) + "hello", 400),
        (upgrade(&[("Origin", "http://evil.example")]), 403),
        (upgrade(&[("Origin", "null")]), 403),
        (upgrade(&[("Origin", &format!("https://{address}"))]), 403),
        (upgrade(&[("Origin", "http://127.0.0.1")]), 403),
        (upgrade(&[("X-Long", &"x".repeat(17_000))]), 431),
        (upgrade(&vec![("X-Many", "x"); 80]), 431),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ];
    for (request, status) in cases {
        let answered = http(address, &request).await;
        assert_eq!(answered.status, status, "{request}");
        match status {
            405 => assert!(answered.header("allow").is_some_and(|allow| allow.contains("GET")), "{answered:?}"),
            426 => {
                let hint = answered.header("upgrade").or(answered.header("sec-websocket-version"));
                assert!(["websocket", "13"].contains(&hint.expect("a hint")), "{answered:?}");
            }
            _ => {}
        }
        witness.is_well().await;
    }
}

#[tokio::test]
async fn the_origin_check_allows_the_own_origin_and_the_listed_ones() {
    let running = Running::with(|config| config.server.allowed_origins = vec!["https://app.example".to_owned()]);
    let own = format!("http://{}", running.address);
    for change in [
        vec![],
        vec![("Origin", own.as_str())],
        vec![("Origin", "https://app.example")],
        vec![("Connection", "keep-alive, Upgrade"), ("Upgrade", "WebSocket")],
        vec![("Sec-WebSocket-Protocol", "mqtt, rialto.v1.msgpack")],
    ] {
        let answered = http(running.address, &upgrade_request(running.address, &change)).await;
        assert_eq!(answered.status, 101, "{change:?}");
        assert_eq!(answered.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }
}

#[tokio::test]
async fn both_wildcard_addresses_may_have_one_port() {
    // Below those that the system gives to others meanwhile.
    let free = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let listen = [format!("0.0.0.0:{free}"), format!("[::]:{free}")].map(|address| address.parse().unwrap());
    let running = Running::with(|config| config.server.listen = listen.to_vec());
    assert_eq!(running.address.port(), free);
    for address in [format!("127.0.0.1:{free}"), format!("[::1]:{free}")] {
        assert_eq!(http(address.parse().unwrap(), &get("/")).await.status, 200, "{address}");
    }
}

#[tokio::test]
async fn offered_compression_is_declined() {
    let running = Running::start();
    let offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")];
    let answered = http(running.address, &upgrade_request(running.address, &offer)).await;
    assert_eq!((answered.status, answered.header("sec-websocket-extensions")), (101, None));
}

#[tokio::test]
async fn without_pages_only_the_websocket_and_the_client_are_served() {
    let running = Running::with(|config| config.server.page = false);
    assert_eq!(http(running.address, &get("/")).await.status, 404);
    assert_eq!(http(running.address, &get("/web/app.js")).await.status, 404);
    // Pages of other servers load it from here.
    assert_eq!(http(running.address, &get("/sdk/index.js")).await.status, 200);
    running.client(Codec::Json).await.ping().await;
}

#[tokio::test]
async fn a_connection_with_an_unfinished_request_times_out() {
    let running = Running::with(|config| config.limits.header_ms = 150);
    let request = upgrade_request(running.address, &[]);
    for length in [0, 10, request.len() - 2] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(&request.as_bytes()[..length]).await.unwrap();
        let mut answer = Vec::new();
        let _ = within("the end", stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/1.1 101"));
    }
    running.client(Codec::Json).await.ping().await;
}
