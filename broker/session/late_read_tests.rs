//! Sessions over a store whose reads complete late, fail or hang, from a seed: what of the past each of them gets.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rialto_protocol::{Payload, Position};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, DuplexStream};

use super::*;
use crate::config::{Config, History as Keep, TopicRule};
use crate::hub::Link;
use crate::message::Wire;
use crate::store::Store;
use crate::store::model::ModelLog;
use crate::store::model_reads::ModelReads;
use crate::wire::websocket::websocket_frame_bytes;

const PATIENCE: Duration = Duration::from_secs(20);

/// A broker over a model log.
struct World {
    broker: Broker,
    log: Arc<ModelLog>,
}

impl World {
    fn new(seed: u64, commit_failures: u64, reads: ModelReads) -> Self {
        let log = Arc::new(ModelLog::new(seed, commit_failures).with_reads(reads));
        let mut config = Config::default();
        let rule = TopicRule { pattern: Pattern::parse(">").expect("a pattern"), ..TopicRule::default() };
        let history = Keep { messages: 100_000, bytes: 1 << 24, ..Keep::default() };
        config.topics = vec![TopicRule { history: Some(history), presence: true, ..rule }];
        config.server.shards = 1;
        let builder = Broker::builder().config(config).store(Arc::clone(&log) as Arc<dyn Store>);
        Self { broker: builder.start().expect("the broker starts"), log }
    }

    /// Does something while the log's thread completes commits, and reads too where it is said so.
    fn while_the_log_runs<T>(&self, with_reads: bool, work: impl FnOnce() -> T) -> T {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Acquire) {
                    let did_one = self.log.turn() | (with_reads && self.log.read_turn());
                    if !did_one {
                        std::thread::sleep(Duration::from_micros(50));
                    }
                }
            });
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            is_over.store(true, Release);
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn publish(&self, topic: &str, numbers: std::ops::RangeInclusive<u64>) {
        self.while_the_log_runs(false, || {
            for number in numbers {
                let payload = Payload::json(&number).expect("a number");
                futures_executor::block_on(self.broker.publish(topic, payload)).expect("it is published");
            }
        });
    }

    fn reads(&self) -> &ModelReads {
        self.log.reads()
    }

    fn subscribers(&self, topic: &str) -> u64 {
        self.broker.topic(topic).map_or(0, |status| status.subscribers)
    }

    fn position(&self, topic: &str) -> Position {
        self.broker.topic(topic).expect("in memory").position
    }

    /// Waits until so many reads are under way.
    fn await_reads(&self, reads: usize) {
        await_that(|| self.reads().waiting() == reads, "a read");
    }

    /// Completes a read that is under way.
    fn complete_read(&self) {
        assert!(self.log.read_turn(), "a read is under way");
    }

    fn stop(self) {
        self.broker.core.hub.stop();
    }
}

fn await_that(mut is_true: impl FnMut() -> bool, what: &str) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A session on the broker's shard, and the other end of its connection.
struct Client {
    broker: Broker,
    session: Arc<Mutex<Session>>,
    key: SessionKey,
    far: DuplexStream,
    runtime: tokio::runtime::Runtime,
    buffer: Vec<u8>,
}

