//! Watches the heads of HTTP requests go by: a line of one must end in CR LF. Whoever takes a lone LF for the end of a line
//! reads other requests out of the same bytes than a proxy that does not (RFC 9112 section 2.2). It parses nothing else.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The first request of a connection whose head has a lone LF, counted from 0.
#[derive(Debug)]
pub(super) struct Heads {
    first_bad: AtomicU64,
}

/// Where in the stream of heads a connection is. Requests have no bodies here, so nothing else comes along before the
/// upgrade; what comes after it is nobody's request.
#[derive(Debug, Default)]
pub(super) struct HeadWatch {
    head: u64,
    /// Something other than empty lines was seen of this head.
    begun: bool,
    after_cr: bool,
    line_begun: bool,
}

impl Default for Heads {
    fn default() -> Self {
        Self { first_bad: AtomicU64::new(u64::MAX) }
    }
}

impl Heads {
    /// Whether the head of this request has a lone LF, or that of one before it.
    pub(super) fn is_bad(&self, request: u64) -> bool {
        self.first_bad.load(Relaxed) <= request
    }
}

impl HeadWatch {
    pub(super) fn follow(&mut self, bytes: &[u8], heads: &Heads) {
        for byte in bytes {
            match byte {
                b'\n' => self.line_ends(heads),
                b'\r' => {}
                _ => (self.begun, self.line_begun) = (true, true),
            }
            self.after_cr = *byte == b'\r';
        }
    }

    fn line_ends(&mut self, heads: &Heads) {
        if !self.after_cr {
            heads.first_bad.fetch_min(self.head, Relaxed);
        }
        if self.begun && !self.line_begun {
            self.head += 1;
            self.begun = false;
        }
        self.line_begun = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_head_with_a_lone_line_feed_is_known_however_the_bytes_are_cut() {
        let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
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
        ] {
            for size in [1, 2, 3, 5, 1_000] {
                let (heads, mut watch) = (Heads::default(), HeadWatch::default());
                text.as_bytes().chunks(size).for_each(|piece| watch.follow(piece, &heads));
                assert_eq!(heads.first_bad.load(Relaxed), first_bad, "{text:?} {size}");
                assert_eq!(heads.is_bad(5), first_bad < 5);
            }
        }
    }
}
