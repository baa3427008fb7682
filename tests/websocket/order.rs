//! One order per topic: every subscriber of either codec sees the same messages at the same positions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rialto::{Codec, Payload};
use serde_json::{Value, json};

use crate::support::{Client, Running, plain};

const EACH: u64 = 500;

/// Values that are easily damaged in the conversion from one codec to the other.
fn values() -> Vec<Value> {
    vec![
        Value::Null,
        json!([true, false, {}, [], ""]),
        json!({"a": [{"b": {"c": [1, [2, [3, {"d": null}]]]}}], "": {"": ""}}),
        json!([i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX, u64::MAX, 1_u64 << 53, (1_u64 << 53) + 1]),
        json!([-128, -129, -32_768, -32_769, 127, 128, 255, 256, 65_535, 65_536, 4_294_967_295_u64, 4_294_967_296_u64]),
        json!([0.5, -0.1, 1.0, 1e300, -1e-300, f64::MIN_POSITIVE, f64::MAX, 5e-324]),
        json!("\u{0}\u{7f}\"\\/ é€😀 \u{2028}\u{200d}\u{feff} \u{10ffff}"),
        json!({"日本": "語", "emoji 👩‍👩‍👧‍👦": ["\n\r\t"], "ключ": -7}),
        json!("x".repeat(300)),
        (0..300).map(Value::from).collect(),
    ]
}

/// The n-th request of a publisher. Every eleventh one has opaque bytes.
fn request(codec: Codec, n: u64) -> Value {
    let values = values();
    let kind = usize::try_from(n).unwrap() % (values.len() + 1);
    if kind < values.len() {
        let data = json!({"by": codec.name(), "n": n, "value": values[kind]});
        return json!({"type": "publish", "topic": "t", "data": data});
    }
    let text = BASE64.encode([format!("{} {n} ", codec.name()).as_bytes(), &[0, 0xff, 0xc1, 0x80]].concat());
    let bytes = if codec == Codec::Json { json!(text) } else { json!({"$bin": text}) };
    json!({"type": "publish", "topic": "t", "bytes": bytes})
}

/// The payload of a request in the other codec, as a JSON session receives it.
fn arrived(request: &Value) -> Value {
    plain(request.get("data").or(request.get("bytes")).unwrap())
}

/// Publishes everything without waiting for acks in between. Returns the offsets in the acks.
async fn publish_all(mut client: Client) -> Vec<u64> {
    let mut ids = Vec::new();
    for n in 0..EACH {
        ids.push(client.ask(request(client.codec, n)).await);
    }
    let mut offsets = Vec::new();
    for id in ids {
        let reply = client.reply(id).await;
        offsets.push(reply["position"]["offset"].as_u64().unwrap_or_else(|| panic!("{reply}")));
    }
    offsets
}

