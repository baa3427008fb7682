//! Single frames off a connection. All that is known of fastwebsockets is known here, so that the parser can be replaced
//! without anyone noticing.

use std::future::ready;

use fastwebsockets::{Frame, OpCode, Role, WebSocketError, WebSocketRead, after_handshake_split};
use rialto_protocol::CloseCode;

use super::assembler::{Flaw, Kind};
use super::frame_headers::BadHeader;
use super::incoming::Incoming;

/// A frame of a client, unmasked.
pub(in crate::server) enum ClientFrame<'p> {
    /// A part of a message, or all of it. The kind is none for a continuation.
    Data { kind: Option<Kind>, fin: bool, payload: &'p [u8] },
    /// A ping (RFC 6455 section 5.5.2).
    Ping(&'p [u8]),
    /// A pong, whatever it answers.
    Pong,
    /// A Close with its whole payload.
    Close(&'p [u8]),
}

/// Why there are no more frames.
pub(in crate::server) enum Over {
    /// The connection has ended.
    Gone,
    /// The peer has sent what no peer may send.
    Flaw(Flaw),
}

/// Reads and unmasks single frames. Its own answers to pings and closes are switched off: it writes nothing. A read must not
/// be dropped and begun again, so one loop owns it.
pub(in crate::server) struct Frames<'i> {
    reader: WebSocketRead<&'i Incoming<'i>>,
}

const CONTROL_PAYLOAD_MAX: usize = 125;

impl<'i> Frames<'i> {
    pub(in crate::server) fn new(incoming: &'i Incoming<'i>, message_bytes_max: usize) -> Self {
        let (mut reader, _) = after_handshake_split(incoming, tokio::io::sink(), Role::Server);
        reader.set_auto_close(false);
        reader.set_auto_pong(false);
        // It refuses what is as large as its limit.
        reader.set_max_message_size(message_bytes_max + 1);
        Self { reader }
    }

    /// Waits for the next frame and gives it to `hear`.
    pub(in crate::server) async fn next<T>(&mut self, hear: impl FnOnce(ClientFrame<'_>) -> T) -> Result<T, Over> {
        let read = self.reader.read_frame(&mut |_| ready(Ok::<_, WebSocketError>(()))).await;
        let frame = read.map_err(|error| over(&error))?;
        Ok(hear(heard(&frame)?))
    }
}

fn heard<'p>(frame: &'p Frame<'_>) -> Result<ClientFrame<'p>, Over> {
    let payload = &frame.payload[..];
    let data = |kind| ClientFrame::Data { kind, fin: frame.fin, payload };
    let control = matches!(frame.opcode, OpCode::Ping | OpCode::Pong | OpCode::Close);
    if control && payload.len() > CONTROL_PAYLOAD_MAX {
        return Err(flaw(CloseCode::ProtocolError, "a control frame over 125 bytes"));
    }
    Ok(match frame.opcode {
        OpCode::Text => data(Some(Kind::Text)),
        OpCode::Binary => data(Some(Kind::Binary)),
        OpCode::Continuation => data(None),
        OpCode::Ping => ClientFrame::Ping(payload),
        OpCode::Pong => ClientFrame::Pong,
        OpCode::Close => ClientFrame::Close(payload),
    })
}

fn over(error: &WebSocketError) -> Over {
    match error {
        WebSocketError::InvalidUTF8 => flaw(CloseCode::InvalidData, "text that is not UTF-8"),
        WebSocketError::FrameTooLarge => flaw(CloseCode::MessageTooBig, "a message over the limit"),
        WebSocketError::IoError(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<BadHeader>()) {
            Some(bad) => flaw(CloseCode::ProtocolError, bad.text),
            None => Over::Gone,
        },
        WebSocketError::UnexpectedEOF => Over::Gone,
        _ => flaw(CloseCode::ProtocolError, "a frame that RFC 6455 does not allow"),
    }
}

fn flaw(code: CloseCode, text: &'static str) -> Over {
    Over::Flaw(Flaw { code, text })
}
