//! The cost of a delivery without the operating system: sessions over in-memory streams that accept everything, or nothing.
//! `cargo bench --bench outbox`. Compare ratios within one run.

#![allow(missing_docs, reason = "a bench is a program, not a library")]
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rialto::config::Config;
use rialto::{Broker, Codec, ConnectionInfo, Identity, Payload};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const SESSIONS: u64 = 1_000;
const MESSAGES: u64 = 256;

criterion_group!(outbox, keeping_up, full);
criterion_main!(outbox);

/// A client without a network: it sends one request, and reads until it has received enough.
struct Client {
    request: Vec<u8>,
    room: usize,
}

impl Client {
    /// Subscribes to topic `t`.
    fn new(delivery: &Value, room: usize) -> Self {
        let request = json!({"type": "subscribe", "id": 1, "topic": "t", "delivery": delivery}).to_string();
        let length = u8::try_from(request.len()).unwrap();
        assert!(length < 126, "a short frame");
        // Masked with zeros, which RFC 6455 allows and which changes nothing.
        let head = [0x81, 0x80 | length, 0, 0, 0, 0];
        Self { request: [&head[..], request.as_bytes()].concat(), room }
    }
}

impl AsyncRead for Client {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.request.is_empty() {
            return Poll::Pending;
        }
        let count = self.request.len().min(buffer.remaining());
        buffer.put_slice(&self.request[..count]);
        self.request.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        if taken == 0 { Poll::Pending } else { Poll::Ready(Ok(taken)) }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let taken = slices.iter().map(|slice| slice.len()).sum::<usize>().min(self.room);
        self.room -= taken;
        if taken == 0 { Poll::Pending } else { Poll::Ready(Ok(taken)) }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A broker of one shard whose sessions are all subscribed.
fn broker(delivery: &Value, room: usize) -> Broker {
    let mut config = Config::default();
    config.server.shards = 1;
    config.limits.ping_ms = 3_600_000;
    config.limits.write_ms = 600_000;
    let broker = Broker::builder().config(config).start().unwrap();
    for _ in 0..SESSIONS {
        broker.serve_websocket(Client::new(delivery, room), Identity::anonymous(), ConnectionInfo::new(Codec::Json));
    }
    // A session that accepts everything shows when the others were handled.
    let all = Client::new(&json!("queue"), usize::MAX);
    broker.serve_websocket(all, Identity::anonymous(), ConnectionInfo::new(Codec::Json));
    while broker.metrics().subscriptions < SESSIONS + 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
    broker
}

/// Publishes and waits until the shard has handled everything. `takers` sessions receive everything.
fn publish(runtime: &tokio::runtime::Runtime, broker: &Broker, payload: &Payload, takers: u64) {
    let target = broker.metrics().messages_delivered_total + takers * MESSAGES;
    runtime.block_on(async {
        for _ in 0..MESSAGES {
            broker.publish("t", payload.clone()).await.unwrap();
        }
    });
    let started = Instant::now();
    while broker.metrics().messages_delivered_total < target {
        assert!(started.elapsed() < Duration::from_secs(10), "the messages are gone");
        std::hint::spin_loop();
    }
}

fn measure(criterion: &mut Criterion, name: &str, room: usize, policies: &[Value]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let payload = Payload::json(&json!({"symbol": "ACME", "price": 101.25, "text": "x".repeat(90)})).unwrap();
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(SESSIONS * MESSAGES)).sample_size(20);
    for delivery in policies {
        let broker = broker(delivery, room);
        let takers = if room == usize::MAX { SESSIONS + 1 } else { 1 };
        // The first messages fill the others.
        publish(&runtime, &broker, &payload, 1);
        std::thread::sleep(Duration::from_millis(200));
        let policy = delivery["policy"].as_str().or(delivery.as_str()).unwrap();
        group.bench_function(BenchmarkId::from_parameter(policy), |bencher| {
            bencher.iter_custom(|times| {
                let started = Instant::now();
                (0..times).for_each(|_| publish(&runtime, &broker, &payload, takers));
                started.elapsed()
            });
        });
        runtime.block_on(broker.shutdown(Duration::ZERO));
    }
}

fn keeping_up(criterion: &mut Criterion) {
    let by = json!({"policy": "latest_by", "field": "/symbol"});
    measure(criterion, "deliver_to_sessions_that_keep_up", usize::MAX, &[json!("queue"), json!("latest"), by]);
}

fn full(criterion: &mut Criterion) {
    let by = json!({"policy": "latest_by", "field": "/symbol"});
    // Each accepts its welcome and its reply, and a part of the first message.
    measure(criterion, "deliver_to_sessions_that_are_full", 600, &[json!("drop_oldest"), json!("latest"), by]);
}
