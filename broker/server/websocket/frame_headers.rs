//! Checks the frame headers in the bytes of a connection (RFC 6455 section 5.2). It keeps no payload.

/// The longest header of a client's frame: two bytes, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;

/// The parser's position in the frames of a connection.
#[derive(Debug, Default)]
pub(in crate::server) struct FrameHeaders {
    header: [u8; HEADER_BYTES_MAX],
    seen: usize,
    payload_left: u64,
    complete: u64,
}

/// An invalid frame header, and how many bytes before it were valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(in crate::server) struct BadHeader {
    pub(in crate::server) good: usize,
    pub(in crate::server) text: &'static str,
}

impl FrameHeaders {
    /// Follows the bytes.
    ///
    /// # Errors
    /// [`BadHeader`] at the first frame that is not masked or does not write its length in the shortest form.
    pub(in crate::server) fn follow(&mut self, bytes: &[u8]) -> Result<(), BadHeader> {
        let mut at = 0;
        // Where the current header begins; 0 if it began in earlier bytes.
        let mut begun = 0;
        while at < bytes.len() {
            if self.payload_left > 0 {
                let skipped = self.payload_left.min((bytes.len() - at) as u64);
                self.payload_left -= skipped;
                at += skipped as usize;
                begun = at;
                self.complete += u64::from(self.payload_left == 0);
                continue;
            }
            self.header[self.seen] = bytes[at];
            self.seen += 1;
            at += 1;
            self.check().map_err(|text| BadHeader { good: begun, text })?;
            if self.seen == self.header_bytes() {
                self.payload_left = self.payload_bytes();
                self.complete += u64::from(self.payload_left == 0);
                self.seen = 0;
                begun = at;
            }
        }
        Ok(())
    }

    /// Whether the bytes so far end inside a frame.
    pub(in crate::server) fn is_inside(&self) -> bool {
        self.seen > 0 || self.payload_left > 0
    }

    /// How many frames were complete.
    pub(in crate::server) fn complete(&self) -> u64 {
        self.complete
    }

    fn length_bytes(&self) -> usize {
        match self.header[1] & LENGTH {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    /// Length of the header, at most, as far as it is known.
    fn header_bytes(&self) -> usize {
        if self.seen < 2 { HEADER_BYTES_MAX } else { 2 + self.length_bytes() + 4 }
    }

    fn payload_bytes(&self) -> u64 {
        match self.length_bytes() {
            0 => u64::from(self.header[1] & LENGTH),
            count => self.header[2..2 + count].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        }
    }

    /// Checks the header as soon as each of its parts is complete.
    fn check(&self) -> Result<(), &'static str> {
        let length_bytes = self.length_bytes();
        if self.seen == 2 && self.header[1] & MASKED == 0 {
            return Err("a frame that is not masked");
        }
        if self.seen == 2 + length_bytes && length_bytes > 0 {
            let shortest = match self.payload_bytes() {
                0..126 => 0,
                126..=0xffff => 2,
                _ => 8,
            };
            if shortest != length_bytes {
                return Err("a frame whose length is not in the shortest form");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload_bytes: usize) -> Vec<u8> {
        let mut frame = vec![0x82];
        match payload_bytes {
            0..126 => frame.push(MASKED | payload_bytes as u8),
            126..=0xffff => {
                frame.push(MASKED | 126);
                frame.extend((payload_bytes as u16).to_be_bytes());
            }
            _ => {
                frame.push(MASKED | 127);
                frame.extend((payload_bytes as u64).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.extend(vec![0xff; payload_bytes]);
        frame
    }

    #[test]
    fn frames_are_followed_however_the_bytes_are_cut() {
        let whole: Vec<u8> = [0, 1, 125, 126, 127, 300, 70_000, 0].into_iter().flat_map(frame).collect();
        for size in [1, 2, 3, 7, 64, 1_000, whole.len()] {
            let mut headers = FrameHeaders::default();
            for piece in whole.chunks(size) {
                assert_eq!(headers.follow(piece), Ok(()), "{size}");
            }
            assert!(!headers.is_inside(), "{size}");
            assert_eq!(headers.complete(), 8, "{size}");
        }
        for cut in (1..whole.len()).step_by(97) {
            let mut headers = FrameHeaders::default();
            assert_eq!(headers.follow(&whole[..cut]), Ok(()));
            let boundaries = [6, 13, 144, 278, 413, 721, 70_735];
            assert_eq!(headers.is_inside(), !boundaries.contains(&cut), "{cut}");
        }
    }

    #[test]
    fn valid_frames_before_an_invalid_one_are_counted() {
        let good = frame(3);
        for bad in [
            &[0x81, 0x05][..],
            &[0x81, 0xfe, 0, 125],
            &[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            &[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 1],
        ] {
            let mut headers = FrameHeaders::default();
            let refused = headers.follow(&[&good[..], &good, bad].concat()).expect_err("refused");
            assert_eq!(refused.good, 2 * good.len(), "{bad:x?}");
        }
    }
}
