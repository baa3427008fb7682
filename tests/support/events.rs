//! A client of Server-Sent Events by hand: a request, the chunks of its answer, and the events in them (WHATWG HTML section
//! 9.2.6).

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::within;

/// One event, its data read as JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    /// The id of the last event so far.
    pub(crate) id: String,
    pub(crate) data: Value,
}

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) head: String,
    socket: TcpStream,
    raw: Vec<u8>,
    text: Vec<u8>,
    id: String,
    /// How long the broker asks to stay away, and the comments so far.
    pub(crate) retry_ms: Option<u64>,
    pub(crate) comments: usize,
    over: bool,
    /// Whether the broker may close the connection within the stream, as it does with a client that does not read.
    pub(crate) may_be_cut: bool,
}

impl Stream {
    /// Opens a stream that must be there.
    pub(crate) async fn open(address: SocketAddr, query: &str, last_event_id: Option<&str>) -> Self {
        let id = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let socket = within("a connection", TcpStream::connect(address)).await.expect("open");
        Self::over(socket, &format!("GET /sse?{query} HTTP/1.1\r\nHost: {address}\r\n{id}\r\n")).await
    }

    /// The same with a receive buffer as small as the system allows.
    pub(crate) async fn open_narrow(address: SocketAddr, query: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(1).expect("set");
        let socket = within("a connection", socket.connect(address)).await.expect("open");
        Self::over(socket, &format!("GET /sse?{query} HTTP/1.1\r\nHost: {address}\r\n\r\n")).await
    }

    /// Sends a request and reads the head of the answer, which must be a stream.
    pub(crate) async fn over(mut socket: TcpStream, request: &str) -> Self {
        socket.write_all(request.as_bytes()).await.expect("sent");
        let (head, raw) = loop_head(&mut socket).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head} {}", String::from_utf8_lossy(&raw));
        assert!(head.to_ascii_lowercase().contains("\r\ncontent-type: text/event-stream"), "{head}");
        let (text, id) = (Vec::new(), String::new());
        Self { head, socket, raw, text, id, retry_ms: None, comments: 0, over: false, may_be_cut: false }
    }

    /// Sends what no client has a reason to.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// The next event; none when the stream has ended as it should.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                let block = String::from_utf8(block).expect("events are UTF-8");
                if let Some(event) = self.read(&block) {
                    return Some(event);
                }
                continue;
            }
            if self.over {
                assert!(self.text.is_empty() || self.may_be_cut, "the stream ended within an event");
                return None;
            }
            self.fill().await;
        }
    }

    /// The next event of this name; others are passed over.
    pub(crate) async fn event(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("no {name} before the end"));
            if event.name == name {
                return event;
            }
        }
    }

    /// The next message; gaps fail the test.
    pub(crate) async fn message(&mut self) -> Event {
        loop {
            let event = self.next().await.expect("a message before the end");
            match &*event.name {
                "message" => return event,
                "welcome" | "subscribed" => {}
                other => panic!("{other}: {event:?}"),
            }
        }
    }

    /// Waits for a comment.
    pub(crate) async fn comment(&mut self) {
        let before = self.comments;
        while self.comments == before {
            match self.text.windows(2).position(|two| two == b"\n\n") {
                Some(end) => {
                    let block: Vec<u8> = self.text.drain(..end + 2).collect();
                    self.read(&String::from_utf8(block).expect("events are UTF-8"));
                }
                None => self.fill().await,
            }
        }
    }

    fn read(&mut self, block: &str) -> Option<Event> {
        let (mut name, mut data) = ("message".to_owned(), Vec::new());
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if !line.is_empty() => self.comments += 1,
                "event" => value.clone_into(&mut name),
                "data" => data.push(value),
                "id" => value.clone_into(&mut self.id),
                "retry" => self.retry_ms = Some(value.parse().expect("a number")),
                "" => {}
                other => panic!("field {other:?}"),
            }
        }
        if data.is_empty() {
            return None;
        }
        let data = serde_json::from_str(&data.join("\n")).expect("data is JSON");
        Some(Event { name, id: self.id.clone(), data })
    }

    /// Reads one chunk.
    async fn fill(&mut self) {
        let (start, length) = loop {
            if let Some(end) = self.raw.windows(2).position(|two| two == b"\r\n") {
                let size = std::str::from_utf8(&self.raw[..end]).expect("ASCII");
                let length = usize::from_str_radix(size, 16).expect("a length");
                if self.raw.len() >= end + 2 + length + 2 {
                    break (end + 2, length);
                }
            }
            let count = within("bytes", self.socket.read_buf(&mut self.raw)).await.unwrap_or(0);
            if count == 0 {
                assert!(self.may_be_cut, "the broker closed the connection within the stream");
                self.over = true;
                return;
            }
        };
        self.text.extend_from_slice(&self.raw[start..start + length]);
        self.raw.drain(..start + length + 2);
        self.over = length == 0;
    }
}

async fn loop_head(socket: &mut TcpStream) -> (String, Vec<u8>) {
    let mut raw = Vec::new();
    loop {
        if let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = raw.split_off(end + 4);
            return (String::from_utf8(raw).expect("a head in ASCII"), rest);
        }
        let count = within("an answer", socket.read_buf(&mut raw)).await.expect("read");
        assert!(count > 0, "the broker closed the connection: {:?}", String::from_utf8_lossy(&raw));
    }
}
