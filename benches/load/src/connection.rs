//! One WebSocket connection of the load: takes frames out of a read buffer that all connections share, and keeps what
//! could not be written yet.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::dialect::{Incoming, Strange, Wire};
use crate::frame::{self, Frame};
use crate::socket::Upgraded;

/// A connection that is open.
#[derive(Debug)]
pub(crate) struct Connection {
    /// What waits to be written.
    pub(crate) out: Vec<u8>,
    /// The last thing the server refused.
    pub(crate) refusal: Option<String>,
    stream: TcpStream,
    token: Token,
    /// The beginning of a frame.
    frame_rest: Vec<u8>,
    /// The beginning of a message in several frames, or of a piece of a stream dialect.
    message_rest: Vec<u8>,
    waits_to_write: bool,
}

/// What became of a connection.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It goes on.
    Open,
    /// The server closed it.
    Closed,
}

impl Connection {
    /// Takes over a socket and watches it.
    pub(crate) fn new(upgraded: Upgraded, registry: &Registry, token: Token) -> std::io::Result<Self> {
        let mut stream = TcpStream::from_std(upgraded.stream);
        registry.register(&mut stream, token, Interest::READABLE)?;
        Ok(Self {
            out: Vec::new(),
            refusal: None,
            stream,
            token,
            frame_rest: upgraded.rest,
            message_rest: Vec::new(),
            waits_to_write: false,
        })
    }

    /// Does not watch it any more.
    pub(crate) fn ignore(&mut self, registry: &Registry) -> std::io::Result<()> {
        registry.deregister(&mut self.stream)
    }

    /// Reads all there is through `buffer`, which must be larger than any frame, and tells what was in it. `to_end`: the
    /// event that is the reason for this said that the server has closed.
    pub(crate) fn receive(
        &mut self,
        wire: &Wire,
        buffer: &mut [u8],
        to_end: bool,
        mut each: impl FnMut(Incoming<'_>),
    ) -> Result<Fate, Strange> {
        loop {
            let kept = self.frame_rest.len();
            let Some(space) = buffer.get_mut(kept..).filter(|space| !space.is_empty()) else {
                return Err(Strange(format!("a frame of more than {kept} bytes")));
            };
            let space_bytes = space.len();
            let count = match self.stream.read(space) {
                Ok(0) => return Ok(Fate::Closed),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Fate::Open),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Ok(Fate::Closed),
            };
            if kept > 0 {
                buffer[..kept].copy_from_slice(&self.frame_rest);
                self.frame_rest.clear();
            }
            let received = &buffer[..kept + count];
            let (taken, fate) = self.take(wire, received, &mut each)?;
            if let Fate::Closed = fate {
                return Ok(fate);
            }
            if taken < received.len() {
                self.frame_rest.extend_from_slice(&received[taken..]);
            }
            // A read that does not fill the buffer has emptied the socket; the next byte is an event of its own. But the
            // end may have been part of this one.
            if count < space_bytes && !to_end {
                return Ok(Fate::Open);
            }
        }
    }

