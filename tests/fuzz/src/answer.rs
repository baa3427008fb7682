//! What a server sends over a WebSocket, read strictly: a frame that RFC 6455 does not allow a server fails the target.

use crate::listener::Kind;

/// One frame of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// The code, if there is one.
    Close(Option<u16>),
}

/// All frames of the bytes. A rest that is no whole frame may be one that is still being written.
pub fn read(mut bytes: &[u8]) -> (Vec<Answer>, &[u8]) {
    let mut answers = Vec::new();
    while let Some((answer, length)) = first(bytes) {
        assert!(!matches!(answers.last(), Some(Answer::Close(_))), "{answer:?} follows a Close");
        answers.push(answer);
        bytes = &bytes[length..];
    }
    (answers, bytes)
}

fn first(bytes: &[u8]) -> Option<(Answer, usize)> {
    let [first, second, rest @ ..] = bytes else { return None };
    assert_eq!(first & 0xf0, 0x80, "a broker neither fragments nor negotiates extensions");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (length, start) = match second {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
        short => (u64::from(*short), 2),
    };
    let shortest = match length {
        0..126 => 2,
        126..0x1_0000 => 4,
        _ => 10,
    };
    assert_eq!(start, shortest, "a length of {length} in its shortest form");
    let length = usize::try_from(length).expect("a length that a broker can have written");
    let payload = bytes.get(start..start + length)?;
    let control = |answer: fn(Vec<u8>) -> Answer| {
        assert!(length <= 125, "a control frame of {length} bytes");
        answer(payload.to_vec())
    };
    let answer = match first & 0x0f {
        1 => {
            assert!(std::str::from_utf8(payload).is_ok(), "text that is UTF-8: {}", payload.escape_ascii());
            Answer::Message(Kind::Text, payload.to_vec())
        }
        2 => Answer::Message(Kind::Binary, payload.to_vec()),
        8 => control(|payload| Answer::Close(code(&payload))),
        9 => control(Answer::Ping),
        10 => control(Answer::Pong),
        other => panic!("opcode {other}"),
    };
    Some((answer, start + length))
}

fn code(payload: &[u8]) -> Option<u16> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        assert!(payload.is_empty(), "half a close code");
        return None;
    };
    assert!(std::str::from_utf8(reason).is_ok(), "a reason that is UTF-8: {}", reason.escape_ascii());
    Some(u16::from_be_bytes(*code))
}
