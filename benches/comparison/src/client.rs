//! One session with Rialto over a blocking socket, in either codec: whole frames, and every way to disconnect. Waiting has a
//! deadline; it measures nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rialto_protocol::Codec;
use serde_json::{Value, json};
use socket2::SockRef;

use rialto_load::LoadError;
use rialto_load::frame::{self, BINARY, CLOSE, PING, PONG, TEXT};
use rialto_load::socket::{self, Upgraded};

const PATH: &str = "/ws";
const READ_BYTES: usize = 16 * 1024;
/// `1000` as it stands in a Close.
const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();

/// A session that is open.
#[derive(Debug)]
pub(crate) struct Client {
    codec: Codec,
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How much of the buffer has been looked at.
    taken: usize,
    out: Vec<u8>,
    next_id: u64,
}

impl Client {
    /// Connects, upgrades and reads the welcome. `receive_bytes` is the size of the kernel's buffer, where that matters.
    pub(crate) fn connect(address: SocketAddr, codec: Codec, receive_bytes: Option<usize>) -> Result<Self, LoadError> {
        let endpoint = (PATH.to_owned(), Some(codec.subprotocol()));
        let Upgraded { stream, rest } = socket::ask(address, endpoint, receive_bytes)?.upgraded()?;
        stream.set_nonblocking(false).map_err(LoadError::system("a socket cannot be made blocking"))?;
        let mut client = Self { codec, stream, buffer: rest, taken: 0, out: Vec::new(), next_id: 1 };
        let first = client.frame()?;
        match &first {
            Some(welcome) if welcome["type"] == "welcome" => Ok(client),
            _ => Err(strange(first)),
        }
    }

    /// Sends a request with a new id and returns the id.
    pub(crate) fn ask(&mut self, mut request: Value) -> Result<u64, LoadError> {
        let id = self.next_id;
        self.next_id += 1;
        request["id"] = id.into();
        self.out.clear();
        append(self.codec, &request, &mut self.out);
        self.stream.write_all(&self.out).map_err(unanswered)?;
        Ok(id)
    }

    /// Sends a request and waits for its reply; frames before it are dropped.
    pub(crate) fn request(&mut self, request: Value) -> Result<Value, LoadError> {
        let id = self.ask(request)?;
        loop {
            let frame = self.expect()?;
            if frame["id"] == id {
                return Ok(frame);
            }
        }
    }

    /// The same, of a request that must succeed.
    pub(crate) fn ok(&mut self, what: &'static str, request: Value) -> Result<Value, LoadError> {
        let reply = self.request(request)?;
        if reply["type"] == "error" { Err(refused(what, &reply)) } else { Ok(reply) }
    }

    /// Subscribes. Returns the offset after which messages follow.
    pub(crate) fn subscribe(&mut self, topic: &str) -> Result<u64, LoadError> {
        let reply = self.ok("subscribe", json!({"type": "subscribe", "topic": topic}))?;
        reply["position"]["offset"].as_u64().ok_or_else(|| strange(Some(reply)))
    }

    /// The next frame, which must come.
    pub(crate) fn expect(&mut self) -> Result<Value, LoadError> {
        self.frame()?.ok_or_else(|| strange(None))
    }

    /// The next frame of the protocol; none when the broker has closed the session or the connection.
    pub(crate) fn frame(&mut self) -> Result<Option<Value>, LoadError> {
        loop {
            let rest = &self.buffer[self.taken..];
            let Some(frame) = frame::split(rest).map_err(|error| LoadError::Strange { what: error.to_string() })?
            else {
                if self.fill()? {
                    continue;
                }
                return Ok(None);
            };
            self.taken += frame.bytes;
            match frame.opcode {
                TEXT | BINARY => return Ok(Some(value(self.codec, frame.payload)?)),
                CLOSE => return Ok(None),
                PING => {
                    self.out.clear();
                    frame::append_client(PONG, &[frame.payload], &mut self.out);
                    self.stream.write_all(&self.out).map_err(unanswered)?;
                }
                _ => {}
            }
        }
    }

    /// Sends a Close and waits until the broker has closed the connection.
    pub(crate) fn close(mut self) -> Result<(), LoadError> {
        self.out.clear();
        frame::append_client(CLOSE, &[&NORMAL], &mut self.out);
        self.stream.write_all(&self.out).map_err(unanswered)?;
        while self.frame()?.is_some() {}
        while self.fill()? {}
        // Nothing is under way any more. Without this the system would remember thousands of ended connections.
        self.reset()
    }

    /// Shuts down the writing side, and disconnects.
    pub(crate) fn finish(self) -> Result<(), LoadError> {
        match self.stream.shutdown(Shutdown::Write) {
            Err(error) if !is_end(&error) => Err(LoadError::system("a socket cannot be shut down")(error)),
            _ => Ok(()),
        }
    }

    /// Disconnects with a reset.
    pub(crate) fn reset(self) -> Result<(), LoadError> {
        let linger = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        linger.map_err(LoadError::system("a socket cannot be reset"))
    }

    /// Sends so much of a request that it is not whole, if the broker still listens.
    pub(crate) fn begin(&mut self, request: &Value) {
        self.out.clear();
        append(self.codec, request, &mut self.out);
        // The broker may have closed already, which does not matter here.
        let _ = self.stream.write_all(&self.out[..self.out.len() / 2]);
    }

    /// Sends a request many times in one go and reads no answer.
    pub(crate) fn flood(&mut self, request: &Value, times: usize) {
        self.out.clear();
        append(self.codec, request, &mut self.out);
        let _ = self.stream.write_all(&self.out.repeat(times));
    }

    /// Reads what there is. False means that the broker has closed the connection.
    fn fill(&mut self) -> Result<bool, LoadError> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let start = self.buffer.len();
        self.buffer.resize(start + READ_BYTES, 0);
        let read = loop {
            match self.stream.read(&mut self.buffer[start..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(start + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(count) => Ok(count > 0),
            Err(error) if is_end(&error) => Ok(false),
            Err(error) => Err(unanswered(error)),
        }
    }
}

fn append(codec: Codec, request: &Value, out: &mut Vec<u8>) {
    let (opcode, payload) = match codec {
        Codec::Json => (TEXT, serde_json::to_vec(request).expect("a JSON value is JSON")),
        Codec::MessagePack => (BINARY, rmp_serde::to_vec_named(request).expect("a JSON value fits into MessagePack")),
    };
    frame::append_client(opcode, &[&payload], out);
}

fn value(codec: Codec, payload: &[u8]) -> Result<Value, LoadError> {
    let read = match codec {
        Codec::Json => serde_json::from_slice(payload).map_err(|error| error.to_string()),
        Codec::MessagePack => rmp_serde::from_slice(payload).map_err(|error| error.to_string()),
    };
    read.map_err(|error| LoadError::Strange { what: format!("a frame that cannot be read ({error})") })
}

fn is_end(error: &std::io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

fn unanswered(error: std::io::Error) -> LoadError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            let seconds = socket::ANSWER_TIMEOUT.as_secs();
            LoadError::TimedOut { missing: 1, all: 1, what: "answers did not come", seconds }
        }
        _ => LoadError::system("a session broke off")(error),
    }
}

pub(crate) fn refused(what: &'static str, error: &Value) -> LoadError {
    LoadError::Refused { what, reason: format!("{}: {}", error["code"], error["message"]) }
}

/// An unexpected frame.
pub(crate) fn strange(frame: Option<Value>) -> LoadError {
    let what = frame.map_or_else(|| "the end of the session".to_owned(), |frame| frame.to_string());
    LoadError::Strange { what: format!("{what}, which was not expected") }
}
