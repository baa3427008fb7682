//! What one request and one message cost in each codec: `cargo bench --bench codec`. Compare ratios within one run.

#![allow(missing_docs, reason = "a bench is a program, not a library")]

use divan::{Bencher, black_box};
use rialto_protocol::{Codec, Encoding, Frame, Payload, Request};

const PAYLOAD_BYTES: [usize; 3] = [128, 1_024, 16_384];

fn main() {
    divan::main();
}

/// A JSON object of about so many bytes: a few numbers and one text.
fn json(bytes: usize) -> Vec<u8> {
    let text = "x".repeat(bytes.saturating_sub(60));
    format!(r#"{{"sequence":123456,"time":1795367328796,"price":101.25,"text":"{text}"}}"#).into_bytes()
}

fn publish(payload: &[u8]) -> Vec<u8> {
    let head = br#"{"type":"publish","id":7,"topic":"market.acme","data":"#;
    [&head[..], payload, b"}"].concat()
}

#[divan::bench(args = PAYLOAD_BYTES)]
fn decode_publish_json(bencher: Bencher<'_, '_>, bytes: usize) {
    let frame = publish(&json(bytes));
    bencher.bench(|| Request::decode(Codec::Json, black_box(&frame)).is_ok());
}

#[divan::bench(args = PAYLOAD_BYTES)]
fn encode_message_same_codec(bencher: Bencher<'_, '_>, bytes: usize) {
    encode(bencher, bytes, Codec::Json);
}

#[divan::bench(args = PAYLOAD_BYTES)]
fn encode_message_other_codec(bencher: Bencher<'_, '_>, bytes: usize) {
    encode(bencher, bytes, Codec::MessagePack);
}

fn encode(bencher: Bencher<'_, '_>, bytes: usize, codec: Codec) {
    let payload = Payload::new(Encoding::Json, json(bytes)).expect("a JSON object");
    let frame =
        Frame::Message { topic: "market.acme", offset: 7, time: 1_795_367_328_796, from: None, payload: &payload };
    let mut out = Vec::new();
    bencher.bench_local(|| {
        out.clear();
        black_box(&frame).encode(codec, &mut out);
        out.len()
    });
}
