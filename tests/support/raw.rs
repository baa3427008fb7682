//! A raw TCP client: hand-made frames, right or wrong, and every byte that comes back checked against RFC 6455.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rialto::Codec;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::{decode, encode, upgrade_request, within};

/// A frame from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// One connection.
pub(crate) struct Raw {
    pub(crate) codec: Codec,
    stream: TcpStream,
    buffer: Vec<u8>,
}

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;
pub(crate) const FIN: u8 = 0x80;

impl Raw {
    /// Connects, upgrades and reads the welcome.
    pub(crate) async fn connect(address: SocketAddr, codec: Codec) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.unwrap();
        Self::upgraded(stream, address, codec, &[]).await
    }

    /// The same with a receive buffer as small as the system allows.
    pub(crate) async fn connect_narrow(address: SocketAddr, codec: Codec) -> Self {
        Self::connect_sized(address, codec, 1).await
    }

    /// The same with a receive buffer of about so many bytes.
    pub(crate) async fn connect_sized(address: SocketAddr, codec: Codec, buffer_bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(buffer_bytes).unwrap();
        let stream = within("a connection", socket.connect(address)).await.unwrap();
        Self::upgraded(stream, address, codec, &[]).await
    }

    /// The same from an address of this machine's own network, 127.0.0.0/8.
    pub(crate) async fn connect_from(source: Ipv4Addr, address: SocketAddr, codec: Codec) -> Self {
        Self::upgraded(open_from(source, address).await, address, codec, &[]).await
    }

    /// The same with bytes sent right behind the request for the upgrade.
    pub(crate) async fn connect_eager(address: SocketAddr, codec: Codec, first: &[u8]) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.unwrap();
        Self::upgraded(stream, address, codec, first).await
    }

    async fn upgraded(mut stream: TcpStream, address: SocketAddr, codec: Codec, first: &[u8]) -> Self {
        let mut request = upgrade_request(address, &[("Sec-WebSocket-Protocol", codec.subprotocol())]).into_bytes();
        request.extend_from_slice(first);
        stream.write_all(&request).await.unwrap();
        let mut raw = Self { codec, stream, buffer: Vec::new() };
        let end = loop {
            if let Some(end) = raw.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(raw.fill().await, "the broker closed the connection during the upgrade");
        };
        let head = String::from_utf8(raw.buffer.drain(..end).collect()).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let welcome = raw.frame_value().await;
        assert_eq!(welcome["type"], "welcome");
        raw
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("room to send", self.stream.write_all(bytes)).await.expect("sent");
    }

    /// Sends what it can: the broker may have closed the connection already.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) {
        let _ = within("room to send", self.stream.write_all(bytes)).await;
    }

    /// Sends a request as one proper frame.
    pub(crate) async fn request(&mut self, request: &Value) {
        let bytes = encode(self.codec, request);
        self.send(&masked(FIN | self.data_opcode(), &bytes)).await;
    }

    pub(crate) fn data_opcode(&self) -> u8 {
        if self.codec == Codec::Json { TEXT } else { BINARY }
    }

    /// The next frame; none at the end of the stream or when it was reset.
    pub(crate) async fn frame(&mut self) -> Option<Wire> {
        loop {
            if let Some((frame, length)) = parse(&self.buffer) {
                self.buffer.drain(..length);
                return Some(frame);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads so many bytes and no more, without looking at them yet.
    pub(crate) async fn drip(&mut self, bytes: usize) {
        let mut some = vec![0; bytes];
        within("bytes", self.stream.read_exact(&mut some)).await.expect("bytes before the end");
        self.buffer.extend_from_slice(&some);
    }

    /// The next frame, which must be one of the protocol.
    pub(crate) async fn frame_value(&mut self) -> Value {
        let frame = self.frame().await.expect("a frame before the end");
        assert_eq!(frame.opcode, self.data_opcode(), "{frame:?}");
        decode(self.codec, &frame.payload)
    }

    /// Everything until the broker closes the connection. At most one Close is among it, and nothing follows that.
    pub(crate) async fn rest(&mut self) -> Vec<Wire> {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            frames.push(frame);
        }
        assert!(self.buffer.is_empty(), "the broker closed the connection within a frame");
        let closes = frames.iter().filter(|frame| frame.opcode == CLOSE).count();
        assert!(closes <= 1, "one Close is enough: {frames:?}");
        assert!(closes == 0 || frames.last().unwrap().opcode == CLOSE, "nothing follows a Close: {frames:?}");
        frames
    }

    /// The code of the Close that ends the connection; 1005 when it names none.
    pub(crate) async fn close_code(&mut self) -> u16 {
        let rest = self.rest().await;
        let close = rest.last().expect("a Close before the end");
        assert_eq!(close.opcode, CLOSE, "{rest:?}");
        close.code()
    }

    /// Disconnects with a reset instead of a Close.
    pub(crate) fn reset(self) {
        let linger = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        linger.expect("a socket can be reset");
    }

    /// Says that nothing more will be sent, if the broker still listens.
    pub(crate) async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The connection itself, once everything that came has been read.
    #[allow(dead_code, reason = "for benches")]
    pub(crate) fn into_stream(self) -> TcpStream {
        assert!(self.buffer.is_empty(), "something was not read");
        self.stream
    }

    async fn fill(&mut self) -> bool {
        matches!(within("bytes", self.stream.read_buf(&mut self.buffer)).await, Ok(count) if count > 0)
    }
}

/// A TCP connection from an address of this machine's own network, 127.0.0.0/8.
pub(crate) async fn open_from(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    within("a connection", socket.connect(address)).await.unwrap()
}

impl Wire {
    /// The code in a Close.
    pub(crate) fn code(&self) -> u16 {
        assert_eq!(self.opcode, CLOSE, "{self:?}");
        match self.payload[..] {
            [] => 1005,
            [high, low, ..] => u16::from_be_bytes([high, low]),
            _ => panic!("half a close code"),
        }
    }
}

/// A frame with a mask and the shortest length; `first` is the first byte of it.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = header(first, 0x80, payload.len());
    bytes.extend_from_slice(&key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A frame without a mask, which no client may send.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, 0, payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

/// The start of a masked frame that says how long it is; nothing of it follows.
pub(crate) fn promise(first: u8, length: u64) -> Vec<u8> {
    let length = usize::try_from(length).unwrap();
    let mut bytes = header(first, 0x80, length);
    bytes.extend_from_slice(&[1, 2, 3, 4]);
    bytes
}

fn header(first: u8, mask: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    match u16::try_from(length) {
        Ok(short @ 0..126) => bytes.push(mask | short as u8),
        Ok(short) => {
            bytes.push(mask | 126);
            bytes.extend_from_slice(&short.to_be_bytes());
        }
        Err(_) => {
            bytes.push(mask | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes
}

/// Everything that the broker has said until the end of a connection, which must be whole frames.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Wire> {
    let mut frames = Vec::new();
    while let Some((frame, length)) = parse(bytes) {
        frames.push(frame);
        bytes = &bytes[length..];
    }
    assert!(bytes.is_empty(), "the broker closed the connection within a frame");
    frames
}

/// The first whole frame of the bytes and its length. What a server must not send fails the test.
fn parse(bytes: &[u8]) -> Option<(Wire, usize)> {
    let [first, second, rest @ ..] = bytes else { return None };
    assert_eq!(first & 0x70, 0, "the broker negotiates no extension, so no reserved bit is ever set");
    assert_eq!(first & FIN, FIN, "the broker does not fragment");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let opcode = first & 0x0f;
    assert!([TEXT, BINARY, CLOSE, PING, PONG].contains(&opcode), "opcode {opcode}");
    let (length, start) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().unwrap())), 4),
        127 => (usize::try_from(u64::from_be_bytes(rest.get(..8)?.try_into().unwrap())).unwrap(), 10),
        short => (usize::from(short), 2),
    };
    assert!(opcode < CLOSE || length <= 125, "a control frame of {length} bytes");
    let payload = bytes.get(start..start + length)?.to_vec();
    Some((Wire { opcode, payload }, start + length))
}
