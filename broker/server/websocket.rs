//! One WebSocket connection on its shard: reads frames, hands messages to the session, says goodbye. Everything of
//! fastwebsockets stays in this file, so that the parser can be replaced without anyone noticing.

use std::future::{poll_fn, ready};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use fastwebsockets::{Frame, OpCode, Role, WebSocketError, WebSocketRead, after_handshake_split};
use rialto_protocol::{CloseCode, Closing, Codec, Frame as Push};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::assembler::{Assembler, Flaw, Kind};
use super::headers::BadHeader;
use super::incoming::{self, Incoming};
use crate::broker::Broker;
use crate::hub::{Duplex, Ending, Line, Link, SessionKey, Shard, together};
use crate::message::{websocket_control, websocket_frame};
use crate::session::Session;

const CLOSE: u8 = 0x8;
const CONTROL_PAYLOAD_MAX: usize = 125;

/// Makes a session of a socket on which the upgrade was answered; `first` was read from it already.
pub(super) fn start_tcp(broker: &Broker, stream: std::net::TcpStream, first: Box<[u8]>, codec: Codec) {
    start(broker, first, codec, move || TcpStream::from_std(stream).map(Link::Tcp));
}

/// Makes a session of a socket on which TLS is spoken and the upgrade was answered; `first` was read from it already.
#[cfg(feature = "tls")]
pub(super) fn start_tls(
    broker: &Broker,
    stream: std::net::TcpStream,
    connection: rustls::ServerConnection,
    first: Box<[u8]>,
    codec: Codec,
) {
    start(broker, first, codec, move || TcpStream::from_std(stream).map(|stream| Link::tls(stream, connection)));
}

/// Makes a session of any stream on which the upgrade was answered.
pub(crate) fn start_other(broker: &Broker, stream: Box<dyn Duplex>, codec: Codec) {
    start(broker, Box::default(), codec, move || Ok(Link::other(stream)));
}

fn start(broker: &Broker, first: Box<[u8]>, codec: Codec, link: impl FnOnce() -> io::Result<Link> + Send + 'static) {
    let session_broker = broker.clone();
    broker.core.hub.run_on(broker.next_shard(), move |shard| match link() {
        // The session begins here and not in its task, so that it counts before anything else happens on the shard.
        Ok(link) => {
            let mut attached = Attached::new(Rc::clone(shard), Rc::new(link), first, session_broker, codec);
            tokio::task::spawn_local(async move {
                let mut life = pin!(attached.serve());
                // All that one read brings wakes each shard once.
                poll_fn(|context| together(|| life.as_mut().poll(context))).await;
            });
        }
        Err(error) => tracing::warn!(%error, "a socket cannot be moved to its shard"),
    });
}

/// A session and its connection. Dropping it ends both, whatever happened to the task.
struct Attached {
    /// What was read already.
    lead: Box<[u8]>,
    connection: Connection,
    session: Session,
}

/// One connection and its place on the shard.
struct Connection {
    shard: Rc<Shard>,
    link: Rc<Link>,
    line: Rc<Line>,
    key: SessionKey,
    codec: Codec,
}

impl Attached {
    fn new(shard: Rc<Shard>, link: Rc<Link>, lead: Box<[u8]>, broker: Broker, codec: Codec) -> Self {
        let (key, line) = shard.attach(Rc::clone(&link), codec);
        let session = Session::new(broker, key, codec);
        shard.send(key, session.welcome());
        Self { lead, connection: Connection { shard, link, line, key, codec }, session }
    }

    /// The whole life of a session. The three parts of its first half run side by side and none is ever restarted; the
    /// one that ends decides how the session ends. This is what an idle session is made of, so the rare parts are in
    /// boxes that exist only while they run.
    async fn serve(&mut self) {
        let Self { lead, connection, session } = self;
        let ending = tokio::select! {
            ending = connection.read(lead, session) => ending,
            ending = connection.line.ended() => ending,
            () = connection.shard.keep_writing(connection.key, &connection.line) => Ending::Gone,
        };
        connection.line.end(ending.clone());
        Box::pin(connection.say_goodbye(ending, session.limits().close_ms)).await;
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // In this order: when the session no longer counts, its plugins have been told.
        self.session.end();
        self.connection.shard.detach(self.connection.key);
    }
}

