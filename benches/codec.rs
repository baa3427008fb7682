//! The cost of one request and one message in each codec: `cargo bench --bench codec`. Compare ratios within one run.

#![allow(missing_docs, reason = "a bench is a program, not a library")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rialto_protocol::{Codec, Encoding, Frame, Payload, Request, value};

const PAYLOAD_BYTES: [usize; 3] = [128, 1_024, 16_384];

criterion_group!(codec, decode, encode);
criterion_main!(codec);

/// A JSON object of about so many bytes: a few numbers and one text.
fn json(bytes: usize) -> Vec<u8> {
    let text = "x".repeat(bytes.saturating_sub(60));
    format!(r#"{{"sequence":123456,"time":1795367328796,"price":101.25,"text":"{text}"}}"#).into_bytes()
}

/// A JSON array of about so many bytes: many small values of all types.
fn small_values(bytes: usize) -> Vec<u8> {
    let item = r#"{"id":"ACME","at":[1,-2,3.25],"ok":true,"note":"a \"quote\"","none":null}"#;
    format!("[{}]", vec![item; bytes / item.len()].join(",")).into_bytes()
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode_publish");
    let payloads = PAYLOAD_BYTES.map(|bytes| (bytes.to_string(), json(bytes)));
    for (name, payload) in payloads.into_iter().chain([("16384_small".to_owned(), small_values(16_384))]) {
        let head = br#"{"type":"publish","id":7,"topic":"market.acme","data":"#;
        let text = [&head[..], &payload, b"}"].concat();
        let mut bytes = Vec::new();
        value::json::read(&text, &mut value::msgpack::Writer::new(&mut bytes)).expect("a JSON object");
        for (codec, frame) in [(Codec::Json, text), (Codec::MessagePack, bytes)] {
            group.bench_with_input(BenchmarkId::new(codec.name(), &name), &frame, |bencher, frame| {
                bencher.iter(|| Request::decode(codec, black_box(frame)).is_ok());
            });
        }
    }
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode_message");
    for (name, codec) in [("same_codec", Codec::Json), ("other_codec", Codec::MessagePack)] {
        for bytes in PAYLOAD_BYTES {
            let payload = Payload::new(Encoding::Json, json(bytes)).expect("a JSON object");
            let (topic, time) = ("market.acme", 1_795_367_328_796);
            let frame = Frame::Message { topic, offset: 7, time, from: None, payload: &payload };
            let mut out = Vec::new();
            group.bench_function(BenchmarkId::new(name, bytes), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    black_box(&frame).encode(codec, &mut out);
                    out.len()
                });
            });
        }
    }
}
