//! One hostile connection: opens itself without blocking, sends what its kind sends, and detects when the broker closes it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::hostile::Kind;

/// Sources are 127.0.0.2 to 127.0.0.50, as many attackers come from more than one place.
const SOURCES: usize = 49;
/// The kernel's buffer of one that does not read.
const UNREAD_RECEIVE_BYTES: usize = 4096;
const UPGRADED: &[u8] = b"HTTP/1.1 101 ";

/// A connection and how far it is.
#[derive(Debug)]
pub(super) struct Attacker {
    stream: TcpStream,
    kind: Kind,
    stage: Stage,
    /// What is to be said and was not taken yet.
    out: Vec<u8>,
    /// The beginning of what the broker answered.
    heard: Vec<u8>,
    dripped: usize,
    begun: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    /// Its upgrade is not answered yet.
    Asking,
    /// It does what its kind does.
    Leaning,
}

/// What an event did to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    /// The broker hung up after it had leaned on it for so long.
    Ended(Duration),
    /// It was never what it wanted to be.
    Refused,
}

impl Attacker {
    /// Begins to connect; `place` decides where it comes from.
    pub(super) fn open(address: SocketAddr, kind: Kind, place: usize, registry: &Registry) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if !kind.reads() {
            socket.set_recv_buffer_size(UNREAD_RECEIVE_BYTES)?;
        }
        let source = SocketAddr::from(([127, 0, 0, 2 + (place % SOURCES) as u8], 0));
        socket.bind(&source.into())?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => return Err(error),
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        registry.register(&mut stream, Token(place), Interest::READABLE | Interest::WRITABLE)?;
        let (out, heard) = (Vec::new(), Vec::new());
        Ok(Self { stream, kind, stage: Stage::Connecting, out, heard, dripped: 0, begun: Instant::now() })
    }

    /// Whether it does what its kind does.
    pub(super) fn leans(&self) -> bool {
        self.stage == Stage::Leaning
    }

    /// Handles an event; `over` means that it told of an error or of the end.
    pub(super) fn event(&mut self, writable: bool, over: bool, scratch: &mut [u8]) -> Fate {
        if self.stage == Stage::Connecting && writable && !over {
            self.out = self.kind.greeting();
            self.begin(if self.kind.opening().is_some() { Stage::Asking } else { Stage::Leaning });
        }
        let went_on = match self.kind.reads() {
            true => self.read(scratch).and_then(|goes_on| if goes_on { self.flush() } else { Ok(false) }),
            false if over => Ok(false),
            false => self.flush(),
        };
        if matches!(went_on, Ok(true)) { Fate::Stays } else { self.fate() }
    }

    /// Says its next byte, if it is one that drips.
    pub(super) fn drip(&mut self) -> Fate {
        if !self.leans() || !self.out.is_empty() {
            return Fate::Stays;
        }
        self.out.extend(self.kind.drip(self.dripped));
        self.dripped += 1;
        if matches!(self.flush(), Ok(true)) { Fate::Stays } else { self.fate() }
    }

    /// Hangs up with a reset, so that the system keeps nothing of it.
    pub(super) fn cut(self) {
        // One that is gone already needs no reset.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    fn fate(&self) -> Fate {
        if self.leans() { Fate::Ended(self.begun.elapsed()) } else { Fate::Refused }
    }

    fn begin(&mut self, stage: Stage) {
        self.stage = stage;
        self.begun = Instant::now();
    }

    /// Reads all there is; false at the end.
    fn read(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(count) => self.hear(&scratch[..count])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Before it is connected, there is nothing to read from.
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.stage != Stage::Asking {
            return Ok(());
        }
        self.heard.extend_from_slice(bytes);
        if self.heard.len() < UPGRADED.len() {
            return Ok(());
        }
        if !self.heard.starts_with(UPGRADED) {
            return Err(io::Error::other("no upgrade"));
        }
        self.heard = Vec::new();
        self.out = self.kind.opening().unwrap_or_default().to_vec();
        self.begin(Stage::Leaning);
        Ok(())
    }

    /// Writes what the socket takes; false when it is gone.
    fn flush(&mut self) -> io::Result<bool> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(0) => return Ok(false),
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
