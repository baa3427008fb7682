//! Reassembles fragmented WebSocket messages (RFC 6455 section 5.4) within limits. It reads and writes nothing.

use std::borrow::Cow;

use rialto_protocol::CloseCode;

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Kind {
    Text,
    Binary,
}

/// A complete message, borrowed from its frame if it came in one.
pub(in crate::server) type CompleteMessage<'p> = (Kind, Cow<'p, [u8]>);

/// A violation of RFC 6455 or of a limit; the connection must be closed with the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Violation {
    pub(in crate::server) code: CloseCode,
    pub(in crate::server) text: &'static str,
}

/// The fragments of a message that has begun.
#[derive(Debug)]
pub(in crate::server) struct Assembler {
    bytes_max: usize,
    fragments_max: usize,
    begun: Option<(Kind, Vec<u8>)>,
    fragments: usize,
}

impl Assembler {
    pub(in crate::server) fn new(bytes_max: usize, fragments_max: usize) -> Self {
        Self { bytes_max, fragments_max, begun: None, fragments: 0 }
    }

    /// Whether a message is incomplete.
    pub(in crate::server) fn is_open(&self) -> bool {
        self.begun.is_some()
    }

    /// Adds one data frame; `kind` is none for a continuation. Returns the message that this frame completes.
    pub(in crate::server) fn add<'p>(
        &mut self,
        kind: Option<Kind>,
        fin: bool,
        payload: &'p [u8],
    ) -> Result<Option<CompleteMessage<'p>>, Violation> {
        let (kind, mut bytes) = match (self.begun.take(), kind) {
            (None, Some(kind)) if fin => return complete(kind, Cow::Borrowed(payload)).map(Some),
            (None, Some(kind)) => (kind, Vec::new()),
            (Some(begun), None) => begun,
            (None, None) => {
                return Err(violation(CloseCode::ProtocolError, "a continuation frame without a message to continue"));
            }
            (Some(_), Some(_)) => {
                return Err(violation(CloseCode::ProtocolError, "a new message inside a fragmented one"));
            }
        };
        self.fragments += 1;
        if self.fragments > self.fragments_max {
            return Err(violation(CloseCode::MessageTooBig, "the message has too many fragments"));
        }
        if bytes.len() + payload.len() > self.bytes_max {
            return Err(violation(CloseCode::MessageTooBig, "the message is larger than message_bytes"));
        }
        bytes.extend_from_slice(payload);
        if !fin {
            self.begun = Some((kind, bytes));
            return Ok(None);
        }
        self.fragments = 0;
        complete(kind, Cow::Owned(bytes)).map(Some)
    }
}

/// Checks text once it is complete: a fragment may end inside a character.
fn complete(kind: Kind, bytes: Cow<'_, [u8]>) -> Result<CompleteMessage<'_>, Violation> {
    if kind == Kind::Text && std::str::from_utf8(&bytes).is_err() {
        return Err(violation(CloseCode::InvalidData, "text that is not UTF-8"));
    }
    Ok((kind, bytes))
}

fn violation(code: CloseCode, text: &'static str) -> Violation {
    Violation { code, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Step<'a> = (Option<Kind>, bool, &'a [u8]);

    fn run(steps: &[Step<'_>]) -> Result<Vec<Vec<u8>>, CloseCode> {
        let mut assembler = Assembler::new(10, 4);
        let mut messages = Vec::new();
        for (kind, fin, payload) in steps {
            match assembler.add(*kind, *fin, payload) {
                Ok(Some((_, message))) => messages.push(message.into_owned()),
                Ok(None) => {}
                Err(violation) => return Err(violation.code),
            }
        }
        Ok(messages)
    }

    #[test]
    fn a_text_may_be_split_anywhere() {
        let text = "aé€😀".as_bytes();
        for cut in 0..=text.len() {
            let steps: [Step<'_>; 2] = [(Some(Kind::Text), false, &text[..cut]), (None, true, &text[cut..])];
            assert_eq!(run(&steps), Ok(vec![text.to_vec()]), "{cut}");
        }
    }

    #[test]
    fn each_violation_has_its_close_code() {
        let text = Some(Kind::Text);
        let binary = Some(Kind::Binary);
        for (steps, code) in [
            (vec![(None, true, &b"a"[..])], CloseCode::ProtocolError),
            (vec![(text, false, b"a"), (text, true, b"b")], CloseCode::ProtocolError),
            (vec![(text, true, b"\xe2\x82")], CloseCode::InvalidData),
            (vec![(text, false, b"\xe2"), (None, true, b"\x82")], CloseCode::InvalidData),
            (vec![(binary, false, b"123456"), (None, true, b"12345")], CloseCode::MessageTooBig),
            (
                vec![
                    (binary, false, b""),
                    (None, false, b""),
                    (None, false, b""),
                    (None, false, b""),
                    (None, true, b""),
                ],
                CloseCode::MessageTooBig,
            ),
        ] {
            assert_eq!(run(&steps), Err(code), "{steps:?}");
        }
    }

    #[test]
    fn messages_follow_each_other() {
        let steps: [Step<'_>; 4] = [
            (Some(Kind::Binary), false, b"a"),
            (None, true, b"b"),
            (Some(Kind::Text), true, b"c"),
            (Some(Kind::Text), true, b""),
        ];
        assert_eq!(run(&steps), Ok(vec![b"ab".to_vec(), b"c".to_vec(), vec![]]));
    }
}
