//! Rialto's own protocol (`broker/book/src/protocol.md`). Messages are recognised by the bytes around their content, in
//! the order this broker writes them; whatever looks different is taken apart properly.

use std::ops::Range;

use rialto_protocol::Codec;
use serde_json::{Value, json};

use super::{Delivery, Incoming, Strange};
use crate::frame;
use crate::payload::{TOPIC_DIGITS, topic_index, topic_name};

/// Topics that one request names.
const TOPICS_PER_REQUEST: u32 = 100;

/// How much of a content is taken for its key.
const KEY_BYTES_MAX: usize = 64;

/// One session's codec, and how its messages look.
#[derive(Debug)]
pub(crate) struct Rialto {
    pub(crate) codec: Codec,
    content_bytes: usize,
    delivery: Option<Value>,
    /// Whether publishes ask for an ack and have a key.
    acks: bool,
    /// What stands right before the content.
    before_content: Vec<u8>,
}

impl Rialto {
    /// `delivery` is the policy to ask for, as JSON.
    pub(super) fn new(codec: Codec, content_bytes: usize, delivery: Option<&str>, acks: bool) -> Self {
        let before_content = match codec {
            Codec::Json => br#""data":""#.to_vec(),
            Codec::MessagePack => {
                let mut bytes = b"\xa4data".to_vec();
                text_header(content_bytes, &mut bytes);
                bytes
            }
        };
        // What is no JSON goes to the broker as text, which it will refuse.
        let delivery = delivery.map(|text| serde_json::from_str(text).unwrap_or_else(|_| text.into()));
        Self { codec, content_bytes, delivery, acks, before_content }
    }

    pub(super) fn subscribe(&self, topics: Range<u32>, out: &mut Vec<u8>) {
        for start in topics.clone().step_by(TOPICS_PER_REQUEST as usize) {
            let end = topics.end.min(start + TOPICS_PER_REQUEST);
            let mut wanted: Vec<Value> = (start..end).map(|topic| json!({ "topic": topic_name(topic) })).collect();
            if let Some(delivery) = &self.delivery {
                wanted.iter_mut().for_each(|one| one["delivery"] = delivery.clone());
            }
            // A single topic is asked for in the simple form, so that it is measured as most clients use it.
            let mut request = match &mut wanted[..] {
                [only] => only.take(),
                _ => json!({ "topics": wanted }),
            };
            request["type"] = "subscribe".into();
            request["id"] = (start + 1).into();
            self.say(&request, out);
        }
    }

    pub(super) fn confirmations(topics: &Range<u32>) -> u32 {
        (topics.end - topics.start).div_ceil(TOPICS_PER_REQUEST)
    }