impl Client {
    fn new(world: &World) -> Self {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (sender, receiver) = channel();
        world.broker.core.hub.run_on(0, move |shard| {
            let link = Rc::new(Link::other(Box::new(near)));
            let (key, signals) = shard.attach(link, Wire::Frames(Codec::Json));
            let shard = Rc::clone(shard);
            tokio::task::spawn_local(async move { shard.keep_writing(key, &signals).await });
            sender.send(key).expect("the test waits");
        });
        let key = receiver.recv().expect("the shard runs");
        let session = Session::new(world.broker.clone(), key, Codec::Json, &SessionPermit::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (session, broker) = (Arc::new(Mutex::new(session)), world.broker.clone());
        Self { broker, session, key, far, runtime, buffer: Vec::new() }
    }

    /// Does something on the shard's thread.
    fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Session) -> T + Send + 'static) -> T {
        let (sender, receiver) = channel();
        let session = Arc::clone(&self.session);
        self.broker.core.hub.run_on(0, move |_| drop(sender.send(work(&mut session.lock().expect("whole")))));
        receiver.recv().expect("the shard runs")
    }

    /// Sends a request, if the session is read. Returns whether it is.
    fn request(&self, request: &Value) -> bool {
        let frame = request.to_string();
        self.run(move |session| {
            let is_ready = session.is_ready();
            if is_ready {
                session.handle(frame.as_bytes()).expect("a request");
                while session.go_on() {}
            }
            is_ready
        })
    }

    fn subscribe(&self, id: u64, topic: &str, since: &Position) -> bool {
        let since = json!({"epoch": &*since.epoch, "offset": since.offset});
        self.request(&json!({"type": "subscribe", "id": id, "topic": topic, "since": since}))
    }

    fn unsubscribe(&self, id: u64, topic: &str) -> bool {
        self.request(&json!({"type": "unsubscribe", "id": id, "topic": topic}))
    }

    /// The client has gone.
    fn end(&self) {
        let (sender, receiver) = channel();
        let (session, key) = (Arc::clone(&self.session), self.key);
        self.broker.core.hub.run_on(0, move |shard| {
            while session.lock().expect("whole").end_some() {}
            shard.detach(key);
            sender.send(()).expect("the test waits");
        });
        receiver.recv().expect("the shard runs");
    }

    /// The next frame, if one comes in time.
    fn frame_within(&mut self, time: Duration) -> Option<Value> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(frame);
            }
            let read = self.far.read_buf(&mut self.buffer);
            let read = self.runtime.block_on(async { tokio::time::timeout(time, read).await });
            if read.ok()?.expect("the connection is there") == 0 {
                return None;
            }
        }
    }

    fn take_frame(&mut self) -> Option<Value> {
        let head = match *self.buffer.get(1)? & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        if self.buffer.len() < head || self.buffer.len() < websocket_frame_bytes(&self.buffer) {
            return None;
        }
        let frame: Vec<u8> = self.buffer.drain(..websocket_frame_bytes(&self.buffer)).collect();
        Some(serde_json::from_slice(&frame[head..]).expect("a frame"))
    }

    fn frame(&mut self) -> Value {
        self.frame_within(PATIENCE).expect("a frame")
    }

    fn expect(&mut self, kind: &str) -> Value {
        let frame = self.frame();
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// The next frames are these messages, in this order.
    fn expect_messages(&mut self, offsets: std::ops::RangeInclusive<u64>) {
        for offset in offsets {
            let frame = self.expect("message");
            assert_eq!(frame["offset"], offset, "{frame}");
        }
    }

    fn expect_nothing(&mut self) {
        let frame = self.frame_within(Duration::from_millis(20));
        assert!(frame.is_none(), "{frame:?}");
    }
}

fn start_of(world: &World, topic: &str) -> Position {
    Position { offset: 0, ..world.position(topic) }
}

#[test]
fn what_is_published_while_the_last_page_is_read_follows_it_once() {
    for published in [0, 1, 299, 300, 301, 700] {
        let world = World::new(1, 0, ModelReads::new(1, 0, 0));
        world.publish("t", 1..=5);
        let mut client = Client::new(&world);
        world.reads().set(8, 0);
        assert!(client.subscribe(1, "t", &start_of(&world, "t")));
        world.complete_read();
        assert_eq!(client.expect("ok")["recovered"], true);
        world.await_reads(1);
        if published > 0 {
            world.publish("t", 6..=5 + published);
        }
        client.expect_nothing();
        world.while_the_log_runs(true, || client.expect_messages(1..=5 + published));
        world.publish("t", 1..=1);
        world.while_the_log_runs(true, || client.expect_messages(6 + published..=6 + published));
        client.expect_nothing();
        world.stop();
    }
}