impl Connection {
    /// Hop 1: frames off the socket, messages to the session, until something ends it.
    async fn read(&self, lead: &mut Box<[u8]>, session: &mut Session) -> Ending {
        loop {
            if lead.is_empty() {
                *lead = incoming::lead(&self.link).await.unwrap_or_default();
            }
            if lead.is_empty() {
                return Ending::Gone;
            }
            if let Err(ending) = Box::pin(self.burst(std::mem::take(lead), session)).await {
                return ending;
            }
        }
    }

    /// Reads from the first bytes of a message to the end of the last one that has come in. Only meanwhile there is a
    /// frame reader, which holds a buffer.
    async fn burst(&self, lead: Box<[u8]>, session: &mut Session) -> Result<(), Ending> {
        let limits = session.limits();
        let mut assembler = Assembler::new(limits.message_bytes, limits.fragments);
        let incoming = Incoming::new(&self.link, &self.line, lead);
        let mut frames = Frames::new(&incoming, limits.message_bytes);
        let mut handled = 0;
        while !incoming.is_done_after(handled) {
            let frame = frames.next().await.map_err(|error| ending_of(&error))?;
            handled += 1;
            self.frame(&frame, &mut assembler, session)?;
            incoming.message_open(assembler.is_open());
            self.wait_to_go_on(session).await;
        }
        Ok(())
    }

    fn frame(&self, frame: &Frame<'_>, assembler: &mut Assembler, session: &mut Session) -> Result<(), Ending> {
        match frame.opcode {
            OpCode::Ping | OpCode::Pong | OpCode::Close => self.control(frame),
            OpCode::Text => self.data(assembler, Some(Kind::Text), frame, session),
            OpCode::Binary => self.data(assembler, Some(Kind::Binary), frame, session),
            OpCode::Continuation => self.data(assembler, None, frame, session),
        }
    }

    /// Does not read while too much of what the peer asked for is under way.
    async fn wait_to_go_on(&self, session: &mut Session) {
        if session.is_ready() && self.shard.answers_are_read(self.key) {
            return;
        }
        self.line.hold();
        session.ready().await;
        self.shard.answers_read(self.key, &self.line).await;
        self.line.release();
    }

    fn data(
        &self,
        assembler: &mut Assembler,
        kind: Option<Kind>,
        frame: &Frame<'_>,
        session: &mut Session,
    ) -> Result<(), Ending> {
        let message =
            assembler.add(kind, frame.fin, &frame.payload).map_err(|Flaw { code, text }| closed(code, text))?;
        match (message, self.codec) {
            (None, _) => Ok(()),
            (Some((Kind::Text, message)), Codec::Json) | (Some((Kind::Binary, message)), Codec::MessagePack) => {
                session.handle(&message);
                Ok(())
            }
            (Some(_), Codec::Json) => Err(closed(CloseCode::UnsupportedData, "a JSON session takes text frames")),
            (Some(_), Codec::MessagePack) => {
                Err(closed(CloseCode::UnsupportedData, "a MessagePack session takes binary frames"))
            }
        }
    }

    fn control(&self, frame: &Frame<'_>) -> Result<(), Ending> {
        let payload = &frame.payload;
        if payload.len() > CONTROL_PAYLOAD_MAX {
            return Err(closed(CloseCode::ProtocolError, "a control frame over 125 bytes"));
        }
        match frame.opcode {
            OpCode::Ping => self.shard.pong(self.key, payload),
            OpCode::Close => return Err(peer_closed(payload)),
            _ => {}
        }
        Ok(())
    }

    /// Sends exactly one Close, then waits for the peer to hang up.
    async fn say_goodbye(&self, ending: Ending, close_ms: u64) {
        let (frames, keep_messages) = match &ending {
            Ending::Gone => return,
            Ending::PeerClosed(code) => (vec![close_frame(*code, "")], false),
            Ending::Closed(closing) => (self.closing_frames(closing), false),
            Ending::Drained(closing) => (self.closing_frames(closing), true),
        };
        let deadline = Duration::from_millis(close_ms);
        self.shard.finish(self.key, &frames, keep_messages, deadline).await;
        // The side that serves ends the TCP connection first (RFC 6455 section 7.1.1). Unless the peer has said its Close,
        // that and whatever else it had under way are read and dropped, so that our Close is not lost to a reset.
        let peer_may_speak = !matches!(ending, Ending::PeerClosed(_));
        let hang_up = async {
            if self.link.shutdown().await.is_ok() && peer_may_speak {
                discard(&self.link).await;
            }
        };
        let _ = tokio::time::timeout(deadline, hang_up).await;
    }

