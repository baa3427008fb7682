//! WebSocket frames that the broker sends: frames of the protocol, payloads and control frames as bytes (RFC 6455
//! section 5.2). Frames of a server are not masked, so one buffer serves every recipient. It does no input or output.

use bytes::Bytes;
use rialto_protocol::{Codec, Encoding, Frame, Payload};

/// Longest header of an unmasked frame: two bytes and eight of length.
const HEADER_BYTES_MAX: usize = 10;
/// First header bytes of whole frames: text, binary, and those of a connection itself.
pub(crate) const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;

/// A frame of the protocol as one unmasked WebSocket frame: text for JSON, binary for MessagePack.
pub(crate) fn websocket_frame(codec: Codec, frame: &Frame<'_>) -> Bytes {
    let mut bytes = vec![0; HEADER_BYTES_MAX];
    frame.encode(codec, &mut bytes);
    let mut header = [0; HEADER_BYTES_MAX];
    let opcode = match codec {
        Codec::Json => TEXT,
        Codec::MessagePack => BINARY,
    };
    let length = websocket_header(opcode, bytes.len() - HEADER_BYTES_MAX, &mut header);
    let start = HEADER_BYTES_MAX - length;
    bytes[start..HEADER_BYTES_MAX].copy_from_slice(&header[..length]);
    Bytes::from(bytes).slice(start..)
}

/// A payload without any envelope: JSON as a text message, opaque bytes as a binary one.
pub(crate) fn bare_frame(payload: &Payload) -> Bytes {
    match payload.encoding() {
        Encoding::Bytes => websocket_message(false, payload.content()),
        Encoding::Json | Encoding::MessagePack => websocket_message(true, &payload.to_json()),
    }
}

/// A frame that a plugin composed itself, in the session's codec.
pub(crate) fn custom_frame(codec: Codec, payload: &Payload) -> Bytes {
    let mut bytes = Vec::new();
    payload.encode(codec, &mut bytes);
    websocket_message(codec == Codec::Json, &bytes)
}

/// Any text or binary message as one unmasked WebSocket frame.
pub(crate) fn websocket_message(text: bool, payload: &[u8]) -> Bytes {
    let mut header = [0; HEADER_BYTES_MAX];
    let length = websocket_header(if text { TEXT } else { BINARY }, payload.len(), &mut header);
    [&header[..length], payload].concat().into()
}

/// The first frame of `frames`, which are not masked: its first byte, its payload and what is behind it. None while it is
/// incomplete.
pub(crate) fn first_frame(frames: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (header, length) = frame_lengths(frames)?;
    let (payload, behind) = frames.get(header..)?.split_at_checked(length)?;
    Some((frames[0], payload, behind))
}

/// The code of a Close with this payload (RFC 6455 section 7.1.5).
pub(crate) fn close_code(payload: &[u8]) -> u16 {
    const NONE: u16 = 1005;
    payload.first_chunk().map_or(NONE, |code| u16::from_be_bytes(*code))
}

/// The lengths of the header and of the payload of the unmasked frame at the start of `frames`; none while its header is
/// incomplete.
fn frame_lengths(frames: &[u8]) -> Option<(usize, usize)> {
    let (header, length) = match frames.get(1)? {
        127 => (10, u64::from_be_bytes(*frames.get(2..)?.first_chunk()?)),
        126 => (4, u64::from(u16::from_be_bytes(*frames.get(2..)?.first_chunk()?))),
        short => (2, u64::from(*short)),
    };
    Some((header, usize::try_from(length).ok()?))
}

/// Length of the unmasked frame at the start of `frames`, header included.
pub(crate) fn websocket_frame_bytes(frames: &[u8]) -> usize {
    let (header, length) = frame_lengths(frames).expect("the header is whole");
    header + length
}

/// A control frame (RFC 6455 section 5.5): ping, pong or close, with at most 125 bytes.
pub(crate) fn websocket_control(opcode: u8, payload: &[u8]) -> Bytes {
    debug_assert!(payload.len() <= 125, "control frames carry at most 125 bytes");
    let mut bytes = Vec::with_capacity(2 + payload.len());
    bytes.push(0x80 | opcode);
    bytes.push(u8::try_from(payload.len()).expect("control frames carry at most 125 bytes"));
    bytes.extend_from_slice(payload);
    bytes.into()
}

/// Writes the header of an unmasked frame with the shortest length form and returns its length.
fn websocket_header(first: u8, payload_bytes: usize, header: &mut [u8; HEADER_BYTES_MAX]) -> usize {
    header[0] = first;
    if payload_bytes < 126 {
        header[1] = payload_bytes as u8;
        2
    } else if let Ok(short) = u16::try_from(payload_bytes) {
        header[1] = 126;
        header[2..4].copy_from_slice(&short.to_be_bytes());
        4
    } else {
        header[1] = 127;
        header[2..10].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_take_the_shortest_length_form() {
        for (payload_bytes, expected) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut header = [0; HEADER_BYTES_MAX];
            let length = websocket_header(TEXT, payload_bytes, &mut header);
            assert_eq!(&header[..length], expected, "{payload_bytes}");
            assert_eq!(websocket_frame_bytes(&header), length + payload_bytes);
            let frames = [&header[..length], &vec![b'x'; payload_bytes], b"next"].concat();
            let whole = length + payload_bytes;
            assert_eq!(first_frame(&frames), Some((TEXT, &frames[length..whole], &b"next"[..])));
            for cut in [0, 1, length - 1, whole.saturating_sub(1)] {
                assert_eq!(first_frame(&frames[..cut]), None, "{payload_bytes} {cut}");
            }
        }
    }
}
