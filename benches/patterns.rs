//! The cost of a publish with 100,000 topics and 10,000 subscriptions by pattern that select few or none of them, compared with
//! a single topic. `cargo bench --bench patterns`. Exit code 1 if a client's publishes cost more than 1.5 times as much, or a
//! message to a subscriber by pattern that may see half of the topics more than 1.1 times as much as to one that may see all.
//!
//! Costs are processor time: a client's publish is read, decoded, given its position and acknowledged by its shard; a call of
//! `Broker::publish` is the bare rest of that, on the caller's thread. What a shard then does for subscribers runs beside it;
//! messages to one topic become one write for each subscriber, which those to many topics cannot: see the last column.

#![allow(missing_docs, reason = "a bench is a program, not a library")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench fails by panicking and prints its figures")]

#[path = "patterns/permitted.rs"]
mod permitted;

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rialto::config::Config;
use rialto::{Broker, Codec, ConnectionInfo, Identity, Payload};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOPICS: usize = 100_000;
const PATTERNS: usize = 10_000;
/// The patterns that select a topic, each another one.
const SELECTING: usize = 100;
const SUBSCRIBERS: usize = 10;
const PUBLISHES: usize = 200_000;
const ROUNDS: usize = 9;
const RATIO_MAX: f64 = 1.5;

/// A client without a network: it sends its requests and reads everything.
struct Client {
    requests: Arc<Vec<u8>>,
    sent: usize,
}

impl Client {
    fn subscribed(names: &[String]) -> Self {
        let mut requests = Vec::new();
        for (id, names) in (1..).zip(names.chunks(100)) {
            let topics: Vec<Value> = names.iter().map(|name| json!({"topic": name})).collect();
            put(&mut requests, &json!({"type": "subscribe", "id": id, "topics": topics}));
        }
        Self { requests: Arc::new(requests), sent: 0 }
    }
}

/// Hands a client over to the broker.
fn serve(broker: &Broker, client: Client) {
    broker.serve_websocket(client, Identity::anonymous(), ConnectionInfo::new(Codec::Json));
}

/// Adds a request as one frame, masked with zeros, which RFC 6455 allows and which changes nothing.
fn put(requests: &mut Vec<u8>, request: &Value) {
    let request = request.to_string();
    match u8::try_from(request.len()) {
        Ok(short @ ..126) => requests.extend([0x81, 0x80 | short]),
        _ => {
            requests.extend([0x81, 0x80 | 126]);
            requests.extend(u16::try_from(request.len()).unwrap().to_be_bytes());
        }
    }
    requests.extend([0; 4]);
    requests.extend(request.as_bytes());
}

impl AsyncRead for Client {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = (self.requests.len() - self.sent).min(buffer.remaining());
        if count == 0 {
            return Poll::Pending;
        }
        buffer.put_slice(&self.requests[self.sent..self.sent + count]);
        self.sent += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
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

/// The publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Publisher {
    /// A client, by a session.
    Client,
    /// The program that embeds the broker.
    Call,
}

/// A broker that is measured, and what is published in a round.
struct Row {
    name: String,
    broker: Broker,
    publisher: Publisher,
    topics: Vec<String>,
    requests: Arc<Vec<u8>>,
    subscribers: usize,
    /// Microseconds of the publisher's thread per publish, round by round.
    costs: Vec<f64>,
    /// Microseconds per publish until all was delivered.
    times: Vec<f64>,
}

