//! A Server-Sent Events stream has the frames of a WebSocket, is a session while it is open, and ends with its client.

use std::net::SocketAddr;

use rialto::Codec;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http::{start, start_with};
use crate::support::events::Stream;
#[cfg(target_os = "linux")]
use crate::support::process::{Process, SERVER};
use crate::support::{eventually, get, within};

#[tokio::test]
async fn a_stream_receives_the_same_frames_as_a_websocket() {
    let (running, program) = start();
    let mut client = running.client(Codec::Json).await;
    client.ok(json!({"type": "subscribe", "topics": [{"topic": "a"}, {"topic": "b.*"}]})).await;
    let mut stream = Stream::open(running.address, "topic=a&topic=b.*", None).await;
    let welcome = stream.next().await.unwrap();
    assert_eq!((&*welcome.name, &welcome.data["type"]), ("welcome", &json!("welcome")));
    for (id, topic) in [(1, "a"), (2, "b.*")] {
        let subscribed = stream.next().await.unwrap();
        assert_eq!(subscribed.name, "subscribed");
        assert_eq!((&subscribed.data["id"], &subscribed.data["topic"]), (&json!(id), &json!(topic)));
    }
    assert!((1_000..5_000).contains(&stream.retry_ms.unwrap()));
    // One after the other: there is no order between topics.
    for (topic, data) in [("a", json!(1)), ("b.c", json!({"x": "é\n\r\u{2028}"})), ("c", json!(0)), ("a", json!(null))]
    {
        program.ok("publish", json!({"topic": topic, "data": data})).await;
        if topic != "c" {
            let message = stream.message().await.data;
            assert_eq!((&message["topic"], &message["data"]), (&json!(topic), &data));
            assert_eq!(message, client.message().await);
        }
    }
}

#[tokio::test]
async fn payloads_with_line_breaks_arrive_unchanged() {
    let (running, program) = start();
    let mut stream = Stream::open(running.address, "topic=a", None).await;
    let body = "{\"topic\":\"a\",\"data\":{\n \"x\":\r\n\r 1,\n\n\"y\":\"\\n\"}}";
    assert_eq!(program.send("publish", "application/json", body).await.status, 200);
    assert_eq!(stream.message().await.data["data"], json!({"x": 1, "y": "\n"}));
}

#[tokio::test]
async fn a_stream_is_a_session_until_its_client_disconnects() {
    let (running, program) = start();
    let counted = || {
        let metrics = running.broker.metrics();
        (metrics.sessions, metrics.subscriptions, metrics.connections)
    };
    for hang_up in [false, true] {
        let mut stream = Stream::open(running.address, "topic=a&topic=b", None).await;
        assert_eq!(counted(), (1, 2, 0), "it takes the place of a session and of nothing else");
        let session = stream.event("welcome").await.data["session"].clone();
        if hang_up {
            drop(stream);
        } else {
            assert_eq!(program.ok("disconnect", json!({"session": session})).await["sessions"], 1);
            let closing = stream.event("closing").await;
            assert_eq!(closing.data["code"], 4003);
            assert_eq!(stream.next().await, None);
        }
        eventually("the session has ended", || counted() == (0, 0, 0)).await;
    }
}

#[tokio::test]
async fn a_disconnect_from_an_idle_stream_is_detected_at_once() {
    let (running, _) = start_with(|config| config.limits.ping_ms = 3_600_000);
    let streams =
        [Stream::open(running.address, "topic=a", None).await, Stream::open(running.address, "topic=a", None).await];
    assert_eq!(running.broker.metrics().sessions, 2);
    drop(streams);
    running.becomes_empty().await;
}

#[tokio::test]
async fn an_idle_stream_is_kept_alive_by_comments() {
    let (running, program) = start_with(|config| {
        config.limits.ping_ms = 50;
        config.limits.pong_ms = 5_000;
        // Request timeouts do not apply to streams.
        config.limits.header_ms = 200;
    });
    let mut stream = Stream::open(running.address, "topic=a", None).await;
    for _ in 0..6 {
        stream.comment().await;
    }
    program.ok("publish", json!({"topic": "a", "data": 1})).await;
    assert_eq!(stream.message().await.data["offset"], 1);
}

#[tokio::test]
async fn streams_count_toward_session_limits() {
    let (running, _) = start_with(|config| config.limits.sessions = 2);
    let one = Stream::open(running.address, "topic=a", None).await;
    let mut client = running.client(Codec::Json).await;
    let full = get(running.address, "/poll?topic=a&wait_ms=0").await;
    assert_eq!((full.status, full.header("retry-after").is_some()), (503, true));
    // A browser would give up for good after an error status.
    let full = get(running.address, "/sse?topic=a").await;
    assert_eq!((full.status, full.header("content-type")), (200, Some("text/event-stream")));
    let (comment, retry) = full.body.split_once("\nretry: ").unwrap();
    assert_eq!(comment, ": session limit reached, try again later");
    assert!(retry.trim().parse::<u64>().unwrap() >= 1_000 && full.body.ends_with("\n\n"), "{full:?}");
    drop(one);
    eventually("the slot is released", || running.broker.metrics().sessions == 1).await;
    let _two = Stream::open(running.address, "topic=a", None).await;
    client.ping().await;
}