    /// Tells what is in all whole frames, and how many bytes those were.
    fn take(
        &mut self,
        wire: &Wire,
        received: &[u8],
        each: &mut impl FnMut(Incoming<'_>),
    ) -> Result<(usize, Fate), Strange> {
        let mut taken = 0;
        while let Some(frame) = frame::split(&received[taken..]).map_err(|error| Strange(error.to_string()))? {
            taken += frame.bytes;
            if frame.opcode < frame::CLOSE {
                self.message(wire, &frame, each)?;
            } else if let Fate::Closed = self.control(&frame) {
                return Ok((taken, Fate::Closed));
            }
        }
        Ok((taken, Fate::Open))
    }

    #[inline]
    fn message(&mut self, wire: &Wire, frame: &Frame<'_>, each: &mut impl FnMut(Incoming<'_>)) -> Result<(), Strange> {
        let (out, refusal) = (&mut self.out, &mut self.refusal);
        let mut each = |incoming: Incoming<'_>| match incoming {
            Incoming::Answer(bytes) => frame::append_client(frame::BINARY, &[bytes], out),
            Incoming::Refused(reason) => *refusal = Some(reason),
            incoming => each(incoming),
        };
        let whole = frame.last || wire.is_stream();
        if self.message_rest.is_empty() && whole {
            let taken = wire.read(frame.payload, &mut each)?;
            self.message_rest.extend_from_slice(&frame.payload[taken..]);
            return Ok(());
        }
        self.message_rest.extend_from_slice(frame.payload);
        if whole {
            let taken = wire.read(&self.message_rest, &mut each)?;
            self.message_rest.drain(..taken);
        }
        Ok(())
    }

    fn control(&mut self, frame: &Frame<'_>) -> Fate {
        match frame.opcode {
            frame::PING => frame::append_client(frame::PONG, &[frame.payload], &mut self.out),
            frame::CLOSE => {
                if let Some((code, reason)) = frame.payload.split_first_chunk::<2>() {
                    let code = u16::from_be_bytes(*code);
                    let reason = String::from_utf8_lossy(reason);
                    self.refusal.get_or_insert(format!("{code} {reason}").trim().to_owned());
                }
                return Fate::Closed;
            }
            _ => {}
        }
        Fate::Open
    }

    /// Writes as much of `out` as the socket takes, and has it watched while that is not all.
    pub(crate) fn flush(&mut self, registry: &Registry) -> std::io::Result<Fate> {
        let mut written = 0;
        while written < self.out.len() {
            match self.stream.write(&self.out[written..]) {
                Ok(0) => return Ok(Fate::Closed),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Ok(Fate::Closed),
            }
        }
        self.out.drain(..written);
        if self.waits_to_write == self.out.is_empty() {
            self.waits_to_write = !self.waits_to_write;
            let both = Interest::READABLE | Interest::WRITABLE;
            let interest = if self.waits_to_write { both } else { Interest::READABLE };
            registry.reregister(&mut self.stream, self.token, interest)?;
        }
        Ok(Fate::Open)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use mio::{Events, Poll};

    use super::*;

    /// Whole messages, one in three pieces with a ping between them, and the end.
    fn stream() -> Vec<u8> {
        let mut stream = Vec::new();
        frame::append_server(frame::TEXT, b"first", &mut stream);
        stream.extend_from_slice(b"\x01\x02ab\x89\x02hi\x00\x02cd\x80\x01e");
        frame::append_server(frame::BINARY, &[b'x'; 130], &mut stream);
        frame::append_server(frame::CLOSE, b"\x03\xe9bye", &mut stream);
        stream
    }

    fn pair() -> (Upgraded, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        stream.set_nonblocking(true).expect("a socket");
        (Upgraded { stream, rest: Vec::new() }, listener.accept().expect("a connection").0)
    }

    #[test]
    fn the_same_comes_out_wherever_it_is_cut() {
        let stream = stream();
        let token = Token(0);
        for cut in 0..=stream.len() {
            let mut poll = Poll::new().expect("epoll");
            let (upgraded, mut server) = pair();
            let mut connection = Connection::new(upgraded, poll.registry(), token).expect("a connection");
            let mut heard: Vec<Vec<u8>> = Vec::new();
            let mut buffer = [0; 256];
            let mut events = Events::with_capacity(1);
            let mut fate = Fate::Open;
            for part in [&stream[..cut], &stream[cut..]].into_iter().filter(|part| !part.is_empty()) {
                server.write_all(part).expect("a connection");
                poll.poll(&mut events, None).expect("epoll");
                let received = connection.receive(&Wire::Plain, &mut buffer, false, |incoming| {
                    if let Incoming::Message(message) = incoming {
                        heard.push(message.content.to_vec());
                    }
                });
                fate = received.expect("the dialect");
            }
            assert!(matches!(fate, Fate::Closed), "{cut}");
            assert_eq!(heard, [&b"first"[..], b"abcde", &[b'x'; 130]], "{cut}");
            assert_eq!(connection.refusal.as_deref(), Some("1001 bye"), "{cut}");
            assert_eq!(connection.out, b"\x8a\x82\0\0\0\0hi", "{cut}");
        }
    }

    #[test]
    fn a_frame_larger_than_the_buffer_is_refused() {
        let mut poll = Poll::new().expect("epoll");
        let (upgraded, mut server) = pair();
        let mut connection = Connection::new(upgraded, poll.registry(), Token(0)).expect("a connection");
        server.write_all(&stream()).expect("a connection");
        poll.poll(&mut Events::with_capacity(1), None).expect("epoll");
        let outcome = connection.receive(&Wire::Plain, &mut [0; 64], false, |_| {});
        assert!(outcome.is_err_and(|strange| strange.to_string().contains("more than 64 bytes")));
    }
}
