//! A client that takes whatever it can get, at any door and in any order, and is bound by nothing.

use std::cell::Cell;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::ADDRESSES;
use super::settings::{KEY, NEIGHBOUR};
use crate::support::dice::Dice;
use crate::support::raw::{CONTINUATION, FIN, PING, TEXT, masked, promise};
use crate::support::upgrade_request;

/// How long it waits for anything.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a crowd has done.
#[derive(Clone, Debug, Default)]
pub(super) struct Deeds {
    sessions: Cell<u64>,
    requests: Cell<u64>,
    refused: Cell<u64>,
    bytes: Cell<u64>,
    /// Of the neighbour.
    pub(super) rounds: Cell<u64>,
}

impl fmt::Display for Deeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} connections that were accepted and {} that were refused, {} requests, {} bytes read; the neighbour had {} rounds",
            self.sessions.get(),
            self.refused.get(),
            self.requests.get(),
            self.bytes.get(),
            self.rounds.get()
        )
    }
}

impl Deeds {
    /// Whether they say anything.
    pub(super) fn are_many(&self) -> bool {
        [&self.sessions, &self.requests, &self.bytes, &self.rounds].iter().all(|count| count.get() >= 10)
    }
}

fn add(cell: &Cell<u64>, count: u64) {
    cell.set(cell.get() + count);
}

pub(super) struct Intruder {
    address: SocketAddr,
    number: u64,
    dice: Dice,
}

impl Intruder {
    pub(super) fn new(address: SocketAddr, number: u64, dice: Dice) -> Self {
        Self { address, number, dice }
    }

    pub(super) async fn run(mut self, over: Rc<Cell<bool>>, deeds: Rc<Deeds>) {
        while !over.get() {
            match self.dice.below(10) {
                0..6 => self.session(&over, &deeds).await,
                6 => self.stream(&deeds).await,
                7 => self.poll(&deeds).await,
                8 => self.api(&deeds).await,
                _ => self.nonsense(&deeds).await,
            }
            // Whoever is refused comes back at once, but not without any pause: this has a core with the neighbour.
            tokio::time::sleep(Duration::from_millis(self.dice.below(5))).await;
        }
    }

    /// A WebSocket with bursts of requests.
    async fn session(&mut self, over: &Cell<bool>, deeds: &Deeds) {
        let Some(mut socket) = self.open(true).await else { return };
        let request = upgrade_request(self.address, &[("Sec-WebSocket-Protocol", "rialto.v1.json")]);
        if !self.is_answered(&mut socket, request.as_bytes(), "HTTP/1.1 101 ", deeds).await {
            return;
        }
        for _ in 0..self.dice.within(1, 30) {
            if over.get() {
                break;
            }
            let burst = self.burst(deeds);
            if !write(&mut socket, &burst).await {
                return;
            }
            // One that reads nothing for a while, or never.
            if self.dice.percent(60) && !self.read(&mut socket, deeds).await {
                return;
            }
            tokio::task::yield_now().await;
        }
        if self.dice.percent(30) {
            // With a reset.
            let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        }
    }