    pub(super) fn publish(&self, topic: u32, content: &[u8], out: &mut Vec<u8>) {
        let name = topic_name(topic);
        match self.codec {
            Codec::Json => {
                let head = br#"{"type":"publish","topic":""#;
                let acked: [&[u8]; 3] = match self.acks {
                    true => [br#"","id":1,"key":""#, key(content), br#"","data":""#],
                    false => [br#"","data":""#, b"", b""],
                };
                let [between, key, before] = acked;
                frame::append_client(
                    frame::TEXT,
                    &[head, name.as_bytes(), between, key, before, content, br#""}"#],
                    out,
                );
            }
            Codec::MessagePack => {
                let mut head = vec![if self.acks { 0x85 } else { 0x83 }];
                head.extend_from_slice(b"\xa4type\xa7publish\xa5topic");
                text_header(name.len(), &mut head);
                head.extend_from_slice(name.as_bytes());
                if self.acks {
                    head.extend_from_slice(b"\xa2id\x01\xa3key");
                    text_header(key(content).len(), &mut head);
                    head.extend_from_slice(key(content));
                }
                head.extend_from_slice(b"\xa4data");
                text_header(content.len(), &mut head);
                frame::append_client(frame::BINARY, &[&head, content], out);
            }
        }
    }

    #[inline]
    pub(super) fn read(&self, message: &[u8], each: &mut impl FnMut(Incoming<'_>)) -> Result<(), Strange> {
        let delivery = match self.codec {
            Codec::Json => self.json_message(message),
            Codec::MessagePack => self.msgpack_message(message),
        };
        match delivery {
            Some(delivery) => each(Incoming::Message(delivery)),
            None => self.read_any(message, each)?,
        }
        Ok(())
    }

    #[inline]
    fn json_message<'a>(&self, message: &'a [u8]) -> Option<Delivery<'a>> {
        let rest = message.strip_prefix(br#"{"type":"message","topic":"bench."#)?;
        let (topic, rest) = rest.split_at_checked(TOPIC_DIGITS)?;
        let rest = rest.strip_prefix(br#"","offset":"#)?;
        let mut offset = 0_u64;
        for digit in rest.iter().take_while(|byte| byte.is_ascii_digit()).take(19) {
            offset = offset.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        }
        Some(Delivery { content: self.content(rest.strip_suffix(br#""}"#)?)?, topic, offset: Some(offset) })
    }

    #[inline]
    fn msgpack_message<'a>(&self, message: &'a [u8]) -> Option<Delivery<'a>> {
        // The first byte says how many fields there are.
        let rest = message.get(1..)?.strip_prefix(b"\xa4type\xa7message\xa5topic\xacbench.")?;
        let (topic, rest) = rest.split_at_checked(TOPIC_DIGITS)?;
        let (kind, rest) = rest.strip_prefix(b"\xa6offset")?.split_first()?;
        let offset = match kind {
            0..=0x7f => u64::from(*kind),
            0xcc => u64::from(*rest.first()?),
            0xcd => u64::from(u16::from_be_bytes(*rest.first_chunk()?)),
            0xce => u64::from(u32::from_be_bytes(*rest.first_chunk()?)),
            0xcf => u64::from_be_bytes(*rest.first_chunk()?),
            _ => return None,
        };
        Some(Delivery { content: self.content(rest)?, topic, offset: Some(offset) })
    }

    /// The content at the end of a message, if what stands before it is as expected.
    #[inline]
    fn content<'a>(&self, message: &'a [u8]) -> Option<&'a [u8]> {
        let (before, content) = message.split_at_checked(message.len().checked_sub(self.content_bytes)?)?;
        before.ends_with(&self.before_content).then_some(content)
    }

    /// Whatever is no message in the usual order.
    #[cold]
    fn read_any(&self, message: &[u8], each: &mut impl FnMut(Incoming<'_>)) -> Result<(), Strange> {
        let frame: Value = match self.codec {
            Codec::Json => serde_json::from_slice(message).map_err(|error| Strange(error.to_string()))?,
            Codec::MessagePack => rmp_serde::from_slice(message).map_err(|error| Strange(error.to_string()))?,
        };
        match frame["type"].as_str() {
            Some("message") => {
                let name = frame["topic"].as_str().unwrap_or_default();
                let content = frame["data"].as_str().unwrap_or_default().as_bytes();
                let topic = name.get(crate::payload::STEM.len()..).unwrap_or("?").as_bytes();
                each(Incoming::Message(Delivery { content, topic, offset: frame["offset"].as_u64() }));
            }
            Some("gap") => each(gap(&frame).ok_or_else(|| Strange(frame.to_string()))?),
            Some("ok") => {
                match frame["topics"].as_array() {
                    Some(topics) => topics.iter().for_each(|topic| subscribed(topic, each)),
                    None => subscribed(&frame, each),
                }
                each(Incoming::Confirmed);
            }
            Some("error" | "closing") => each(Incoming::Refused(reason(&frame))),
            // What later versions may say besides is not for us.
            _ => {}
        }
        Ok(())
    }

    fn say(&self, request: &Value, out: &mut Vec<u8>) {
        match self.codec {
            Codec::Json => frame::append_client(frame::TEXT, &[request.to_string().as_bytes()], out),
            Codec::MessagePack => {
                let bytes = rmp_serde::to_vec(request).expect("a tree of texts and numbers is MessagePack");
                frame::append_client(frame::BINARY, &[&bytes], out);
            }
        }
    }
}

/// The key of a message: its content begins with what tells it from all others.
fn key(content: &[u8]) -> &[u8] {
    &content[..content.len().min(KEY_BYTES_MAX)]
}

fn gap(frame: &Value) -> Option<Incoming<'static>> {
    let topic = topic_index(frame["topic"].as_str()?.as_bytes())?;
    Some(Incoming::Gap { topic, from: frame["from"].as_u64()?, to: frame["to"].as_u64()? })
}

fn subscribed(outcome: &Value, each: &mut impl FnMut(Incoming<'_>)) {
    if outcome["error"].is_object() {
        return each(Incoming::Refused(reason(&outcome["error"])));
    }
    let topic = outcome["topic"].as_str().and_then(|name| topic_index(name.as_bytes()));
    if let (Some(topic), Some(offset)) = (topic, outcome["position"]["offset"].as_u64()) {
        each(Incoming::Position { topic, offset });
    }
}

/// Code and sentence of an error or of a farewell.
fn reason(frame: &Value) -> String {
    let code = match &frame["code"] {
        Value::String(code) => code.clone(),
        code => code.to_string(),
    };
    format!("{code}: {}", frame["message"].as_str().unwrap_or_default())
}

/// The header of a MessagePack text in its shortest form.
fn text_header(bytes: usize, out: &mut Vec<u8>) {
    match (u8::try_from(bytes), u16::try_from(bytes)) {
        (Ok(short), _) if short < 32 => out.push(0xa0 | short),
        (Ok(short), _) => out.extend_from_slice(&[0xd9, short]),
        (_, Ok(long)) => {
            out.push(0xda);
            out.extend_from_slice(&long.to_be_bytes());
        }
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&(bytes as u32).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::{Frame, Gap, GapReason, Operation, Payload, Request};

    use super::*;
    use crate::payload::{Stamp, write};

    fn said(rialto: &Rialto, message: &[u8]) -> Vec<String> {
        let mut heard = Vec::new();
        let outcome = rialto.read(message, &mut |incoming| {
            heard.push(match incoming {
                Incoming::Message(message) => {
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    format!("{} {:?} {}", text(message.topic), message.offset, text(message.content))
                }
                other => format!("{other:?}"),
            });
        });
        assert_eq!(outcome, Ok(()));
        heard
    }

    fn encode(codec: Codec, frame: &Frame<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame.encode(codec, &mut bytes);
        bytes
    }

    #[test]
    fn messages_are_recognized_without_parsing() {
        for codec in Codec::ALL {
            for (offset, bytes) in [(1, 30), (127, 31), (128, 32), (300, 255), (70_000, 256), (1 << 40, 70_000)] {
                let content = write(Stamp { topic: 0xab, sequence: 7, time_ns: 9 }, bytes);
                let text = String::from_utf8(content.to_vec()).expect("text");
                let payload = Payload::json(&text).expect("a string");
                let topic = topic_name(0xab);
                let frame = Frame::Message { topic: &topic, offset, time: 1 << 40, from: None, payload: &payload };
                let message = encode(codec, &frame);
                let rialto = Rialto::new(codec, bytes, None, false);
                let fast = match codec {
                    Codec::Json => rialto.json_message(&message),
                    Codec::MessagePack => rialto.msgpack_message(&message),
                };
                let expected = Delivery { content: &content, topic: b"0000ab", offset: Some(offset) };
                assert_eq!(fast, Some(expected), "{codec:?} {offset}");
                // One that is longer or shorter than expected is seen all the same.
                let other = Rialto::new(codec, bytes + 1, None, false);
                assert_eq!(said(&other, &message), [format!("0000ab Some({offset}) {text}")]);
            }
        }
    }

    #[test]
    fn other_frames_are_understood() {
        let gap = Gap { topic: topic_name(5).into(), from: 3, to: 9, reason: GapReason::Expired };
        for codec in Codec::ALL {
            let rialto = Rialto::new(codec, 126, None, false);
            let heard = said(&rialto, &encode(codec, &Frame::Gap(&gap)));
            assert_eq!(heard, [format!("{:?}", Incoming::Gap { topic: 5, from: 3, to: 9 })]);
        }
        let rialto = Rialto::new(Codec::Json, 126, None, false);
        for (frame, expected) in [
            (r#"{"type":"welcome","session":"x"}"#, &[][..]),
            (
                r#"{"type":"ok","id":1,"topic":"bench.000002","position":{"epoch":"e","offset":4}}"#,
                &["Position { topic: 2, offset: 4 }", "Confirmed"],
            ),
            (
                r#"{"type":"ok","id":1,"topics":[{"topic":"bench.000002","position":{"offset":4}},
                {"topic":"bench.000003","error":{"code":"too_many","message":"no"}}]}"#,
                &["Position { topic: 2, offset: 4 }", "Refused(\"too_many: no\")", "Confirmed"],
            ),
            (r#"{"type":"error","code":"forbidden","message":"no"}"#, &["Refused(\"forbidden: no\")"]),
            (r#"{"type":"closing","code":4000,"message":"slow"}"#, &["Refused(\"4000: slow\")"]),
        ] {
            assert_eq!(said(&rialto, frame.as_bytes()), expected);
        }
        assert!(rialto.read(b"{", &mut |_| {}).is_err());
    }

    #[test]
    fn the_broker_accepts_the_requests() {
        for codec in Codec::ALL {
            let content = write(Stamp { topic: 1, sequence: 2, time_ns: 3 }, 126);
            let rialto = Rialto::new(codec, content.len(), Some("\"queue\""), true);
            let mut bytes = Vec::new();
            rialto.publish(1, &content, &mut bytes);
            rialto.subscribe(0..1, &mut bytes);
            rialto.subscribe(0..101, &mut bytes);
            let mut heard = Vec::new();
            let mut rest = &bytes[..];
            while let Some(frame) = frame::split(rest).expect("frames") {
                heard.push(Request::decode(codec, frame.payload).expect("a request").operation);
                rest = &rest[frame.bytes..];
            }
            assert!(matches!(&heard[0], Operation::Publish(publish)
                if publish.topic == "bench.000001" && publish.key.as_ref().is_some_and(|key| key.len() == 64)));
            assert!(heard[1..].iter().all(|request| matches!(request, Operation::Subscribe(_))), "{heard:?}");
            assert_eq!((heard.len(), Rialto::confirmations(&(0..101))), (4, 2));
        }
    }
}