    fn closing_frames(&self, closing: &Closing) -> Vec<Bytes> {
        let close = close_frame(Some(closing.code), &closing.message);
        // Who broke the rules of WebSocket itself is told in WebSocket's own way only.
        match closing.code {
            1002 | 1003 | 1007 | 1009 => vec![close],
            _ => vec![websocket_frame(self.codec, &Push::Closing(closing)), close],
        }
    }
}

async fn discard(link: &Link) {
    let mut scratch = [0; 1024];
    loop {
        let read = poll_fn(|context| {
            let mut buffer = ReadBuf::new(&mut scratch);
            link.poll_read(context, &mut buffer).map_ok(|()| buffer.filled().len())
        });
        if matches!(read.await, Ok(0) | Err(_)) {
            return;
        }
    }
}

/// Single frames from fastwebsockets, which parses and unmasks them. Its own answers to pings and closes are switched
/// off: it writes nothing. A read must not be dropped and begun again, so one loop owns it.
struct Frames<'i> {
    reader: WebSocketRead<&'i Incoming<'i>>,
}

impl<'i> Frames<'i> {
    fn new(incoming: &'i Incoming<'i>, message_bytes_max: usize) -> Self {
        let (mut reader, _) = after_handshake_split(incoming, tokio::io::sink(), Role::Server);
        reader.set_auto_close(false);
        reader.set_auto_pong(false);
        // It refuses what is as large as its limit.
        reader.set_max_message_size(message_bytes_max + 1);
        Self { reader }
    }

    async fn next(&mut self) -> Result<Frame<'_>, WebSocketError> {
        self.reader.read_frame(&mut |_| ready(Ok::<_, WebSocketError>(()))).await
    }
}

fn ending_of(error: &WebSocketError) -> Ending {
    match error {
        WebSocketError::InvalidUTF8 => closed(CloseCode::InvalidData, "text that is not UTF-8"),
        WebSocketError::FrameTooLarge => closed(CloseCode::MessageTooBig, "a message over the limit"),
        WebSocketError::IoError(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<BadHeader>()) {
            Some(bad) => closed(CloseCode::ProtocolError, bad.text),
            None => Ending::Gone,
        },
        WebSocketError::UnexpectedEOF => Ending::Gone,
        _ => closed(CloseCode::ProtocolError, "a frame that RFC 6455 does not allow"),
    }
}

/// What the peer's Close means (RFC 6455 sections 5.5.1 and 7.4).
fn peer_closed(payload: &[u8]) -> Ending {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ending::PeerClosed(None),
            _ => closed(CloseCode::ProtocolError, "half a close code"),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !CloseCode::is_legal(code) {
        return closed(CloseCode::ProtocolError, "a close code that must not be sent");
    }
    if std::str::from_utf8(reason).is_err() {
        return closed(CloseCode::InvalidData, "a close reason that is not UTF-8");
    }
    Ending::PeerClosed(Some(code))
}

fn close_frame(code: Option<u16>, reason: &str) -> Bytes {
    let Some(code) = code else { return websocket_control(CLOSE, &[]) };
    let reason = &reason[..reason.floor_char_boundary(CONTROL_PAYLOAD_MAX - 2)];
    websocket_control(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

fn closed(code: CloseCode, text: &str) -> Ending {
    Ending::Closed(Closing { code: code.number(), message: text.to_owned(), retry_after_ms: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_close_of_the_peer_has_its_answer() {
        for (payload, code) in [
            (&b""[..], None),
            (b"\x03\xe8", Some(1000)),
            (b"\x03\xe8bye", Some(1000)),
            (b"\x0f\xa0", Some(4000)),
            (b"\x03", Some(1002)),
            (b"\x03\xec", Some(1002)),
            (b"\x00\x00", Some(1002)),
            (b"\x13\x88", Some(1002)),
            (b"\x03\xe8\xff", Some(1007)),
        ] {
            let answered = match peer_closed(payload) {
                Ending::PeerClosed(code) => code,
                Ending::Closed(closing) => Some(closing.code),
                other => panic!("{other:?}"),
            };
            assert_eq!(answered, code, "{payload:?}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let frame = close_frame(Some(4000), &"é".repeat(100));
        assert_eq!(frame.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }
}