    /// Frames that come together.
    fn burst(&mut self, deeds: &Deeds) -> Vec<u8> {
        let (kind, count) = (self.dice.below(14), self.dice.within(1, 300));
        let text = |request: Value| masked(FIN | TEXT, request.to_string().as_bytes());
        let requests: Vec<Value> = match kind {
            0 => vec![json!({"type": "subscribe", "id": 1, "topics": self.list(count)})],
            1 => vec![json!({"type": "subscribe", "id": 1, "topics": vec![json!({"topic": ""}); count as usize]})],
            2 => (0..count).map(|id| json!({"type": "subscribe", "id": id, "topic": self.pattern()})).collect(),
            // Without an id nothing is answered.
            3 => (0..count).map(|_| json!({"type": "publish", "topic": self.topic(), "data": 1})).collect(),
            4 => {
                let data = "x".repeat(self.dice.within(1, 4_000) as usize);
                let key = |dice: &mut Dice| format!("key{}", dice.below(1_000_000));
                (0..count / 4 + 1)
                    .map(|id| {
                        let (topic, key) = (self.topic(), key(&mut self.dice));
                        json!({"type": "publish", "id": id, "topic": topic, "key": key, "data": data})
                    })
                    .collect()
            }
            5 => vec![json!({"type": "unsubscribe", "id": 1, "topics": self.list(count)})],
            6 => (0..count).map(|id| json!({"type": "history", "id": id, "topic": self.topic()})).collect(),
            7 => (0..count).map(|id| json!({"type": "presence", "id": id, "topic": self.topic()})).collect(),
            8 => {
                let one = |id| {
                    let policy = json!({"policy": "latest_by", "field": format!("/{}", id % 40)});
                    json!({"type": "subscribe", "id": id, "topic": NEIGHBOUR, "delivery": policy, "presence": true})
                };
                (0..count).map(one).collect()
            }
            9 => (0..count).map(|id| json!({"type": "nothing", "id": id})).collect(),
            10 => {
                (0..count).map(|id| json!({"type": "call", "id": id, "topic": self.topic(), "method": "m"})).collect()
            }
            11 => (0..count).map(|id| json!({"type": "ping", "id": id})).collect(),
            _ => Vec::new(),
        };
        add(&deeds.requests, requests.len() as u64);
        match kind {
            12 => (0..count).flat_map(|_| masked(FIN | PING, b"x")).collect(),
            // A message in pieces, of which the last one may not come.
            13 => {
                let begin = masked(TEXT, b"\"");
                let middle = masked(CONTINUATION, &[b'x'; 40]).repeat(count as usize);
                let end = masked(FIN | CONTINUATION, b"\"");
                let last = if self.dice.percent(50) { end } else { promise(FIN | CONTINUATION, 1_000) };
                [begin, middle, last].concat()
            }
            _ => requests.into_iter().flat_map(text).collect(),
        }
    }

    fn list(&mut self, count: u64) -> Vec<Value> {
        let more = match self.dice.below(4) {
            0 => json!({"last": 10}),
            1 => json!({"presence": true}),
            2 => json!({"since": {"epoch": "x", "offset": 3}}),
            _ => json!({}),
        };
        let one = |topic: String| {
            let mut one = more.clone();
            one["topic"] = topic.into();
            one
        };
        (0..count).map(|_| one(self.topic())).collect()
    }

    fn topic(&mut self) -> String {
        let (number, some) = (self.number, self.dice.below(2_000));
        match self.dice.below(4) {
            0 => format!("plain.{number}.{some}"),
            1 => format!("own.{number}.{some}"),
            2 => format!("all.{}", some % 50),
            _ => format!("a.b.c.d.e.f.g.h.i.j.{some}"),
        }
    }

    fn pattern(&mut self) -> String {
        let mut token = |token: &'static str| if self.dice.percent(50) { "*" } else { token };
        let tokens: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(&mut token).to_vec();
        let length = self.dice.within(1, 10) as usize;
        let last = if self.dice.percent(50) { ">" } else { "*" };
        [&tokens[..length], &[last]].concat().join(".")
    }

    /// Events, read or not.
    async fn stream(&mut self, deeds: &Deeds) {
        let Some(mut socket) = self.open(true).await else { return };
        let topics: Vec<String> = (0..self.dice.within(1, 50))
            .map(|_| format!("topic={}", self.topic()))
            .chain([format!("topic={NEIGHBOUR}")])
            .collect();
        let request = format!("GET /sse?{}&last=5 HTTP/1.1\r\nHost: {}\r\n\r\n", topics.join("&"), self.address);
        if self.is_answered(&mut socket, request.as_bytes(), "HTTP/1.1 200 ", deeds).await {
            for _ in 0..self.dice.below(5) {
                if !self.read(&mut socket, deeds).await {
                    return;
                }
                if self.dice.percent(10) && !write(&mut socket, &[b'x'; 3_000]).await {
                    return;
                }
            }
        }
    }

