//! WebSocket frames (RFC 6455 section 5) in memory, both ways; it reads and writes no socket.

/// The opcode of a text message.
pub const TEXT: u8 = 1;
/// The opcode of a binary message.
pub const BINARY: u8 = 2;
/// The opcode of a Close.
pub const CLOSE: u8 = 8;
/// The opcode of a ping.
pub const PING: u8 = 9;
/// The opcode of a pong.
pub const PONG: u8 = 10;

/// The longest payload of a frame that is accepted.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One whole frame at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Whether it ends its message.
    pub last: bool,
    /// What kind of frame it is.
    pub opcode: u8,
    /// The key its payload is masked with.
    pub mask: Option<[u8; 4]>,
    /// The payload, masked if there is a mask.
    pub payload: &'a [u8],
    /// Bytes of the frame, header included.
    pub bytes: usize,
}

/// Why bytes are no frame.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Reserved bits are set.
    #[error("a frame with reserved bits 0x{0:02x}")]
    Reserved(u8),
    /// It says that it is longer than anybody sends.
    #[error("a frame of {0} bytes")]
    TooLong(u64),
}

/// The first frame, or nothing while it is not all there.
#[inline]
pub fn split(bytes: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let &[first, second, ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(FrameError::Reserved(first));
    }
    let (mut header, length) = match second & 0x7f {
        126 => match bytes.get(2..4).and_then(|two| two.try_into().ok()) {
            Some(two) => (4, u64::from(u16::from_be_bytes(two))),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|eight| eight.try_into().ok()) {
            Some(eight) => (10, u64::from_be_bytes(eight)),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    if length > PAYLOAD_BYTES_MAX as u64 {
        return Err(FrameError::TooLong(length));
    }
    let mut mask = None;
    if second & 0x80 != 0 {
        mask = bytes.get(header..header + 4).and_then(|four| four.try_into().ok());
        if mask.is_none() {
            return Ok(None);
        }
        header += 4;
    }
    let end = header + length as usize;
    let Some(payload) = bytes.get(header..end) else { return Ok(None) };
    Ok(Some(Frame { last: first & 0x80 != 0, opcode: first & 0x0f, mask, payload, bytes: end }))
}

/// Appends a whole message as a client sends it. Its masking key is zero, so that the payload stays as it is: the key
/// protects proxies from scripts in browsers, neither of which is here.
pub fn append_client(opcode: u8, payload: &[&[u8]], out: &mut Vec<u8>) {
    append_header(opcode, 0x80, payload.iter().map(|part| part.len()).sum(), out);
    out.extend_from_slice(&[0; 4]);
    payload.iter().for_each(|part| out.extend_from_slice(part));
}

/// Appends a whole message as a server sends it.
pub fn append_server(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    append_header(opcode, 0, payload.len(), out);
    out.extend_from_slice(payload);
}

fn append_header(opcode: u8, masked: u8, length: usize, out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => out.push(masked | short),
        (_, Ok(long)) => {
            out.push(masked | 126);
            out.extend_from_slice(&long.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Appends a payload without its mask.
pub fn append_unmasked(frame: &Frame<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(frame.payload);
    if let Some(mask) = frame.mask.filter(|mask| *mask != [0; 4]) {
        out[start..].iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [usize; 8] = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000];

    #[test]
    fn frames_are_whole_only_at_their_end() {
        for length in LENGTHS {
            let payload: Vec<u8> = (0..length).map(|index| index as u8).collect();
            for client in [false, true] {
                let mut bytes = Vec::new();
                match client {
                    true => append_client(BINARY, &[&payload[..length / 2], &payload[length / 2..]], &mut bytes),
                    false => append_server(BINARY, &payload, &mut bytes),
                }
                let whole = bytes.len();
                for cut in (0..whole).filter(|cut| *cut < 20 || whole - cut < 20 || cut % 997 == 0) {
                    assert_eq!(split(&bytes[..cut]), Ok(None), "{length} cut at {cut}");
                }
                bytes.extend_from_slice(b"next");
                let frame = split(&bytes).expect("a frame").expect("a whole one");
                assert_eq!((frame.last, frame.opcode, frame.bytes), (true, BINARY, whole));
                assert_eq!((frame.payload, frame.mask.is_some()), (&payload[..], client));
            }
        }
    }

    #[test]
    fn invalid_frames_are_refused() {
        assert_eq!(split(&[0xc1, 0]), Err(FrameError::Reserved(0xc1)));
        assert_eq!(split(&[0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0]), Err(FrameError::TooLong(1 << 32)));
    }

    #[test]
    fn masks_come_off() {
        let bytes = [0x82, 0x85, 1, 2, 3, 4, b'h' ^ 1, b'e' ^ 2, b'l' ^ 3, b'l' ^ 4, b'o' ^ 1];
        let frame = split(&bytes).expect("a frame").expect("a whole one");
        let mut out = b"> ".to_vec();
        append_unmasked(&frame, &mut out);
        assert_eq!(out, b"> hello");
    }
}
