//! A second opinion on a client's frames: what tungstenite makes of them as a server.

use std::io::{self, Read, Write};

use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::listener::{Kind, Limits};

/// How tungstenite ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It waits for more.
    Open,
    /// The peer closed, maybe with a code.
    PeerClosed(Option<u16>),
    /// It refuses a frame; the code is what stands for its reason.
    Refused(u16),
}

/// What tungstenite heard.
#[derive(Debug)]
pub struct Opinion {
    pub messages: Vec<(Kind, Vec<u8>)>,
    pub pings: Vec<Vec<u8>>,
    pub verdict: Verdict,
}

/// Lets tungstenite listen.
pub fn opinion(bytes: &[u8], limits: Limits) -> Opinion {
    let most = Some(limits.message_bytes);
    let config = WebSocketConfig::default().read_buffer_size(4_096).max_message_size(most).max_frame_size(most);
    let mut socket = WebSocket::from_raw_socket(Ear(bytes), Role::Server, Some(config));
    let (mut messages, mut pings) = (Vec::new(), Vec::new());
    let verdict = loop {
        match socket.read() {
            Ok(Message::Text(text)) => messages.push((Kind::Text, text.as_str().into())),
            Ok(Message::Binary(bytes)) => messages.push((Kind::Binary, bytes.into())),
            Ok(Message::Ping(payload)) => pings.push(payload.into()),
            Ok(Message::Pong(_)) => {}
            // It answers a close code that must not be sent with a sentence of its own.
            Ok(Message::Close(Some(close))) if close.reason.as_str() == "Protocol violation" => {
                break Verdict::Refused(1002);
            }
            Ok(Message::Close(close)) => break Verdict::PeerClosed(close.map(|close| close.code.into())),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => break Verdict::Open,
            Err(Error::Protocol(_)) => break Verdict::Refused(1002),
            Err(Error::Utf8(_)) => break Verdict::Refused(1007),
            Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => break Verdict::Refused(1009),
            other => panic!("tungstenite: {other:?}"),
        }
    };
    Opinion { messages, pings, verdict }
}

/// Gives the bytes and swallows answers.
struct Ear<'b>(&'b [u8]);

impl Read for Ear<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read(to)
    }
}

impl Write for Ear<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
