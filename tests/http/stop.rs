//! A broker that stops sends `closing` to its streams, and closes connections that are not sessions.

use rialto::Codec;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::http::start;
use crate::support::events::Stream;
use crate::support::{eventually, everything_answered, within};

#[tokio::test]
async fn streams_are_sent_closing_with_a_retry_hint_when_the_broker_stops() {
    let (mut running, program) = start();
    let mut stream = Stream::open(running.address, "topic=a", None).await;
    let mut client = running.client(Codec::Json).await;
    program.ok("publish", json!({"topic": "a", "data": 1})).await;
    running.begin_stop();
    assert_eq!(stream.message().await.data["offset"], 1);
    let closing = stream.next().await.unwrap();
    assert_eq!((&*closing.name, &closing.data["code"]), ("closing", &json!(1001)));
    assert_eq!(stream.retry_ms, closing.data["retry_after_ms"].as_u64());
    assert_eq!(stream.next().await, None);
    assert_eq!(client.closed().await, Some(1001));
}

#[tokio::test]
async fn at_the_stop_a_waiting_poll_is_answered_and_an_idle_connection_closed() {
    let (mut running, _) = start();
    let idle = TcpStream::connect(running.address).await.unwrap();
    let poll = TcpStream::connect(running.address).await.unwrap();
    let answered = tokio::spawn(everything_answered(poll, b"GET /poll?topic=a HTTP/1.1\r\nHost: a\r\n\r\n"));
    eventually("the poll has subscribed", || running.broker.metrics().subscriptions == 1).await;
    running.begin_stop();
    let answer = within("an answer", answered).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    assert!(answer.ends_with("\"retry_after_ms\":1000}"), "{answer}");
    let mut idle = idle;
    // The broker may have closed the connection already.
    let _ = idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await;
    assert_eq!(everything_answered(idle, b"").await, "");
}
