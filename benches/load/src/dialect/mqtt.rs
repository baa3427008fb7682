//! MQTT 3.1.1 (OASIS standard, 2014) with QoS 0 and clean sessions, as far as the load needs it.

use super::{Delivery, Incoming, Role, Strange};
use crate::payload::{STEM, topic_name};

const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBACK: u8 = 0x90;
const PINGRESP: u8 = 0xd0;

/// Topics that one SUBSCRIBE names.
const TOPICS_PER_REQUEST: u32 = 100;

/// CONNECT and SUBSCRIBE packets. A keep-alive of 0 switches it off, so silence is no fault.
pub(super) fn introduction(name: &str, role: &Role) -> Vec<u8> {
    const CLEAN_SESSION: u8 = 2;
    let mut body = b"\x00\x04MQTT\x04".to_vec();
    body.extend_from_slice(&[CLEAN_SESSION, 0, 0]);
    text(name, &mut body);
    let mut out = Vec::new();
    packet(0x10, &body, &mut out);
    let Role::Subscriber(topics) = role else { return out };
    for (request, start) in topics.clone().step_by(TOPICS_PER_REQUEST as usize).enumerate() {
        body.clear();
        body.extend_from_slice(&(request as u16 + 1).to_be_bytes());
        for topic in start..topics.end.min(start + TOPICS_PER_REQUEST) {
            text(&topic_name(topic), &mut body);
            body.push(0);
        }
        packet(0x82, &body, &mut out);
    }
    out
}

/// CONNACK, and a SUBACK for each request.
pub(super) fn confirmations(role: &Role) -> u32 {
    match role {
        Role::Subscriber(topics) => 1 + (topics.end - topics.start).div_ceil(TOPICS_PER_REQUEST),
        Role::Publisher(_) => 1,
    }
}

/// What stands before a content.
pub(super) fn publish_head(topic: u32, content_bytes: usize) -> Vec<u8> {
    let name = topic_name(topic);
    let mut out = vec![PUBLISH];
    remaining_length(2 + name.len() + content_bytes, &mut out);
    text(&name, &mut out);
    out
}

/// Reads all that is whole and returns how much that was.
#[inline]
pub(super) fn read(bytes: &[u8], each: &mut impl FnMut(Incoming<'_>)) -> Result<usize, Strange> {
    let mut at = 0;
    while let Some((kind, body, whole)) = split(&bytes[at..])? {
        if let Some(incoming) = incoming(kind, body)? {
            each(incoming);
        }
        at += whole;
    }
    Ok(at)
}

fn incoming(kind: u8, body: &[u8]) -> Result<Option<Incoming<'_>>, Strange> {
    let strange = || Strange(format!("a packet 0x{kind:02x} of {} bytes", body.len()));
    match kind {
        PUBLISH => {
            let (length, rest) = body.split_first_chunk::<2>().ok_or_else(strange)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (topic, content) = rest.split_at_checked(length).ok_or_else(strange)?;
            let topic = topic.strip_prefix(STEM.as_bytes()).ok_or_else(strange)?;
            Ok(Some(Incoming::Message(Delivery { content, topic, offset: None })))
        }
        CONNACK if body.len() == 2 && body[1] == 0 => Ok(Some(Incoming::Confirmed)),
        CONNACK if body.len() == 2 => Ok(Some(Incoming::Refused(format!("CONNACK {}", body[1])))),
        SUBACK if body.len() > 2 && body[2..].iter().all(|code| *code <= 2) => Ok(Some(Incoming::Confirmed)),
        SUBACK => Ok(Some(Incoming::Refused("SUBACK with a failure".to_owned()))),
        PINGRESP => Ok(None),
        _ => Err(strange()),
    }
}

/// A packet's kind and flags, what it holds, and how long it is altogether.
type Packet<'a> = (u8, &'a [u8], usize);

/// The first packet, if it is all there.
fn split(bytes: &[u8]) -> Result<Option<Packet<'_>>, Strange> {
    let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
    let mut length = 0;
    for place in 0..4 {
        let Some(byte) = rest.get(place) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let start = place + 1;
            return Ok(rest.get(start..start + length).map(|body| (*kind, body, 1 + start + length)));
        }
    }
    Err(Strange("a length of more than four bytes".to_owned()))
}

fn packet(kind: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    remaining_length(body.len(), out);
    out.extend_from_slice(body);
}

fn remaining_length(mut length: usize, out: &mut Vec<u8>) {
    while length > 0x7f {
        out.push(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    out.push(length as u8);
}

/// Names are short: clients' and topics'.
fn text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        let mut stream = vec![CONNACK, 2, 0, 0, SUBACK, 4, 0, 1, 0, 0];
        for bytes in [5, 300] {
            stream.extend_from_slice(&publish_head(0xa, bytes));
            stream.extend(std::iter::repeat_n(b'x', bytes));
        }
        stream.extend_from_slice(&[PINGRESP, 0, SUBACK, 3, 0, 1, 0x80, CONNACK, 2, 0, 5]);
        stream
    }

    fn said(incoming: &Incoming<'_>) -> String {
        match incoming {
            Incoming::Message(message) => {
                format!("{}={}", String::from_utf8_lossy(message.topic), message.content.len())
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn reads_the_same_at_every_cut() {
        let stream = stream();
        let expected = [
            "Confirmed",
            "Confirmed",
            "00000a=5",
            "00000a=300",
            "Refused(\"SUBACK with a failure\")",
            "Refused(\"CONNACK 5\")",
        ];
        for cut in 0..=stream.len() {
            let mut heard = Vec::new();
            let taken = read(&stream[..cut], &mut |incoming| heard.push(said(&incoming))).expect("MQTT");
            let rest = read(&stream[taken..], &mut |incoming| heard.push(said(&incoming))).expect("MQTT");
            assert_eq!((taken + rest, &heard[..]), (stream.len(), &expected.map(String::from)[..]), "{cut}");
        }
    }

    #[test]
    fn refuses_what_is_not_mqtt() {
        for bytes in [&[0x10, 0][..], &[PUBLISH, 1, 0], &[PUBLISH, 3, 0, 9, 9], &[PUBLISH, 0x80, 0x80, 0x80, 0x80, 1]] {
            assert!(read(bytes, &mut |_| {}).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn says_what_it_wants() {
        let packets = introduction("one", &Role::Subscriber(0..101));
        assert_eq!(&packets[..17], b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x03one");
        let (kind, body, whole) = split(&packets[17..]).expect("MQTT").expect("a packet");
        assert_eq!((kind, &body[..18]), (0x82, &b"\x00\x01\x00\x0cbench.000000\x00\x00"[..]));
        let second = b"\x82\x11\x00\x02\x00\x0cbench.000064\x00";
        assert_eq!(&packets[17 + whole..], second);
        assert_eq!(confirmations(&Role::Subscriber(0..101)), 3);
    }
}
