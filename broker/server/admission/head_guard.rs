//! Request smuggling guard: finds HTTP request heads with a line that does not end in CR LF. A server that accepts a lone LF
//! reads other requests from the same bytes than a proxy that does not (RFC 9112 section 2.2). Besides that it reads only
//! `Content-Length`, to skip bodies.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The header with the length of the body. A body without it is refused, and its connection is not read any further.
const LENGTH: &[u8] = b"content-length:";

/// The first request of a connection whose head has a lone LF, counted from 0: shared by the guard and the HTTP service.
#[derive(Debug)]
pub(in crate::server) struct MalformedHeads {
    first_bad: AtomicU64,
}

/// The parser's position in the requests of a connection.
#[derive(Debug, Default)]
pub(in crate::server) struct HeadGuard {
    head: u64,
    /// Whether this head has had a line that is not empty.
    begun: bool,
    after_cr: bool,
    line: RequestLine,
    /// The length of the body that follows this head.
    length: u64,
    /// Bytes of a body that are still to come.
    body_left: u64,
}

/// The kind of the line that is being read, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
enum RequestLine {
    /// No byte of it was read.
    #[default]
    Empty,
    /// All bytes so far, this many, match [`LENGTH`].
    Name(usize),
    /// `Content-Length` and the digits so far; none before the first digit.
    Length(Option<u64>),
    /// Any other line.
    Other,
}

impl Default for MalformedHeads {
    fn default() -> Self {
        Self { first_bad: AtomicU64::new(u64::MAX) }
    }
}

impl MalformedHeads {
    /// Whether the head of this request, or of an earlier one, has a lone LF.
    pub(in crate::server) fn is_bad(&self, request: u64) -> bool {
        self.first_bad.load(Relaxed) <= request
    }
}

impl HeadGuard {
    /// Whether a head has begun and is not complete.
    pub(in crate::server) fn is_in_head(&self) -> bool {
        self.begun
    }

    /// Whether a body is still to come.
    pub(in crate::server) fn is_in_body(&self) -> bool {
        self.body_left > 0
    }

    pub(in crate::server) fn follow(&mut self, mut bytes: &[u8], malformed: &MalformedHeads) {
        while let Some((byte, rest)) = bytes.split_first() {
            if self.body_left > 0 {
                let skipped = self.body_left.min(bytes.len() as u64);
                self.body_left -= skipped;
                bytes = &bytes[skipped as usize..];
                continue;
            }
            match byte {
                b'\n' => self.line_ends(malformed),
                b'\r' => {}
                _ => (self.begun, self.line) = (true, self.line.then(*byte)),
            }
            self.after_cr = *byte == b'\r';
            bytes = rest;
        }
    }

    fn line_ends(&mut self, malformed: &MalformedHeads) {
        if !self.after_cr {
            malformed.first_bad.fetch_min(self.head, Relaxed);
        }
        match self.line {
            RequestLine::Empty if self.begun => {
                self.head += 1;
                self.begun = false;
                self.body_left = std::mem::take(&mut self.length);
            }
            RequestLine::Length(Some(length)) => self.length = length,
            _ => {}
        }
        self.line = RequestLine::Empty;
    }
}

impl RequestLine {
    fn then(self, byte: u8) -> Self {
        match self {
            Self::Empty => Self::Name(0).then(byte),
            Self::Name(seen) if byte.to_ascii_lowercase() == LENGTH[seen] => match seen + 1 {
                all if all == LENGTH.len() => Self::Length(None),
                some => Self::Name(some),
            },
            Self::Length(length) => match (byte, length) {
                (b'0'..=b'9', _) => Self::Length(Some(append(length.unwrap_or(0), byte))),
                (b' ' | b'\t', _) => self,
                // An invalid length: the request is refused elsewhere.
                _ => Self::Other,
            },
            Self::Name(_) | Self::Other => Self::Other,
        }
    }
}

fn append(number: u64, digit: u8) -> u64 {
    number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_head_with_a_lone_line_feed_is_found_however_the_bytes_are_cut() {
        let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-LENGTH: \t7\t\r\nX: 1\r\n\r\n\n\n{\n}\n\n";
        for (text, first_bad) in [
            (good.to_owned(), u64::MAX),
            (good.repeat(3), u64::MAX),
            (format!("\r\n{good}\r\n{good}"), u64::MAX),
            (good.replace("\r\n", "\n"), 0),
            (good.replace("a\r\n\r\n", "a\n\r\n"), 0),
            (good.replace("a\r\n\r\n", "a\r\n\n"), 0),
            (format!("\n{good}"), 0),
            (format!("{good}GET / HTTP/1.1\nHost: a\r\n\r\n{good}"), 1),
            (format!("{good}{good}\n{good}"), 2),
            (post.repeat(3), u64::MAX),
            (format!("{post}{good}{post}"), u64::MAX),
            (format!("{post}\n{good}"), 1),
            (post.replace('7', "6"), 1),
            (post.replace('7', "x7"), 1),
            (post.replace("LENGTH", "Lengt"), 1),
            (post.replace("POST /", "POST Content-Length:7"), u64::MAX),
            (post.replace('7', "99999999999999999999999"), u64::MAX),
        ] {
            for size in [1, 2, 3, 5, 1_000] {
                let (malformed, mut guard) = (MalformedHeads::default(), HeadGuard::default());
                text.as_bytes().chunks(size).for_each(|piece| guard.follow(piece, &malformed));
                assert_eq!(malformed.first_bad.load(Relaxed), first_bad, "{text:?} {size}");
                assert_eq!(malformed.is_bad(5), first_bad < 5);
            }
        }
    }
}