#[test]
fn a_subscribe_whose_read_fails_is_unavailable_and_a_later_one_succeeds() {
    let world = World::new(1, 0, ModelReads::new(1, 0, 0));
    world.publish("t", 1..=5);
    let (mut client, start) = (Client::new(&world), start_of(&world, "t"));
    for late in [0, 8] {
        world.reads().set(late, 8);
        assert!(client.subscribe(1, "t", &start));
        if late > 0 {
            world.complete_read();
        }
        let error = client.expect("error");
        assert_eq!((&error["code"], error["retry_after_ms"].is_u64()), (&json!("unavailable"), true));
        assert_eq!(world.subscribers("t"), 0);
        assert!(world.broker.presence("t").expect("who is present").members.is_some_and(|all| all.is_empty()));
    }
    world.reads().set(0, 0);
    assert!(client.subscribe(2, "t", &start));
    assert_eq!(client.expect("ok")["recovered"], true);
    client.expect_messages(1..=5);
    world.stop();
}

#[test]
fn a_subscription_whose_page_cannot_be_read_ends_and_no_gap_is_invented() {
    let world = World::new(1, 0, ModelReads::new(1, 0, 0));
    world.publish("t", 1..=400);
    let (mut client, start) = (Client::new(&world), start_of(&world, "t"));
    world.reads().set(8, 0);
    assert!(client.subscribe(1, "t", &start));
    world.complete_read();
    assert_eq!(client.expect("ok")["more"], true);
    world.await_reads(1);
    world.complete_read();
    client.expect_messages(1..=300);
    world.await_reads(1);
    world.reads().set(8, 8);
    world.complete_read();
    let ended = client.expect("unsubscribed");
    assert_eq!((&ended["code"], ended["retry_after_ms"].is_u64()), (&json!("unavailable"), true), "{ended}");
    await_that(|| world.subscribers("t") == 0, "the end of the subscription");
    world.publish("t", 401..=401);
    client.expect_nothing();
    world.reads().set(0, 0);
    assert!(client.subscribe(2, "t", &Position { offset: 300, ..start }));
    assert_eq!(client.expect("ok")["recovered"], true);
    client.expect_messages(301..=401);
    client.end();
    await_that(|| world.subscribers("t") == 0, "the end of the session");
    assert!(world.broker.presence("t").is_ok_and(|present| present.count == 0));
    world.stop();
}

#[test]
fn a_history_request_is_answered_when_its_read_completes_or_unavailable() {
    let world = World::new(1, 0, ModelReads::new(1, 0, 0));
    world.publish("t", 1..=5);
    let (mut client, mut other) = (Client::new(&world), Client::new(&world));
    world.reads().set(8, 0);
    let request = json!({"type": "history", "id": 1, "topic": "t"});
    assert!(client.request(&request));
    world.await_reads(1);
    assert!(!client.request(&json!({"type": "ping", "id": 2})), "one large answer at a time");
    assert!(other.request(&json!({"type": "subscribe", "id": 1, "topic": "t"})));
    other.expect("ok");
    // The topic goes on, and the answer is of the moment in which it was asked for.
    world.publish("t", 6..=6);
    other.expect_messages(6..=6);
    world.complete_read();
    let answer = client.expect("ok");
    assert_eq!((answer["messages"].as_array().map(Vec::len), &answer["position"]["offset"]), (Some(5), &json!(5)));
    world.reads().set(8, 8);
    assert!(client.request(&request));
    world.complete_read();
    assert_eq!(client.expect("error")["code"], "unavailable");
    world.while_the_log_runs(true, || {
        let failure = world.broker.history("t", None, None).expect_err("it cannot be read");
        assert_eq!((failure.code, failure.retry_after_ms.is_some()), (ErrorCode::Unavailable, true));
    });
    world.stop();
}

