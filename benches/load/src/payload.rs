//! The content of a message: who it is and when it was due, then a filler, all of it checked by whoever receives it.
//! It knows nothing of envelopes and frames.

/// What a content says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Index of the topic.
    pub(crate) topic: u32,
    /// Counts 0, 1, 2 … within the topic.
    pub(crate) sequence: u64,
    /// When it should have been sent, in nanoseconds since the run began.
    pub(crate) time_ns: u64,
}

/// The sequence of messages that only show that a subscriber is there.
pub(crate) const PROBE: u64 = (1 << (4 * SEQUENCE_DIGITS)) - 1;

/// The shortest content.
pub(crate) const STAMP_BYTES: usize = TOPIC_DIGITS + SEQUENCE_DIGITS + TIME_DIGITS;

/// Hexadecimal digits of a topic's index, in contents as in names.
pub(crate) const TOPIC_DIGITS: usize = 6;

/// Topics there can be.
pub(crate) const TOPICS_MAX: u32 = 1 << (4 * TOPIC_DIGITS);

const SEQUENCE_DIGITS: usize = 10;
const TIME_DIGITS: usize = 12;

/// What the names of all topics begin with.
pub(crate) const STEM: &str = "bench.";

/// The name of a topic; all are equally long.
pub(crate) fn topic_name(topic: u32) -> String {
    format!("{STEM}{topic:0TOPIC_DIGITS$x}")
}

/// The index of the topic with this name.
pub(crate) fn topic_index(name: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(STEM.as_bytes()).filter(|digits| digits.len() == TOPIC_DIGITS)?;
    u32::try_from(number(digits)?).ok()
}

/// The content with this stamp, `bytes` long. No character of it is written differently in JSON.
pub(crate) fn write(stamp: Stamp, bytes: usize) -> Box<[u8]> {
    let mut content = Vec::with_capacity(bytes);
    digits(stamp.topic.into(), TOPIC_DIGITS, &mut content);
    digits(stamp.sequence, SEQUENCE_DIGITS, &mut content);
    digits(stamp.time_ns, TIME_DIGITS, &mut content);
    let mut state = stamp.sequence ^ (u64::from(stamp.topic) << 40);
    while content.len() < bytes {
        state = scramble(state);
        let letters = state.to_le_bytes().map(|byte| LETTERS[usize::from(byte % 64)]);
        content.extend_from_slice(&letters[..letters.len().min(bytes - content.len())]);
    }
    content.into()
}

/// The stamp of a content; none if it has no such form.
pub(crate) fn read(content: &[u8]) -> Option<Stamp> {
    let (topic, rest) = content.split_at_checked(TOPIC_DIGITS)?;
    let (sequence, rest) = rest.split_at_checked(SEQUENCE_DIGITS)?;
    let (time, _) = rest.split_at_checked(TIME_DIGITS)?;
    let topic = u32::try_from(number(topic)?).ok()?;
    Some(Stamp { topic, sequence: number(sequence)?, time_ns: number(time)? })
}

/// The topic that a content names; none if it has no such form.
pub(crate) fn read_topic(content: &[u8]) -> Option<u32> {
    u32::try_from(number(content.get(..TOPIC_DIGITS)?)?).ok()
}

/// A number that follows another without any visible order (splitmix64).
pub(crate) const fn scramble(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn digits(number: u64, count: usize, out: &mut Vec<u8>) {
    out.extend((0..count).rev().map(|place| b"0123456789abcdef"[(number >> (4 * place) & 15) as usize]));
}

/// Reads lower-case hexadecimal digits, at most 16.
fn number(digits: &[u8]) -> Option<u64> {
    let mut number = 0;
    for digit in digits {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u64::from(value);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (topic, sequence, time_ns) in [(0, 0, 0), (0xab_cdef, 1, u64::from(u32::MAX)), (9, PROBE, (1 << 48) - 1)] {
            let stamp = Stamp { topic, sequence, time_ns };
            for bytes in [STAMP_BYTES, STAMP_BYTES + 1, 126, 1000] {
                let content = write(stamp, bytes);
                assert_eq!(content.len(), bytes);
                assert_eq!((read(&content), read_topic(&content)), (Some(stamp), Some(topic)));
            }
        }
    }

    #[test]
    fn contents_need_no_escape() {
        let content = write(Stamp { topic: 1, sequence: 2, time_ns: 3 }, 4096);
        let json = serde_json::to_vec(std::str::from_utf8(&content).expect("letters")).expect("a string");
        assert_eq!(json.len(), content.len() + 2);
    }

    #[test]
    fn other_bytes_have_no_stamp() {
        for content in [&b""[..], b"00000000000000000000000000", b"00000000000000000000000000G0", b"hello"] {
            assert_eq!(read(content), None);
        }
    }

    #[test]
    fn topics_have_names() {
        for (topic, name) in [(0, "bench.000000"), (0xff_ffff, "bench.ffffff")] {
            assert_eq!((topic_name(topic).as_str(), topic_index(name.as_bytes())), (name, Some(topic)));
        }
        for name in ["", "bench.", "bench.00000", "bench.0000000", "other.000000", "bench.00000g"] {
            assert_eq!(topic_index(name.as_bytes()), None, "{name}");
        }
    }
}
