//! Reads single frames from a connection. The only file that uses fastwebsockets, so that the parser can be replaced.

use std::future::ready;

use fastwebsockets::{Frame, OpCode, Role, WebSocketError, WebSocketRead, after_handshake_split};
use rialto_protocol::CloseCode;

use super::assembler::{Kind, Violation};
use super::frame_headers::BadHeader;
use super::incoming::Incoming;

/// A frame of a client, unmasked.
pub(in crate::server) enum ClientFrame<'p> {
    /// A message or a fragment of one. The kind is none for a continuation.
    Data { kind: Option<Kind>, fin: bool, payload: &'p [u8] },
    /// A ping (RFC 6455 section 5.5.2).
    Ping(&'p [u8]),
    /// A pong, whatever it answers.
    Pong,
    /// A Close with its whole payload.
    Close(&'p [u8]),
}

/// Why reading frames ended.
pub(in crate::server) enum ReadEnd {
    /// The connection has ended.
    Gone,
    /// The peer has violated RFC 6455 or a limit.
    Violation(Violation),
}

/// Reads and unmasks single frames. The automatic replies to pings and closes are off: it writes nothing. A read is not
/// cancel-safe, so one loop owns it.
pub(in crate::server) struct Frames<'i> {
    reader: WebSocketRead<&'i Incoming<'i>>,
}

const CONTROL_PAYLOAD_MAX: usize = 125;

impl<'i> Frames<'i> {
    pub(in crate::server) fn new(incoming: &'i Incoming<'i>, message_bytes_max: usize) -> Self {
        let (mut reader, _) = after_handshake_split(incoming, tokio::io::sink(), Role::Server);
        reader.set_auto_close(false);
        reader.set_auto_pong(false);
        // Its limit is exclusive.
        reader.set_max_message_size(message_bytes_max + 1);
        Self { reader }
    }

    /// Waits for the next frame and calls `handle` with it.
    pub(in crate::server) async fn next<T>(&mut self, handle: impl FnOnce(ClientFrame<'_>) -> T) -> Result<T, ReadEnd> {
        let read = self.reader.read_frame(&mut |_| ready(Ok::<_, WebSocketError>(()))).await;
        let frame = read.map_err(|error| read_end(&error))?;
        Ok(handle(client_frame(&frame)?))
    }
}

fn client_frame<'p>(frame: &'p Frame<'_>) -> Result<ClientFrame<'p>, ReadEnd> {
    let payload = &frame.payload[..];
    let data = |kind| ClientFrame::Data { kind, fin: frame.fin, payload };
    let control = matches!(frame.opcode, OpCode::Ping | OpCode::Pong | OpCode::Close);
    if control && payload.len() > CONTROL_PAYLOAD_MAX {
        return Err(violation(CloseCode::ProtocolError, "a control frame over 125 bytes"));
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

fn read_end(error: &WebSocketError) -> ReadEnd {
    match error {
        WebSocketError::InvalidUTF8 => violation(CloseCode::InvalidData, "text that is not UTF-8"),
        WebSocketError::FrameTooLarge => {
            violation(CloseCode::MessageTooBig, "the message is larger than message_bytes")
        }
        WebSocketError::IoError(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<BadHeader>()) {
            Some(bad) => violation(CloseCode::ProtocolError, bad.text),
            None => ReadEnd::Gone,
        },
        WebSocketError::UnexpectedEOF => ReadEnd::Gone,
        _ => violation(CloseCode::ProtocolError, "a frame that RFC 6455 does not allow"),
    }
}

fn violation(code: CloseCode, text: &'static str) -> ReadEnd {
    ReadEnd::Violation(Violation { code, text })
}
