//! Invalid HTTP requests: each has its status, and other clients are not affected.

use rialto::Codec;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::http::{start, start_with};
use crate::support::{everything_answered, get, http, within};

#[tokio::test]
async fn each_invalid_api_request_has_its_status() {
    let (running, program) = start();
    let address = running.address;
    let mut witness = running.client(Codec::Json).await;
    let whole = |method: &str, path: &str, headers: &str, body: &str| {
        let key = &program.key;
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n{headers}\r\n{body}")
    };
    let json = "Content-Type: application/json\r\n";
    let good = "Content-Type: application/json\r\nContent-Length: 22\r\n";
    let body = r#"{"topic":"a","data":1}"#;
    let path = "/api/v1/publish";
    for (request, status) in [
        (whole("POST", path, good, body), 200),
        (whole("GET", path, "", ""), 405),
        (whole("PUT", path, good, body), 405),
        (whole("POST", "/api/v1/openapi.json", good, body), 405),
        (whole("POST", "/api/v1/nothing", good, body), 404),
        (whole("POST", "/api/v2/publish", good, body), 404),
        (whole("POST", "/api/", good, body), 404),
        (whole("POST", path, "Content-Length: 22\r\n", body), 415),
        (whole("POST", path, "Content-Type: text/plain\r\nContent-Length: 22\r\n", body), 415),
        (whole("POST", path, &format!("{good}Content-Encoding: gzip\r\n"), body), 415),
        (whole("POST", path, json, ""), 411),
        (whole("POST", path, &format!("{json}Transfer-Encoding: chunked\r\n"), "0\r\n\r\n"), 411),
        (whole("POST", path, &format!("{good}Transfer-Encoding: chunked\r\n"), body), 411),
        (whole("POST", path, &format!("{json}Content-Length: 0\r\n"), ""), 400),
        (whole("POST", path, &format!("{json}Content-Length: 21\r\n"), &body[..21]), 400),
        (whole("POST", path, &format!("{json}Content-Length: 70000\r\n"), ""), 413),
        (whole("POST", "/api/v1/topics", &format!("{json}Content-Length: 4097\r\n"), ""), 413),
    ] {
        let answered = http(address, &request).await;
        assert_eq!(answered.status, status, "{request}");
        if status != 200 {
            assert!(answered.body.starts_with("{\"code\":\""), "{request}: {answered:?}");
        }
        if status == 405 {
            assert!(answered.header("allow").is_some(), "{answered:?}");
        }
        witness.ping().await;
    }
    // Two different lengths are rejected by hyper itself.
    let differ = whole("POST", path, &format!("{good}Content-Length: 21\r\n"), body);
    assert_eq!(http(address, &differ).await.status, 400);
    assert_eq!(running.broker.metrics().messages_published_total, 1);
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_however_long_it_is() {
    let (running, program) = start();
    for bytes in [70_000, 1_000_000, 8_000_000] {
        let head = format!(
            "POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n",
            program.key
        );
        let mut socket = TcpStream::connect(running.address).await.unwrap();
        // A client that reads only when it has sent everything.
        socket.write_all(head.as_bytes()).await.unwrap();
        for chunk in vec![b'x'; bytes].chunks(100_000) {
            socket.write_all(chunk).await.unwrap_or_else(|error| panic!("{bytes} bytes: {error}"));
        }
        let answer = everything_answered(socket, b"").await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{bytes} bytes: {answer}");
        assert!(answer.contains("\"too_large\""), "{answer}");
    }
}

#[tokio::test]
async fn a_payload_of_exactly_the_limit_is_accepted() {
    let (_running, program) = start_with(|config| config.limits.message_bytes = 1_000);
    let text = |bytes: usize| json!({"topic": "a", "data": "x".repeat(bytes - 2)});
    program.ok("publish", text(1_000)).await;
    let (status, response) = program.ask("publish", &text(1_001)).await;
    assert_eq!((status, &response["code"]), (413, &json!("too_large")));
    assert_eq!(program.ask("publish", &text(6_000)).await.0, 413);
}

#[tokio::test]
async fn bodies_of_several_requests_on_one_connection_are_separated() {
    let (running, program) = start();
    // Line feeds, and what looks like requests, inside bodies.
    let texts = ["\n\n", "GET / HTTP/1.1\nHost: a\n\n", "POST /api/v1/publish HTTP/1.1\r\nContent-Length: 3\r\n\r\n"];
    let mut all = String::new();
    for text in texts.iter().cycle().take(30) {
        let body = format!("{{\"topic\":\"a\",\n\"data\":\n\n{}}}\n", json!(text));
        all.push_str(&format!(
            "POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            program.key,
            body.len()
        ));
    }
    all.push_str("GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let stream = TcpStream::connect(running.address).await.unwrap();
    let answers = everything_answered(stream, all.as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 30, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 404 ").count(), 1);
    assert_eq!(running.broker.topic("a").unwrap().position.offset, 30);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_times_out() {
    let (running, program) = start_with(|config| config.limits.frame_ms = 200);
    let head = format!(
        "POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 22\r\n\r\n{{\"topic\":",
        program.key
    );
    let stream = TcpStream::connect(running.address).await.unwrap();
    let answer = everything_answered(stream, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    program.ok("publish", json!({"topic": "a", "data": 1})).await;
    assert_eq!(running.broker.metrics().messages_published_total, 1);
}

#[tokio::test]
async fn each_invalid_stream_or_poll_request_has_its_status_and_no_session() {
    let (running, _) = start_with(|config| {
        config.topics[0].pattern = rialto::topic::Pattern::parse("a.>").unwrap();
        config.limits.subscriptions = 3;
    });
    let many: String = (0..51).map(|number| format!("&topic=a.{number}")).collect();
    for (query, status, code) in [
        ("", 400, "bad_request"),
        ("topic=a..b", 400, "bad_request"),
        ("topic=$a", 403, "forbidden"),
        ("topic=b", 404, "not_found"),
        ("topic=%ff", 400, "bad_request"),
        ("topic=a.b&last=x", 400, "bad_request"),
        ("topic=a.b&delivery=some", 400, "bad_request"),
        ("topic=a.*&delivery=latest", 400, "bad_request"),
        ("topic=a.1&topic=a.2&topic=a.3&topic=a.4", 429, "too_many"),
        ("topic=a.1&last_event_id=nonsense", 400, "bad_request"),
        ("topic=a.1&lastEventId=nonsense", 400, "bad_request"),
        ("topic=a.1&Last-Event-ID=nonsense", 400, "bad_request"),
        ("topic=a.1&lasteventid=AQ", 400, "bad_request"),
        ("topic=a.1&topics=a.2", 400, "bad_request"),
        ("topic=a.1&wait_ms=1", 400, "bad_request"),
        (&many, 400, "bad_request"),
    ] {
        let answered = get(running.address, &format!("/sse?{query}")).await;
        assert_eq!(answered.status, status, "{query}: {answered:?}");
        assert!(answered.body.starts_with(&format!("{{\"code\":\"{code}\"")), "{query}: {answered:?}");
    }
    for query in
        ["topic=a.1&topic=a.2", "topic=a.*", "topic=a.1&since=1", "topic=a.1&wait_ms=99999", "topic=a.1&after=3", ""]
    {
        assert_eq!(get(running.address, &format!("/poll?{query}")).await.status, 400, "{query}");
    }
    let post = "POST /sse?topic=a.b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(http(running.address, post).await.status, 405);
    running.becomes_empty().await;
}

#[tokio::test]
async fn streams_are_readable_only_for_pages_of_allowed_origins() {
    let (running, _) = start_with(|config| config.server.allowed_origins = vec!["https://app.example".to_owned()]);
    for (headers, status, readable) in [
        ("", 200, None),
        ("Origin: https://evil.example\r\n", 403, None),
        ("Sec-Fetch-Site: cross-site\r\n", 403, None),
        ("Sec-Fetch-Site: same-origin\r\n", 200, None),
        ("Origin: https://app.example\r\nSec-Fetch-Site: cross-site\r\n", 200, Some("https://app.example")),
    ] {
        let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        for path in ["/sse?topic=a", "/poll?topic=a&wait_ms=0"] {
            let answered = http(running.address, &request(path)).await;
            assert_eq!(answered.status, status, "{path} {headers:?}");
            assert_eq!(answered.header("access-control-allow-origin"), readable, "{path} {headers:?}");
        }
    }
    within("the end", running.becomes_empty()).await;
}