#[test]
fn a_read_that_hangs_delays_nobody_else_and_a_session_has_no_second_one() {
    let world = World::new(1, 0, ModelReads::new(1, 0, 0));
    let hung = Topic::parse("hung").expect("a topic");
    world.publish("hung", 1..=500);
    world.publish("well", 1..=500);
    let [mut waits, mut asks, mut healthy] = [(); 3].map(|()| Client::new(&world));
    let (hung_start, well_start) = (start_of(&world, "hung"), start_of(&world, "well"));
    // One has its answer and waits for its first page, the other for its answer.
    world.reads().set(8, 0);
    assert!(waits.subscribe(1, "hung", &hung_start));
    world.complete_read();
    waits.expect("ok");
    world.await_reads(1);
    world.reads().hang(Some(hung));
    assert!(asks.subscribe(1, "hung", &hung_start));
    world.await_reads(2);
    world.reads().set(0, 0);
    // Others catch up and get live messages, also of the topic itself.
    assert!(healthy.subscribe(1, "well", &well_start));
    healthy.expect("ok");
    healthy.expect_messages(1..=500);
    assert!(healthy.request(&json!({"type": "subscribe", "id": 2, "topic": "hung"})));
    healthy.expect("ok");
    world.publish("hung", 501..=501);
    healthy.expect_messages(501..=501);
    // The session that has its answer is read, and begins no other catch-up; the other one is not read.
    assert!(!asks.request(&json!({"type": "ping", "id": 2})));
    for id in 2..30 {
        assert!(waits.subscribe(id, "well", &well_start));
        waits.expect("ok");
        assert!(waits.unsubscribe(id, if id % 2 == 0 { "well" } else { "hung" }));
        waits.expect("ok");
    }
    assert!(waits.subscribe(30, "well", &well_start));
    waits.expect("ok");
    waits.expect_nothing();
    assert_eq!(world.reads().most(), 2, "one for each of the two sessions");
    // Whoever leaves leaves nothing behind.
    asks.end();
    world.reads().hang(None);
    world.while_the_log_runs(true, || waits.expect_messages(1..=500));
    waits.expect_nothing();
    asks.expect_nothing();
    assert_eq!((world.subscribers("hung"), world.subscribers("well")), (1, 2));
    assert_eq!(world.broker.presence("hung").expect("who is present").count, 1);
    world.stop();
}

#[test]
fn a_list_of_subscriptions_waits_for_one_read_at_a_time() {
    let world = World::new(1, 0, ModelReads::new(1, 0, 0));
    let names: Vec<String> = (0..20).map(|number| format!("t{number}")).collect();
    names.iter().for_each(|name| world.publish(name, 1..=3));
    let mut client = Client::new(&world);
    world.reads().set(8, 0);
    let topics: Vec<Value> = names.iter().map(|name| json!({"topic": name, "last": 2})).collect();
    assert!(client.request(&json!({"type": "subscribe", "id": 1, "topics": topics})));
    let answer = world.while_the_log_runs(true, || client.expect("ok"));
    let answers = answer["topics"].as_array().expect("a list");
    let answered = answers.iter().filter(|answer| answer["position"]["offset"] == 3).map(|answer| &answer["topic"]);
    assert!(answered.eq(names.iter().map(String::as_str)), "{answers:?}");
    world.while_the_log_runs(true, || {
        for _ in 0..2 * names.len() {
            client.expect("message");
        }
    });
    client.expect_nothing();
    assert_eq!(world.reads().most(), 1);
    world.stop();
}

/// A client that subscribes to one topic, leaves it, comes back and goes on where it was, and checks what it gets.
struct Follower {
    client: Client,
    /// The last offset that it has.
    seen: u64,
    got: Vec<(u64, u64)>,
    state: FollowerState,
    requests: u64,
    failures: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FollowerState {
    Out,
    /// Asked to go on after an offset.
    Entering {
        id: u64,
        after: u64,
    },
    In,
    /// It may have been subscribed before, and then still is.
    Refused,
    Leaving {
        id: u64,
    },
}

impl Follower {
    fn new(world: &World) -> Self {
        let client = Client::new(world);
        Self { client, seen: 0, got: Vec::new(), state: FollowerState::Out, requests: 0, failures: 0 }
    }

    fn enter(&mut self, epoch: &Arc<str>) {
        let (id, after) = (self.requests + 1, self.seen);
        if self.client.subscribe(id, "t", &Position { epoch: Arc::clone(epoch), offset: after }) {
            self.requests = id;
            self.state = FollowerState::Entering { id, after };
        }
    }

    fn leave(&mut self) {
        let id = self.requests + 1;
        if self.client.unsubscribe(id, "t") {
            self.requests = id;
            self.state = FollowerState::Leaving { id };
        }
    }

