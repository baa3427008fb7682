//! The baseline: the fastest simple server. One thread, epoll, no envelope, no order, no recovery; it speaks the Plain dialect
//! and trusts its clients.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rialto_protocol::{Codec, Frame, Payload};
use sha1::{Digest, Sha1};

use crate::dialect::Wire;
use crate::frame;
use crate::payload::{self, Stamp, topic_name};
use crate::scenario::Dialect;

/// More than this never waits for a client; one that reads more slowly is dropped.
const PENDING_BYTES_MAX: usize = 1024 * 1024;
const BUFFER_BYTES: usize = 1024 * 1024;
const HEAD_BYTES_MAX: usize = 16 * 1024;
const EVENTS: usize = 1024;
const LISTENER: Token = Token(usize::MAX);

/// Serves until the process ends: what comes in at `/pub/T` goes out to all at `/sub/T`. Batched, all messages of one
/// turn of the loop go out in one write per socket; else each in its own.
pub fn serve(listener: net::TcpListener, batched: bool) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut floor = Floor {
        poll: Poll::new()?,
        listener: TcpListener::from_std(listener),
        clients: Vec::new(),
        free: Vec::new(),
        names: HashMap::new(),
        topics: Vec::new(),
        buffer: vec![0; BUFFER_BYTES],
        batched,
    };
    floor.poll.registry().register(&mut floor.listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(EVENTS);
    loop {
        floor.turn(&mut events)?;
    }
}

/// The payload of the Plain dialect for which this server's frames are as long as those in which Rialto delivers
/// `payload_bytes`, when the topic has had some ten thousand messages.
pub fn payload_bytes_like_rialto(payload_bytes: u32, codec: Codec) -> u32 {
    const OFFSET: u64 = 99_999;
    const TIME_MS: u64 = 1_800_000_000_000;
    let bytes = Wire::content_bytes(Dialect::Rialto, payload_bytes);
    let content = payload::write(Stamp { topic: 0, sequence: 0, time_ns: 0 }, bytes);
    let payload = Payload::json(&String::from_utf8_lossy(&content)).expect("a string is a payload");
    let topic = topic_name(0);
    let message = Frame::Message { topic: &topic, offset: OFFSET, time: TIME_MS, from: None, payload: &payload };
    let mut encoded = Vec::new();
    message.encode(codec, &mut encoded);
    u32::try_from(encoded.len()).unwrap_or(u32::MAX)
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    names: HashMap<String, usize>,
    topics: Vec<Topic>,
    buffer: Vec<u8>,
    batched: bool,
}

#[derive(Default)]
struct Topic {
    members: Vec<usize>,
    /// The frames of this turn.
    frames: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

struct Client {
    stream: TcpStream,
    role: Role,
    /// The beginning of a head or of a frame.
    rest: Vec<u8>,
    /// What the socket would not take yet.
    pending: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Role {
    New,
    Subscriber(usize),
    Publisher(usize),
}

impl Floor {
    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        if let Err(error) = self.poll.poll(events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in events.iter() {
            if event.token() == LISTENER {
                self.accept()?;
                continue;
            }
            let index = event.token().0;
            if event.is_writable() && !self.write_pending(index) {
                self.drop_client(index);
            }
            if event.is_readable() && !self.receive(index, event.is_read_closed()) {
                self.drop_client(index);
            }
        }
        self.fan_out();
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // Whoever left before being accepted concerns nobody.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or(self.clients.len());
            self.poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
            let client = Client { stream, role: Role::New, rest: Vec::new(), pending: Vec::new() };
            match self.clients.get_mut(index) {
                Some(place) => *place = Some(client),
                None => self.clients.push(Some(client)),
            }
        }
    }

