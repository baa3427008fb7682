//! The NATS client protocol (<https://docs.nats.io/reference/reference-protocols/nats-protocol>), as far as the load
//! needs it.

use std::fmt::Write as _;

use super::{Delivery, Incoming, Role, Strange};
use crate::payload::{STEM, topic_name};

/// The longest line that is waited for; the server's INFO is about 500 bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// CONNECT, a SUB for each topic, and a PING whose PONG says that all of it was taken.
pub(super) fn introduction(role: &Role) -> Vec<u8> {
    let mut text = concat!(
        r#"CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"lang":"rust","#,
        r#""name":"rialto-bench","version":"1","protocol":1}"#,
        "\r\n"
    )
    .to_owned();
    if let Role::Subscriber(topics) = role {
        for topic in topics.clone() {
            // Writing to a String cannot fail.
            let _ = write!(text, "SUB {} {}\r\n", topic_name(topic), topic + 1);
        }
    }
    text.push_str("PING\r\n");
    text.into_bytes()
}

/// What stands before a content.
pub(super) fn publish_head(topic: u32, content_bytes: usize) -> Vec<u8> {
    format!("PUB {} {content_bytes}\r\n", topic_name(topic)).into_bytes()
}

/// Reads all that is whole and returns how much that was.
#[inline]
pub(super) fn read(bytes: &[u8], each: &mut impl FnMut(Incoming<'_>)) -> Result<usize, Strange> {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return if rest.len() > LINE_BYTES_MAX { Err(strange(rest)) } else { Ok(at) };
        };
        let line = rest[..end].strip_suffix(b"\r").ok_or_else(|| strange(&rest[..end]))?;
        if let Some(arguments) = line.strip_prefix(b"MSG ") {
            let (topic, length) = message_head(arguments).ok_or_else(|| strange(line))?;
            let Some(content) = rest.get(end + 1..end + 1 + length + 2) else { return Ok(at) };
            let content = content.strip_suffix(b"\r\n").ok_or_else(|| strange(line))?;
            each(Incoming::Message(Delivery { content, topic, offset: None }));
            at += end + 1 + length + 2;
        } else {
            if let Some(incoming) = other(line)? {
                each(incoming);
            }
            at += end + 1;
        }
    }
}

/// The digits of the topic and the length of the content, of `subject sid [reply] length`.
fn message_head(arguments: &[u8]) -> Option<(&[u8], usize)> {
    let mut words = arguments.split(|byte| *byte == b' ');
    let topic = words.next()?.strip_prefix(STEM.as_bytes())?;
    let length = words.next_back()?;
    let length = length.iter().try_fold(0_usize, |number, digit| {
        let value = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(value)
    })?;
    (length <= crate::frame::PAYLOAD_BYTES_MAX).then_some((topic, length))
}

fn other(line: &[u8]) -> Result<Option<Incoming<'static>>, Strange> {
    if line.eq_ignore_ascii_case(b"PING") {
        return Ok(Some(Incoming::Answer(b"PONG\r\n")));
    }
    if line.eq_ignore_ascii_case(b"PONG") {
        return Ok(Some(Incoming::Confirmed));
    }
    if line.starts_with(b"-ERR") {
        return Ok(Some(Incoming::Refused(String::from_utf8_lossy(&line[4..]).trim().to_owned())));
    }
    if line.starts_with(b"INFO ") || line.starts_with(b"+OK") {
        return Ok(None);
    }
    Err(strange(line))
}

fn strange(line: &[u8]) -> Strange {
    Strange(String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"INFO {\"a\":1}\r\nPONG\r\nMSG bench.000001 2 5\r\nhello\r\nPING\r\n\
        MSG bench.00000a 2 reply 2\r\n\r\n\r\n-ERR 'Slow Consumer'\r\n";

    fn said(incoming: &Incoming<'_>) -> String {
        match incoming {
            Incoming::Message(message) => {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                format!("{}={}", text(message.topic), text(message.content))
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn reads_the_same_at_every_cut() {
        let expected = [
            "Confirmed",
            "000001=hello",
            "Answer([80, 79, 78, 71, 13, 10])",
            "00000a=\r\n",
            "Refused(\"'Slow Consumer'\")",
        ];
        for cut in 0..=STREAM.len() {
            let mut heard = Vec::new();
            let taken = read(&STREAM[..cut], &mut |incoming| heard.push(said(&incoming))).expect("NATS");
            let rest = read(&STREAM[taken..], &mut |incoming| heard.push(said(&incoming))).expect("NATS");
            assert_eq!((taken + rest, &heard[..]), (STREAM.len(), &expected.map(String::from)[..]), "{cut}");
        }
    }

    #[test]
    fn refuses_what_is_not_nats() {
        for bytes in [&b"hello\r\n"[..], b"PING\n", b"MSG bench.000000 1 x\r\n", b"MSG other 1 1\r\n", b"MSG\r\n"] {
            assert!(read(bytes, &mut |_| {}).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn says_what_it_wants() {
        let text = String::from_utf8(introduction(&Role::Subscriber(0..2))).expect("text");
        assert!(text.ends_with("}\r\nSUB bench.000000 1\r\nSUB bench.000001 2\r\nPING\r\n"), "{text}");
        assert_eq!(publish_head(7, 128), b"PUB bench.000007 128\r\n");
    }
}
