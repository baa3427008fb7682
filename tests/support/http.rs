//! Plain HTTP by hand: one request, one answer, then the end of the connection.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::within;

/// An answer to an HTTP request.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answered {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A correct request for an upgrade, with headers changed (same name), left out (empty value) or added.
pub(crate) fn upgrade_request(address: SocketAddr, change: &[(&str, &str)]) -> String {
    let host = address.to_string();
    let good = [
        ("Host", host.as_str()),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let kept = good.iter().filter(|(name, _)| change.iter().all(|(other, _)| name != other));
    let headers = kept.chain(change.iter().filter(|(_, value)| !value.is_empty()));
    let lines: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET /ws HTTP/1.1\r\n{lines}\r\n")
}

/// Sends bytes and returns all that comes back until the broker closes the connection.
pub(crate) async fn everything_answered(stream: TcpStream, bytes: &[u8]) -> String {
    String::from_utf8_lossy(&all_bytes_answered(stream, bytes).await).into_owned()
}

/// The same where it is no text.
pub(crate) async fn all_bytes_answered(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    // The broker may have closed after the first half already.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut answer)).await;
    answer
}

/// Sends a request and reads until the broker closes the connection or the announced body is complete.
pub(crate) async fn http(address: SocketAddr, request: &str) -> Answered {
    let stream = within("a connection", TcpStream::connect(address)).await.expect("open");
    http_over(stream, request).await
}

/// The same over a connection that is there.
pub(crate) async fn http_over(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answered {
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut bytes = Vec::new();
    loop {
        if let Some(answered) = parse(&bytes) {
            return answered;
        }
        let count = within("an answer", stream.read_buf(&mut bytes)).await.unwrap_or(0);
        assert!(count > 0, "the broker closed the connection: {:?}", String::from_utf8_lossy(&bytes));
    }
}

/// A request without anything special.
pub(crate) async fn get(address: SocketAddr, target: &str) -> Answered {
    http(address, &format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n")).await
}

/// The status of a response of which nothing more is read: a stream may go on for ever.
pub(crate) async fn status(address: SocketAddr, target: &str) -> u16 {
    let mut stream = within("a connection", TcpStream::connect(address)).await.expect("open");
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut line = [0; 12];
    within("a status", stream.read_exact(&mut line)).await.expect("a status line");
    String::from_utf8_lossy(&line[9..]).parse().expect("a status")
}

/// A program that uses the HTTP API.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
}

impl Program {
    /// What it asks for, and the status and body it gets.
    pub(crate) async fn ask(&self, operation: &str, body: &Value) -> (u16, Value) {
        let answered = self.send(operation, "application/json", &body.to_string()).await;
        assert_eq!(answered.header("content-type"), Some("application/json"), "{answered:?}");
        (answered.status, serde_json::from_str(&answered.body).expect("JSON"))
    }

    /// What must succeed.
    pub(crate) async fn ok(&self, operation: &str, body: Value) -> Value {
        let (status, told) = self.ask(operation, &body).await;
        assert_eq!(status, 200, "{operation} {body}: {told}");
        told
    }

    pub(crate) async fn send(&self, operation: &str, content_type: &str, body: &str) -> Answered {
        let Self { address, key } = self;
        let head = format!(
            "POST /api/v1/{operation} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        http(*address, &(head + body)).await
    }
}

fn parse(bytes: &[u8]) -> Option<Answered> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head in ASCII");
    let status = head.split(' ').nth(1)?.parse().expect("a status");
    // Behind 101 come frames, which are not looked at here.
    let body = if status == 101 { &[] } else { &bytes[end + 4..] };
    let body = String::from_utf8_lossy(body).into_owned();
    let answered = Answered { status, head: head.to_owned(), body };
    let length = answered.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    (bytes.len() - end - 4 >= length).then_some(answered)
}