#[tokio::test]
async fn json_and_msgpack_sessions_see_the_same_thousand_messages_each_encoded_once_per_codec() {
    let running = Running::start();
    assert_eq!(running.broker.shards(), 2);
    let mut readers = Vec::new();
    // Sessions are assigned to the shards in turn: in this order both shards have both codecs.
    for codec in [Codec::Json, Codec::Json, Codec::MessagePack, Codec::MessagePack].repeat(3) {
        let mut reader = running.client(codec).await;
        reader.subscribe("t").await;
        readers.push(reader);
    }
    let writers = (running.client(Codec::Json).await, running.client(Codec::MessagePack).await);
    let (from_json, from_msgpack) = tokio::join!(publish_all(writers.0), publish_all(writers.1));

    let mut expected = vec![Value::Null; 2 * EACH as usize];
    for (codec, offsets) in [(Codec::Json, &from_json), (Codec::MessagePack, &from_msgpack)] {
        assert!(offsets.is_sorted(), "one publisher's messages keep their order");
        for (n, offset) in offsets.iter().enumerate() {
            expected[*offset as usize - 1] = arrived(&request(codec, n as u64));
        }
    }
    assert!(expected.iter().all(|value| !value.is_null()), "the acks name each offset from 1 to 1000 once");

    let mut times = Vec::new();
    for (place, reader) in readers.iter_mut().enumerate() {
        let mut own_times = Vec::new();
        for (index, expected) in expected.iter().enumerate() {
            let message = reader.message().await;
            assert_eq!(message["offset"], index as u64 + 1);
            let payload = match message.get("bytes") {
                Some(bytes) => {
                    assert_eq!(bytes.is_string(), reader.codec == Codec::Json, "base64 in JSON, bin in MessagePack");
                    bytes
                }
                None => &message["data"],
            };
            assert_eq!(plain(payload), *expected, "reader {place}, offset {}", index + 1);
            own_times.push(message["time"].clone());
        }
        assert!(place == 0 || times == own_times, "one message has one time for all");
        times = own_times;
        reader.ping().await;
        assert_eq!(reader.take_all(), Vec::<Value>::new(), "a thousand, not one more");
    }
    let counted = running.broker.metrics();
    assert_eq!((counted.frames_encoded_json_total, counted.frames_encoded_msgpack_total), (2 * EACH, 2 * EACH));
    assert_eq!((counted.messages_published_total, counted.messages_delivered_total), (2 * EACH, 12 * 2 * EACH));
}

#[tokio::test]
async fn a_codec_without_subscribers_costs_nothing() {
    let running = Running::start();
    let mut reader = running.client(Codec::Json).await;
    reader.subscribe("t").await;
    let mut writer = running.client(Codec::MessagePack).await;
    writer.publish("t", json!(1)).await;
    writer.publish("nobody", json!(1)).await;
    reader.message().await;
    let counted = running.broker.metrics();
    assert_eq!((counted.frames_encoded_json_total, counted.frames_encoded_msgpack_total), (1, 0));
}

/// Publishes to `t` as fast as possible, on another thread, until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Flood {
    fn start(running: &Running) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (broker, stopped) = (running.broker.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                while !stopped.load(Relaxed) {
                    // In bursts, with a pause in which a client that parses every message catches up.
                    for _ in 0..20 {
                        broker.publish("t", Payload::json(&1).unwrap()).await.unwrap();
                    }
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            });
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let ended = self.thread.take().map_or(Ok(()), std::thread::JoinHandle::join);
        if !std::thread::panicking() {
            ended.expect("publishing goes well");
        }
    }
}

/// A large outbox: the clients of these tests read only as many messages as they need.
fn roomy() -> Running {
    Running::with(|config| {
        config.limits.outbox_bytes = 1 << 30;
        config.limits.outboxes_bytes = 1 << 30;
    })
}

#[tokio::test]
async fn messages_begin_exactly_after_the_position_in_the_subscribe_reply() {
    let running = roomy();
    let flood = Flood::start(&running);
    for codec in [Codec::Json, Codec::MessagePack].repeat(40) {
        let mut client = running.client(codec).await;
        let id = client.ask(json!({"type": "subscribe", "topic": "t"})).await;
        let start = client.reply(id).await["position"]["offset"].as_u64().unwrap();
        for offset in start + 1..=start + 20 {
            assert_eq!(client.message().await["offset"], offset, "subscribed at {start}");
        }
    }
    drop(flood);
}

#[tokio::test]
async fn a_new_subscription_shows_nothing_from_before_its_position() {
    let running = roomy();
    let flood = Flood::start(&running);
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        client.subscribe("t").await;
        for round in 0..200 {
            client.ask(json!({"type": "unsubscribe", "topic": "t"})).await;
            let id = client.ask(json!({"type": "subscribe", "topic": "t"})).await;
            let reply = client.reply(id).await;
            client.take_all();
            let start = reply["position"]["offset"].as_u64().unwrap();
            let first = client.message().await["offset"].as_u64().unwrap();
            assert_eq!(first, start + 1, "round {round}: {} after {start}", codec.name());
        }
    }
    drop(flood);
}