    /// Reads all there is, or `to_end`; false when the client is done.
    fn receive(&mut self, index: usize, to_end: bool) -> bool {
        loop {
            let Some(client) = self.clients[index].as_mut() else { return true };
            let kept = client.rest.len();
            if kept >= BUFFER_BYTES {
                return false;
            }
            self.buffer[..kept].copy_from_slice(&client.rest);
            client.rest.clear();
            let count = match client.stream.read(&mut self.buffer[kept..]) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    client.rest.extend_from_slice(&self.buffer[..kept]);
                    return true;
                }
                Err(_) => return false,
            };
            let received = kept + count;
            let Some(taken) = self.take(index, received) else { return false };
            if let Some(client) = self.clients[index].as_mut() {
                client.rest.extend_from_slice(&self.buffer[taken..received]);
            }
            if received < BUFFER_BYTES && !to_end {
                return true;
            }
        }
    }

    /// Understands the first bytes of the buffer and returns how many of them; none when the client is done.
    fn take(&mut self, index: usize, received: usize) -> Option<usize> {
        let client = self.clients[index].as_mut()?;
        let bytes = &self.buffer[..received];
        let topic = match client.role {
            Role::New => return self.upgrade(index, received),
            // Pongs and the like: nothing that matters.
            Role::Subscriber(_) => return (!bytes.starts_with(&[0x88])).then_some(received),
            Role::Publisher(topic) => &mut self.topics[topic],
        };
        let mut taken = 0;
        let mut message = Vec::new();
        while let Some(frame) = frame::split(&bytes[taken..]).ok()? {
            taken += frame.bytes;
            match frame.opcode {
                frame::CLOSE => return None,
                frame::TEXT | frame::BINARY => {
                    message.clear();
                    frame::append_unmasked(&frame, &mut message);
                    frame::append_server(frame.opcode, &message, &mut topic.frames);
                    topic.ends.push(topic.frames.len());
                }
                _ => {}
            }
        }
        Some(taken)
    }

    fn upgrade(&mut self, index: usize, received: usize) -> Option<usize> {
        let bytes = &self.buffer[..received];
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return (received < HEAD_BYTES_MAX).then_some(0);
        };
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let path = head.split_whitespace().nth(1)?.to_owned();
        let key = head.lines().filter_map(|line| line.split_once(':'));
        let (_, key) = key.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?;
        let accept = STANDARD.encode(Sha1::digest(format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key.trim())));
        let (publishes, name) = match (path.strip_prefix("/pub/"), path.strip_prefix("/sub/")) {
            (Some(name), _) => (true, name),
            (_, name) => (false, name.unwrap_or_default()),
        };
        let topic = self.topic(name);
        let client = self.clients[index].as_mut()?;
        client.role = if publishes { Role::Publisher(topic) } else { Role::Subscriber(topic) };
        if !publishes {
            self.topics[topic].members.push(index);
        }
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.write(index, answer.as_bytes()).then_some(end + 4)
    }

    fn topic(&mut self, name: &str) -> usize {
        if let Some(topic) = self.names.get(name) {
            return *topic;
        }
        self.topics.push(Topic::default());
        self.names.insert(name.to_owned(), self.topics.len() - 1);
        self.topics.len() - 1
    }

    /// Sends the messages of this turn to all who should have them.
    fn fan_out(&mut self) {
        for index in 0..self.topics.len() {
            if self.topics[index].ends.is_empty() {
                continue;
            }
            let mut topic = std::mem::take(&mut self.topics[index]);
            let members = topic.members.clone();
            if self.batched {
                self.send(&members, &topic.frames);
            } else {
                let mut start = 0;
                for end in &topic.ends {
                    self.send(&members, &topic.frames[start..*end]);
                    start = *end;
                }
            }
            topic.frames.clear();
            topic.ends.clear();
            // Who was dropped meanwhile has to be taken off the list that was put aside, too.
            topic.members.retain(|member| self.clients[*member].is_some());
            self.topics[index] = topic;
        }
    }

    fn send(&mut self, members: &[usize], bytes: &[u8]) {
        for member in members {
            if self.clients[*member].is_some() && !self.write(*member, bytes) {
                self.drop_client(*member);
            }
        }
    }

    /// Writes, and keeps what the socket does not take; false when the client is done.
    #[inline]
    fn write(&mut self, index: usize, bytes: &[u8]) -> bool {
        let Some(client) = self.clients[index].as_mut() else { return true };
        let mut written = 0;
        if client.pending.is_empty() {
            written = match client.stream.write(bytes) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(_) => return false,
            };
            if written == bytes.len() {
                return true;
            }
            let both = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().reregister(&mut client.stream, Token(index), both).is_err() {
                return false;
            }
        }
        client.pending.extend_from_slice(&bytes[written..]);
        client.pending.len() <= PENDING_BYTES_MAX
    }

    /// The socket takes more; false when the client is done.
    fn write_pending(&mut self, index: usize) -> bool {
        let Some(client) = self.clients[index].as_mut().filter(|client| !client.pending.is_empty()) else {
            return true;
        };
        let mut written = 0;
        while written < client.pending.len() {
            match client.stream.write(&client.pending[written..]) {
                Ok(0) => return false,
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        client.pending.drain(..written);
        if !client.pending.is_empty() {
            return true;
        }
        self.poll.registry().reregister(&mut client.stream, Token(index), Interest::READABLE).is_ok()
    }

    fn drop_client(&mut self, index: usize) {
        let Some(client) = self.clients[index].take() else { return };
        self.free.push(index);
        if let Role::Subscriber(topic) = client.role {
            self.topics[topic].members.retain(|member| *member != index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_long_as_those_of_rialto() {
        // {"type":"message","topic":"bench.000000","offset":99999,"time":1800000000000,"data":"…"}
        assert_eq!(payload_bytes_like_rialto(128, Codec::Json), 85 + 128);
        assert!(payload_bytes_like_rialto(128, Codec::MessagePack) < payload_bytes_like_rialto(128, Codec::Json));
    }
}
