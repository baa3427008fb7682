//! Puts fragmented WebSocket messages together (RFC 6455 section 5.4) within bounds. It reads and writes nothing.

use std::borrow::Cow;

use rialto_protocol::CloseCode;

/// What a message consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Kind {
    Text,
    Binary,
}

/// A whole message, borrowed from its frame where it came in one.
pub(in crate::server) type Whole<'p> = (Kind, Cow<'p, [u8]>);

/// Why a message cannot be put together; the connection has to be closed with the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Flaw {
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

    /// Whether a message has begun and not ended.
    pub(in crate::server) fn is_open(&self) -> bool {
        self.begun.is_some()
    }

    /// Adds one data frame; `kind` is none for a continuation. Gives the message when this frame ends one.
    pub(in crate::server) fn add<'p>(
        &mut self,
        kind: Option<Kind>,
        fin: bool,
        payload: &'p [u8],
    ) -> Result<Option<Whole<'p>>, Flaw> {
        let (kind, mut bytes) = match (self.begun.take(), kind) {
            (None, Some(kind)) if fin => return whole(kind, Cow::Borrowed(payload)).map(Some),
            (None, Some(kind)) => (kind, Vec::new()),
            (Some(begun), None) => begun,
            (None, None) => return Err(flaw(CloseCode::ProtocolError, "a continuation without a beginning")),
            (Some(_), Some(_)) => return Err(flaw(CloseCode::ProtocolError, "a message begins inside another")),
        };
        self.fragments += 1;
        if self.fragments > self.fragments_max {
            return Err(flaw(CloseCode::MessageTooBig, "a message of too many fragments"));
        }
        if bytes.len() + payload.len() > self.bytes_max {
            return Err(flaw(CloseCode::MessageTooBig, "a message over the limit"));
        }
        bytes.extend_from_slice(payload);
        if !fin {
            self.begun = Some((kind, bytes));
            return Ok(None);
        }
        self.fragments = 0;
        whole(kind, Cow::Owned(bytes)).map(Some)
    }
}

/// Text is checked once, as a whole: a fragment may end inside a character.
fn whole(kind: Kind, bytes: Cow<'_, [u8]>) -> Result<Whole<'_>, Flaw> {
    if kind == Kind::Text && std::str::from_utf8(&bytes).is_err() {
        return Err(flaw(CloseCode::InvalidData, "text that is not UTF-8"));
    }
    Ok((kind, bytes))
}

fn flaw(code: CloseCode, text: &'static str) -> Flaw {
    Flaw { code, text }
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
                Err(flaw) => return Err(flaw.code),
            }
        }
        Ok(messages)
    }

    #[test]
    fn every_split_of_a_text_gives_the_text() {
        let text = "aé€😀".as_bytes();
        for cut in 0..=text.len() {
            let steps: [Step<'_>; 2] = [(Some(Kind::Text), false, &text[..cut]), (None, true, &text[cut..])];
            assert_eq!(run(&steps), Ok(vec![text.to_vec()]), "{cut}");
        }
    }

    #[test]
    fn each_flaw_has_its_code() {
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