    async fn poll(&mut self, deeds: &Deeds) {
        let Some(mut socket) = self.open(false).await else { return };
        let request = format!(
            "GET /poll?topic={}&last=300&wait_ms={} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.topic(),
            self.dice.below(1_000),
            self.address
        );
        if self.is_answered(&mut socket, request.repeat(3).as_bytes(), "HTTP/1.1 200 ", deeds).await {
            self.read(&mut socket, deeds).await;
        }
    }

    async fn api(&mut self, deeds: &Deeds) {
        let Some(mut socket) = self.open(false).await else { return };
        let (address, mut requests) = (self.address, String::new());
        for _ in 0..self.dice.within(1, 100) {
            let (operation, body) = match self.dice.below(4) {
                0 => ("publish", json!({"topic": self.topic(), "data": "x".repeat(self.dice.below(1_000) as usize)})),
                1 => ("history", json!({"topic": self.topic()})),
                2 => ("topics", json!({"pattern": ">"})),
                _ => ("presence", json!({"topic": self.topic()})),
            };
            let body = body.to_string();
            requests += &format!(
                "POST /api/v1/{operation} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {KEY}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            add(&deeds.requests, 1);
        }
        if self.is_answered(&mut socket, requests.as_bytes(), "HTTP/1.1 ", deeds).await {
            self.read(&mut socket, deeds).await;
        }
    }

    /// What is no request.
    async fn nonsense(&mut self, deeds: &Deeds) {
        let Some(mut socket) = self.open(false).await else { return };
        let bytes: Vec<u8> = match self.dice.below(3) {
            0 => (0..self.dice.below(3_000)).map(|_| self.dice.below(256) as u8).collect(),
            1 => format!("GET /{} HTTP/1.1\r\n", "x".repeat(self.dice.below(20_000) as usize)).into_bytes(),
            _ => Vec::new(),
        };
        if write(&mut socket, &bytes).await {
            self.read(&mut socket, deeds).await;
        }
    }

    async fn open(&mut self, may_be_narrow: bool) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().ok()?;
        if may_be_narrow && self.dice.percent(30) {
            socket.set_recv_buffer_size(1).ok()?;
        }
        let source = Ipv4Addr::new(127, 0, 0, 10 + (self.number % ADDRESSES) as u8);
        socket.bind((source, 0).into()).ok()?;
        tokio::time::timeout(PATIENCE, socket.connect(self.address)).await.ok()?.ok()
    }

    /// Whether a request is answered like this.
    async fn is_answered(&self, socket: &mut TcpStream, request: &[u8], expected: &str, deeds: &Deeds) -> bool {
        let mut head = vec![0; expected.len()];
        let answered = write(socket, request).await
            && matches!(tokio::time::timeout(PATIENCE, socket.read_exact(&mut head)).await, Ok(Ok(_)))
            && head == expected.as_bytes();
        add(if answered { &deeds.sessions } else { &deeds.refused }, 1);
        answered
    }

    /// Reads for a moment. Returns whether the connection goes on.
    async fn read(&mut self, socket: &mut TcpStream, deeds: &Deeds) -> bool {
        let mut buffer = [0; 65_536];
        for _ in 0..self.dice.within(1, 4) {
            match tokio::time::timeout(Duration::from_millis(self.dice.below(20)), socket.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return false,
                Ok(Ok(count)) => add(&deeds.bytes, count as u64),
                Err(_) => return true,
            }
        }
        true
    }
}

/// Writes what the broker takes in time.
async fn write(socket: &mut TcpStream, bytes: &[u8]) -> bool {
    matches!(tokio::time::timeout(PATIENCE, socket.write_all(bytes)).await, Ok(Ok(())))
}