    /// Takes the frames that are there.
    fn read(&mut self) {
        while let Some(frame) = self.client.frame_within(Duration::from_millis(1)) {
            self.take(&frame);
        }
    }

    fn take(&mut self, frame: &Value) {
        let id = frame["id"].as_u64();
        match (frame["type"].as_str().expect("a type"), self.state) {
            ("ok", FollowerState::Entering { id: asked, after }) if id == Some(asked) => {
                assert_eq!(frame["recovered"], true, "everything is kept: {frame}");
                // What came since it asked is sent again: a new subscription begins.
                self.got.retain(|(offset, _)| *offset <= after);
                (self.seen, self.state) = (after, FollowerState::In);
            }
            ("ok", FollowerState::Leaving { id: asked }) if id == Some(asked) => self.state = FollowerState::Out,
            ("error", FollowerState::Entering { id: asked, .. }) if id == Some(asked) => {
                assert_eq!(frame["code"], "unavailable", "{frame}");
                self.failures += 1;
                self.state = FollowerState::Refused;
            }
            ("unsubscribed", _) => {
                assert_eq!((&frame["code"], frame["retry_after_ms"].is_u64()), (&json!("unavailable"), true));
                self.failures += 1;
                if self.state == FollowerState::In {
                    self.state = FollowerState::Out;
                }
            }
            ("message", FollowerState::Out) => panic!("nobody is subscribed: {frame}"),
            ("message", _) => {
                let offset = frame["offset"].as_u64().expect("an offset");
                assert_eq!(offset, self.seen + 1, "each once and in order: {frame}");
                self.seen = offset;
                self.got.push((offset, frame["data"].as_u64().expect("a number")));
            }
            (_, state) => panic!("{state:?}: {frame}"),
        }
    }
}

fn follow(seed: u64) {
    let reads = ModelReads::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), 1 + seed % 8, 0);
    let world = World::new(seed + 1, seed % 3, reads);
    let mut random = seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    let (mut followers, is_over) = (Vec::new(), AtomicBool::new(false));
    world.while_the_log_runs(true, || {
        let publish = |number: u64| {
            let payload = Payload::json(&number).expect("a number");
            futures_executor::block_on(world.broker.publish("t", payload))
        };
        await_that(|| publish(0).is_ok(), "the first message");
        let epoch = world.position("t").epoch;
        followers.extend((0..3).map(|_| Follower::new(&world)));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..=600 {
                    // It may fail: the log does.
                    let _ = publish(number);
                    if number % 50 == 0 {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                }
                is_over.store(true, Release);
            });
            world.reads().set(1 + seed % 8, seed / 8 % 4);
            while !is_over.load(Acquire) {
                let follower = &mut followers[next() as usize % 3];
                match (next() % 4, follower.state) {
                    (0, FollowerState::Out | FollowerState::In) => follower.enter(&epoch),
                    (1, FollowerState::In) | (_, FollowerState::Refused) => follower.leave(),
                    _ => follower.read(),
                }
            }
        });
        // Nothing fails any more.
        world.reads().set(4, 0);
        let end = world.position("t").offset;
        for follower in &mut followers {
            await_that(
                || {
                    follower.read();
                    match follower.state {
                        FollowerState::Out => follower.enter(&epoch),
                        FollowerState::Refused => follower.leave(),
                        _ => {}
                    }
                    follower.seen == end && follower.state == FollowerState::In
                },
                "the last message",
            );
        }
    });
    let first = &followers[0].got;
    assert_eq!(first.len() as u64, world.position("t").offset);
    assert!(followers.iter().all(|follower| follower.got == *first), "all have the same messages");
    followers.iter().for_each(|follower| follower.client.end());
    await_that(|| world.subscribers("t") == 0, "the end of all sessions");
    world.stop();
}

#[test]
fn whatever_reads_do_each_subscriber_gets_each_message_once_and_in_order_or_an_honest_failure() {
    for seed in 0..32 {
        let ran = std::panic::catch_unwind(|| follow(seed));
        assert!(ran.is_ok(), "with seed {seed}");
    }
}
