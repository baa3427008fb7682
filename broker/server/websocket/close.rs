//! The closing handshake: the meaning of the peer's Close, and the last frames that are sent (RFC 6455 sections 5.5.1 and
//! 7). It reads and writes nothing.

use bytes::Bytes;
use rialto_protocol::{CloseCode, Closing, Frame};

use crate::hub::{Ending, closing};
use crate::message::Wire;
use crate::wire::websocket::websocket_control;

const CLOSE: u8 = 0x8;
const REASON_BYTES_MAX: usize = 123;

/// How the connection ends because of the peer's Close.
pub(in crate::server) fn peer_closed(payload: &[u8]) -> Ending {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ending::PeerClosed(None),
            _ => closed(CloseCode::ProtocolError, "a truncated close code"),
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

/// The last frames of a connection, the Close included, and whether queued messages are sent before them. None if the peer
/// is gone.
pub(in crate::server) fn last_frames(ending: &Ending, wire: Wire) -> Option<(Vec<Bytes>, bool)> {
    match ending {
        Ending::Gone => None,
        Ending::PeerClosed(code) => Some((vec![close_frame(*code, "")], false)),
        Ending::Closed(closing) => Some((closing_frames(closing, wire), false)),
        Ending::Drained(closing) => Some((closing_frames(closing, wire), true)),
    }
}

/// The broker closes the connection, without a hint when to reconnect.
pub(in crate::server) fn closed(code: CloseCode, text: &str) -> Ending {
    Ending::Closed(closing(code, text, None))
}

fn closing_frames(closing: &Closing, wire: Wire) -> Vec<Bytes> {
    let close = close_frame(Some(closing.code), &closing.message);
    // A violation of WebSocket itself is answered with a Close only, not with a frame of the protocol.
    match closing.code {
        1002 | 1003 | 1007 | 1009 => vec![close],
        _ => wire.frame(&Frame::Closing(closing)).into_iter().chain([close]).collect(),
    }
}

fn close_frame(code: Option<u16>, reason: &str) -> Bytes {
    let Some(code) = code else { return websocket_control(CLOSE, &[]) };
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    websocket_control(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_close_of_the_peer_is_answered() {
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
