//! The kinds of hostile connections: what each sends, what it never does, and the timeout within which a broker must close it.
//! Plain values.

use std::time::Duration;

/// A head that is never finished, to be said byte by byte; behind it come more of the last letter.
const DRIPPED_HEAD: &[u8] = b"GET /ws HTTP/1.1\r\nHost: door\r\nX-Drip: a";
/// All of a head but its last line's end.
const OPEN_HEAD: &[u8] = b"GET /ws HTTP/1.1\r\nHost: door\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: door\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// The largest file that the page loads, so that few answers fill every buffer on the way.
const PAGE: &[u8] = b"GET /sdk/client.js HTTP/1.1\r\nHost: door\r\n\r\n";
/// Pages asked for in one go: their answers are some megabytes.
const PAGES: usize = 700;
/// The first byte of a text frame.
const HALF_HEADER: &[u8] = &[0x81];
/// A text frame of 60,000 bytes and its mask; the bytes are still to come.
const PROMISE: &[u8] = &[0x81, 0xfe, 0xea, 0x60, 1, 2, 3, 4];

/// Times that a broker's configuration gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For the head of a request: `header_ms`.
    pub header: Duration,
    /// For a frame that was begun: `frame_ms`.
    pub frame: Duration,
    /// For a write to get on: `write_ms`.
    pub write: Duration,
}

/// A way to hold a connection without being a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connects and says nothing.
    Silent,
    /// Says its request one byte at a time.
    DrippedHead,
    /// Says its request up to the last line's end.
    OpenHead,
    /// Upgrades and begins a frame.
    HalfHeader,
    /// Upgrades, announces a payload and says it one byte at a time.
    DrippedPayload,
    /// Asks for pages and reads none.
    UnreadPages,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Silent, Self::DrippedHead, Self::OpenHead, Self::HalfHeader, Self::DrippedPayload, Self::UnreadPages];

    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::DrippedHead => "request head, a byte every 100 ms",
            Self::OpenHead => "request head without its end",
            Self::HalfHeader => "session with half a frame header",
            Self::DrippedPayload => "session with a payload, a byte every 100 ms",
            Self::UnreadPages => "pages asked for and not read",
        }
    }

    /// How long a broker may bear it.
    pub fn deadline(self, deadlines: &Deadlines) -> Duration {
        match self {
            Self::Silent | Self::DrippedHead | Self::OpenHead => deadlines.header,
            Self::HalfHeader | Self::DrippedPayload => deadlines.frame,
            Self::UnreadPages => deadlines.write,
        }
    }

    /// What it says as soon as it is connected.
    pub(super) fn greeting(self) -> Vec<u8> {
        match self {
            Self::Silent | Self::DrippedHead => Vec::new(),
            Self::OpenHead => OPEN_HEAD.to_vec(),
            Self::HalfHeader | Self::DrippedPayload => UPGRADE.to_vec(),
            Self::UnreadPages => PAGE.repeat(PAGES),
        }
    }

    /// What it says once it is upgraded; none if it does not want to be.
    pub(super) fn opening(self) -> Option<&'static [u8]> {
        match self {
            Self::HalfHeader => Some(HALF_HEADER),
            Self::DrippedPayload => Some(PROMISE),
            _ => None,
        }
    }

    /// The next byte that drips, after so many; none if nothing does.
    pub(super) fn drip(self, dripped: usize) -> Option<u8> {
        match self {
            Self::DrippedHead => DRIPPED_HEAD.get(dripped).or(DRIPPED_HEAD.last()).copied(),
            Self::DrippedPayload => Some(b' '),
            _ => None,
        }
    }

    /// Whether it takes what the broker says.
    pub(super) fn reads(self) -> bool {
        self != Self::UnreadPages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_upgrade_and_page_requests_are_complete() {
        for kind in Kind::ALL {
            let mut said = kind.greeting();
            said.extend((0..10_000).map_while(|dripped| kind.drip(dripped)));
            let whole = said.windows(4).any(|four| four == b"\r\n\r\n");
            assert_eq!(whole, kind.opening().is_some() || !kind.reads(), "{kind:?}");
        }
    }

    #[test]
    fn no_frame_is_ever_whole() {
        let mut promised = PROMISE.to_vec();
        promised.extend((0..1_000).map_while(|dripped| Kind::DrippedPayload.drip(dripped)));
        for bytes in [HALF_HEADER, &promised] {
            assert_eq!(rialto_load::frame::split(bytes), Ok(None));
        }
    }
}
