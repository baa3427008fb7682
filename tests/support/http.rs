//! Plain HTTP by hand: one request, one answer, then the end of the connection.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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

/// Sends bytes and gives all that comes back until the broker hangs up.
pub(crate) async fn everything_answered(mut stream: TcpStream, bytes: &[u8]) -> String {
    // The broker may have hung up on the first half already.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a request and reads until the broker hangs up or the announced body is complete.
pub(crate) async fn http(address: SocketAddr, request: &str) -> Answered {
    let stream = within("a connection", TcpStream::connect(address)).await.expect("open");
    http_over(stream, request).await
}

/// The same over a connection that is there.
pub(crate) async fn http_over(mut stream: TcpStream, request: &str) -> Answered {
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut bytes = Vec::new();
    loop {
        if let Some(answered) = parse(&bytes) {
            return answered;
        }
        let count = within("an answer", stream.read_buf(&mut bytes)).await.unwrap_or(0);
        assert!(count > 0, "the broker hung up: {:?}", String::from_utf8_lossy(&bytes));
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