impl Row {
    fn new(runtime: &Runtime, publisher: Publisher, topics: usize, patterns: usize, subscribers: usize) -> Self {
        let mut config = Config::default();
        config.server.shards = 1;
        config.limits.topics = 2 * TOPICS;
        config.limits.subscriptions = 1_000_000;
        // No back-pressure on the publisher: its own cost is measured.
        config.limits.inbox_messages = 1 << 20;
        config.limits.message_bytes = 1 << 20;
        config.limits.outbox_bytes = 64 << 20;
        config.limits.ping_ms = 3_600_000;
        config.limits.topic_idle_ms = 3_600_000;
        config.topics[0].history = None;
        let broker = Broker::builder().config(config).start().unwrap();
        let names: Vec<String> = (0..topics).map(topic).collect();
        let selecting = (0..SELECTING).map(|n| format!("*.device{}.*", (n + 1) * (TOPICS / SELECTING) - 1));
        let others = (0..).map(|n| format!("site{}.*.room{n}.>", n % 1_000));
        let patterns: Vec<String> = selecting.chain(others).take(patterns).collect();
        // One session has 1,000 of the patterns.
        patterns.chunks(1_000).for_each(|patterns| serve(&broker, Client::subscribed(patterns)));
        (0..subscribers).for_each(|_| serve(&broker, Client::subscribed(&names)));
        let expected = (patterns.len() + subscribers * topics) as u64;
        let started = Instant::now();
        while broker.metrics().subscriptions < expected {
            assert!(started.elapsed() < Duration::from_secs(60), "{:?}", broker.metrics());
            std::thread::sleep(Duration::from_millis(1));
        }
        // In the order of publishing, so that the bench itself has no cache misses.
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % topics
        };
        let published: Vec<String> = (0..PUBLISHES).map(|_| topic(random())).collect();
        let name = format!("{publisher:<8?} {topics:>7} {:>8} {subscribers:>11}", patterns.len());
        let (topics, requests) = (names, Arc::default());
        let (costs, times) = (Vec::new(), Vec::new());
        let mut row = Self { name, broker, publisher: Publisher::Call, topics, requests, subscribers, costs, times };
        // Loads all topics, and their cached patterns.
        row.round(runtime);
        (row.costs, row.times) = (Vec::new(), Vec::new());
        if publisher == Publisher::Client {
            let mut requests = Vec::new();
            for (id, topic) in (1..).zip(&published) {
                put(&mut requests, &json!({"type": "publish", "id": id, "topic": topic, "data": text()}));
            }
            row.requests = Arc::new(requests);
        }
        (row.publisher, row.topics) = (publisher, published);
        row
    }

    /// Publishes once to each name and waits until everything was handled.
    fn round(&mut self, runtime: &Runtime) {
        let before = self.broker.metrics();
        let (started, used) = (Instant::now(), self.used());
        match self.publisher {
            Publisher::Client => self.publish_by_session(before.messages_published_total),
            Publisher::Call => runtime.block_on(self.publish_by_call()),
        }
        let each = |time: Duration| time.as_secs_f64() * 1e6 / self.topics.len() as f64;
        self.costs.push(each(self.used() - used));
        let delivered = before.messages_delivered_total + (self.topics.len() * self.subscribers) as u64;
        while self.broker.metrics().messages_delivered_total < delivered {
            std::hint::spin_loop();
        }
        self.times.push(each(started.elapsed()));
    }

    async fn publish_by_call(&self) {
        let payload = Payload::json(&text()).unwrap();
        for topic in &self.topics {
            self.broker.publish(topic, payload.clone()).await.unwrap();
        }
    }

    fn publish_by_session(&self, before: u64) {
        let requests = Arc::clone(&self.requests);
        serve(&self.broker, Client { requests, sent: 0 });
        while self.broker.metrics().messages_published_total < before + self.topics.len() as u64 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Processor time of the threads that publish, so far.
    fn used(&self) -> Duration {
        match self.publisher {
            Publisher::Client => shards_time(),
            Publisher::Call => thread_time("/proc/thread-self".as_ref()),
        }
    }
}

fn text() -> String {
    "x".repeat(126)
}

/// Processor time of all shards so far.
fn shards_time() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let shards = threads.filter(|thread| {
        std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.starts_with("rialto-shard"))
    });
    shards.map(|thread| thread_time(&thread)).sum()
}

/// Processor time of a thread so far.
fn thread_time(thread: &Path) -> Duration {
    let text = std::fs::read_to_string(thread.join("schedstat")).unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

fn topic(n: usize) -> String {
    format!("site{}.device{n}.temperature", n % 1_000)
}

/// The least, the median and the largest.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

/// Measures four brokers in turn and prints a row for each. Returns the ratio of the last to the first.
fn compare(publisher: Publisher, subscribers: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let sizes = [(1, 0), (1, PATTERNS), (TOPICS, 0), (TOPICS, PATTERNS)];
    let mut rows = sizes.map(|(topics, patterns)| Row::new(&runtime, publisher, topics, patterns, subscribers));
    for _ in 0..ROUNDS {
        rows.iter_mut().for_each(|row| row.round(&runtime));
    }
    let mut ratio = 0.0;
    for row in &rows {
        let [least, median, most] = spread(row.costs.iter().copied());
        let against_first = |own: &[f64], first: &[f64]| spread(own.iter().zip(first).map(|(own, first)| own / first));
        let [least_ratio, median_ratio, most_ratio] = against_first(&row.costs, &rows[0].costs);
        let ratios = format!("{median_ratio:>6.2} ({least_ratio:.2}-{most_ratio:.2})");
        let [_, delivered, _] = spread(row.times.iter().copied());
        println!("{} {median:>7.3} ({least:.3}-{most:.3}) {ratios} {delivered:>10.3}", row.name);
        ratio = median_ratio;
    }
    rows.iter().for_each(|row| _ = runtime.block_on(row.broker.shutdown(Duration::ZERO)));
    ratio
}

fn main() -> ExitCode {
    println!("{PUBLISHES} publishes to random topics, {ROUNDS} rounds; microseconds per publish, medians (least-most)");
    println!("by        topics patterns subscribers             publisher              ratio  delivered");
    let ratio = compare(Publisher::Client, 0);
    compare(Publisher::Call, 0);
    compare(Publisher::Call, SUBSCRIBERS);
    let permitted = permitted::compare();
    if ratio > RATIO_MAX {
        println!("a client's publish costs more than {RATIO_MAX} times as much as one to the only topic");
    }
    if permitted > permitted::RATIO_MAX {
        println!("a message to who may see half costs more than {} times as much", permitted::RATIO_MAX);
    }
    if ratio <= RATIO_MAX && permitted <= permitted::RATIO_MAX { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
