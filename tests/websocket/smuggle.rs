//! Request smuggling: requests that a proxy could parse differently from the broker; and responses that are not read.

use std::time::Instant;

use rialto::Codec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::raw::{FIN, TEXT, masked};
use crate::support::{Running, eventually, everything_answered, upgrade_request, within};
use crate::websocket::witness::Witness;

async fn all_of(running: &Running, bytes: &[u8]) -> String {
    let stream = within("a connection", TcpStream::connect(running.address)).await.unwrap();
    everything_answered(stream, bytes).await
}

#[tokio::test]
async fn ambiguous_requests_are_rejected_and_nothing_after_them_is_served() {
    let running = Running::start();
    let mut witness = Witness::new(&running).await;
    let get = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let upgrade = |lines: &str| upgrade_request(running.address, &[]).replace("\r\n\r\n", &format!("\r\n{lines}\r\n"));
    let second = "GET /web/base.css HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut cases = Vec::new();
    for make in [&get as &dyn Fn(&str) -> String, &upgrade] {
        cases.extend([
            make("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
            make("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n") + "0\r\n\r\n",
            make("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n",
            make("Transfer-Encoding: xchunked\r\n"),
            make("Transfer-Encoding: identity\r\n"),
            make("Content-Length: 5\r\nContent-Length: 6\r\n") + "hello",
            make("Content-Length: 5, 5\r\n") + "hello",
            make("Content-Length: +5\r\n") + "hello",
            make("Content-Length: -1\r\n"),
            make("Content-Length: 5\r\n") + "hello",
            make("X-Folded: one\r\n two\r\n"),
            make(" Leading: space\r\n"),
            make("X-Space : before the colon\r\n"),
            make("X-Nul: a\0b\r\n"),
            make("X-Return: a\rb\r\n"),
            make("X-Feed: a\nb: c\r\n"),
            make("Host: b\r\n"),
            make("").replacen("\r\n", "\n", 1),
            make("").replace("\r\n", "\n"),
            make("X: y\r\n").replace("y\r\n\r\n", "y\n\r\n"),
            make("X: y\r\n").replace("y\r\n\r\n", "y\r\n\n"),
            make("").replace("HTTP/1.1", "HTTP/1.2"),
            make("").replace("HTTP/1.1", "HTTP/2.0"),
            make("").replacen("GET ", "GET  ", 1),
        ]);
    }
    for case in cases {
        let answer = all_of(&running, format!("{case}{second}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{case:?}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{case:?} is answered once: {answer:?}");
        assert_eq!(running.broker.metrics().sessions, 2, "{case:?} makes no session");
    }
    witness.is_well().await;
}

#[tokio::test]
async fn good_requests_may_follow_each_other_and_end_in_a_session() {
    let running = Running::start();
    let first =
        "GET /web/base.css HTTP/1.1\r\nHost: a\r\n\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let mut bytes = format!("{first}{}", upgrade_request(running.address, &[])).into_bytes();
    // Bytes after the upgrade are frames, even if they look like requests.
    bytes.extend(masked(FIN | TEXT, b"{\"type\":\"ping\",\n\"id\":1,\"data\":\"GET / HTTP/1.1\\r\\n\"}"));
    let mut stream = within("a connection", TcpStream::connect(running.address)).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("\"pong\"") {
        assert!(
            within("the answers", stream.read_buf(&mut answer)).await.unwrap() > 0,
            "the broker closed the connection"
        );
    }
    let answer = String::from_utf8_lossy(&answer);
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 101").count(), 1, "{answer}");
    assert!(answer.contains("\"welcome\""), "{answer}");
}

#[tokio::test]
async fn frames_after_a_refused_upgrade_are_ignored() {
    let running = Running::start();
    let mut listener = running.client(Codec::Json).await;
    listener.subscribe("t").await;
    let publish = masked(FIN | TEXT, b"{\"type\":\"publish\",\"topic\":\"t\",\"data\":1}");
    for change in [("Sec-WebSocket-Key", "short"), ("Origin", "http://evil.example"), ("Upgrade", "h2c")] {
        let mut bytes = upgrade_request(running.address, &[change]).into_bytes();
        bytes.extend_from_slice(&publish);
        let answer = all_of(&running, &bytes).await;
        assert!(answer.starts_with("HTTP/1.1 4") && !answer.contains(" 101 "), "{answer}");
    }
    listener.ping().await;
    assert_eq!(listener.take_all(), Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn a_client_that_does_not_read_responses_is_closed() {
    let running = Running::with(|config| config.limits.write_ms = 300);
    let mut witness = Witness::new(&running).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    let mut greedy = within("a connection", socket.connect(running.address)).await.unwrap();
    let page = "GET /sdk/client.js HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200);
    let flood = async { while greedy.write_all(page.as_bytes()).await.is_ok() {} };
    within("the broker to close the connection", flood).await;
    eventually("its place is free", || running.broker.metrics().connections == 0).await;
    witness.is_well().await;
}

#[tokio::test]
async fn an_idle_http_connection_is_closed() {
    let running = Running::with(|config| config.limits.keep_alive_ms = 300);
    let begun = Instant::now();
    let answer = all_of(&running, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert!(begun.elapsed().as_millis() >= 300, "it could have asked again until then");
}

#[tokio::test]
async fn a_connection_is_closed_at_the_limit_of_requests() {
    let running = Running::start();
    let asked = "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n".repeat(150);
    let answer = all_of(&running, asked.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 404").count(), 100, "none is lost to a reset because of unread bytes");
    assert_eq!(answer.matches("connection: close").count(), 1);
    assert_eq!(answer.matches("keep-alive: timeout=75").count(), 99);
}

#[tokio::test]
async fn heads_and_paths_over_their_limits_are_refused() {
    let running = Running::start();
    for (what, request) in [
        ("a long header", format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(17_000))),
        ("many headers", format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(65))),
        ("a long address", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000))),
        ("an address of more than half", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(8_200))),
        ("a head without end", format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(100_000))),
    ] {
        let answer = all_of(&running, request.as_bytes()).await;
        let status = if what.contains("address") { "HTTP/1.1 414" } else { "HTTP/1.1 431" };
        // hyper finds a head too long before it has seen that it is the address.
        assert!(answer.starts_with(status) || answer.starts_with("HTTP/1.1 431"), "{what}: {answer}");
    }
    let headers = "X: y\r\n".repeat(60);
    let answer =
        all_of(&running, format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