#[tokio::test]
async fn delivery_policy_and_history_are_chosen_in_the_query() {
    let (running, program) = start();
    for number in 1..=5 {
        program.ok("publish", json!({"topic": "a", "data": number})).await;
    }
    let query = "topic=a&last=2&delivery=latest_by&field=%2Fkey";
    let mut stream = Stream::open(running.address, query, None).await;
    assert_eq!(stream.message().await.data["data"], 4);
    assert_eq!(stream.message().await.data["data"], 5);
    let mut sampled = Stream::open(running.address, "topic=b&delivery=sample&every_ms=3600000", None).await;
    let session = sampled.event("welcome").await.data["session"].clone();
    program.ok("publish", json!({"topic": "b", "data": 1})).await;
    assert_eq!(sampled.message().await.data["data"], 1);
    for number in 2..=3 {
        program.ok("publish", json!({"topic": "b", "data": number})).await;
    }
    program.ok("disconnect", json!({"session": session})).await;
    // The gap for one may be reported; the other waits for the interval.
    let mut event = sampled.next().await.unwrap();
    if event.name == "gap" {
        event = sampled.next().await.unwrap();
    }
    assert_eq!(event.name, "closing");
}

#[tokio::test]
async fn further_requests_on_the_connection_of_a_stream_are_not_answered() {
    let (running, program) = start();
    let socket = TcpStream::connect(running.address).await.unwrap();
    let second = "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n";
    let request = format!("GET /sse?topic=a HTTP/1.1\r\nHost: a\r\n\r\n{second}");
    let mut stream = Stream::over(socket, &request).await;
    assert!(stream.head.contains("\r\nconnection: close\r\n"), "{}", stream.head);
    program.ok("publish", json!({"topic": "a", "data": 1})).await;
    assert_eq!(stream.message().await.data["offset"], 1);
}

#[tokio::test]
async fn a_stream_that_is_refused_has_an_error_status_and_its_reason() {
    let (running, _) = start_with(|config| {
        let rule =
            rialto::config::TopicRule { pattern: rialto::topic::Pattern::parse("a.>").unwrap(), ..Default::default() };
        config.topics = vec![rule];
    });
    for (query, status, code) in
        [("topic=b", 404, "not_found"), ("topic=a.b&topic=b", 404, "not_found"), ("topic=a..b", 400, "bad_request")]
    {
        let refused = get(running.address, &format!("/sse?{query}")).await;
        assert_eq!(refused.status, status, "{query}: {refused:?}");
        assert_eq!(serde_json::from_str::<Value>(&refused.body).unwrap()["code"], code, "{query}");
    }
    running.becomes_empty().await;
}

#[tokio::test]
async fn responses_before_a_stream_on_its_connection_arrive_first() {
    let (running, program) = start();
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    let request = "GET /api/v1/nothing HTTP/1.1\r\nHost: a\r\n\r\nGET /sse?topic=a HTTP/1.1\r\nHost: a\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("event: subscribed") {
        assert!(within("a response", socket.read_buf(&mut read)).await.unwrap() > 0);
    }
    let text = String::from_utf8_lossy(&read).into_owned();
    let (first, second) = text.split_at(text.find("text/event-stream").unwrap());
    assert_eq!((first.matches("HTTP/1.1 ").count(), second.matches("HTTP/1.1 ").count()), (2, 0), "{text}");
    program.ok("publish", json!({"topic": "a", "data": 1})).await;
    while !String::from_utf8_lossy(&read).contains("event: message") {
        assert!(within("the message", socket.read_buf(&mut read)).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_program_of_http_1_0_gets_a_stream_without_chunks() {
    let (running, _) = start();
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    socket.write_all(b"GET /sse?topic=a HTTP/1.0\r\nHost: a\r\n\r\n").await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("event: subscribed") {
        assert!(within("a response", socket.read_buf(&mut read)).await.unwrap() > 0);
    }
    let text = String::from_utf8_lossy(&read).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("transfer-encoding") && head.contains("\r\ndate: "), "{head}");
    assert!(body.starts_with("retry: "), "{body}");
}

#[tokio::test]
async fn a_client_of_a_stream_that_goes_on_sending_is_disconnected() {
    let (running, _) = start();
    let mut stream = Stream::open(running.address, "topic=a", None).await;
    stream.event("subscribed").await;
    let sent = async {
        loop {
            if stream.send(&[b'x'; 1_000]).await.is_err() {
                break;
            }
        }
    };
    within("the end", sent).await;
    running.becomes_empty().await;
}

/// A peer that is gone without a word acknowledges nothing. That cannot be had on one machine, but its bound is an option of the
/// socket (RFC 5482).
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_of_a_stream_that_vanishes_is_bounded_by_the_system() {
    use rustix::net::sockopt::tcp_user_timeout;
    use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

    let process = Process::start(&format!("{SERVER}[limits]\nping_ms = 7_000\npong_ms = 3_000\n"), None);
    let socket = TcpStream::connect(process.address).await.unwrap();
    let own = socket.local_addr().unwrap();
    let mut stream =
        Stream::over(socket, &format!("GET /sse?topic=a HTTP/1.1\r\nHost: {}\r\n\r\n", process.address)).await;
    stream.event("subscribed").await;
    let pid = process.child.id();
    let child = pidfd_open(Pid::from_raw(pid.cast_signed()).unwrap(), PidfdFlags::empty()).unwrap();
    let numbers = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut sockets = numbers.filter_map(|entry| {
        let number = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
        pidfd_getfd(&child, number, PidfdGetfdFlags::empty()).ok()
    });
    let of_stream = sockets.find(|socket| {
        rustix::net::getpeername(socket)
            .is_ok_and(|peer| SocketAddr::try_from(peer.unwrap()).is_ok_and(|peer| peer == own))
    });
    assert_eq!(tcp_user_timeout(of_stream.unwrap()).unwrap(), 10_000);
}
