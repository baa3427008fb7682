//! The engine over a log that delays commits, fails and answers in doubt, from a seed: what becomes visible, what is answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rialto_protocol::{Payload, Position, Published};

use super::*;
use crate::config::History;
use crate::identity::StreamId;
use crate::message::Draft;
use crate::shares::Share;
use crate::store::model::ModelLog;
use crate::store::{Account, Batch, Begun, Digest, Key, KeyOwner, Page, Span};

const SEEDS: u64 = 400;
const ROUNDS: usize = 200;

/// What subscribers and publishers of one topic have seen.
#[derive(Debug, Default)]
struct Seen {
    /// Each visible message: its offset and its text.
    delivered: Vec<(u64, String)>,
    /// Each answer, by what was published.
    answers: Vec<(String, Result<Published, StoreError>)>,
}

struct Publish {
    stream: Arc<Stream>,
    log: Arc<ModelLog>,
    seen: Arc<Mutex<Seen>>,
    text: String,
}

impl Publish {
    fn see(&self, message: &SharedMessage) {
        see(&self.seen, &self.stream, &self.log, message);
    }
}

/// Takes a message in as a subscriber, and checks that it was kept before.
fn see(seen: &Mutex<Seen>, stream: &Stream, log: &ModelLog, message: &SharedMessage) {
    if stream.has_history() {
        let end = log.end(stream.topic()).expect("read").expect("kept before it is delivered");
        assert!(end.last >= message.offset, "delivered before it is kept");
    }
    let text = message.payload.parse::<String>().expect("a text");
    seen.lock().expect("whole").delivered.push((message.offset, text));
}

impl PendingPublish for Publish {
    fn stream(&self) -> &Stream {
        &self.stream
    }

    fn hand_over(&self, message: &SharedMessage) {
        self.see(message);
    }

    fn complete(self, outcome: Result<Published, StoreError>) {
        self.seen.lock().expect("whole").answers.push((self.text, outcome));
    }
}

struct World {
    log: Arc<ModelLog>,
    engine: Engine,
    streams: Vec<(Arc<Stream>, Arc<Mutex<Seen>>)>,
    /// Published without being refused at once.
    begun: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let log = Arc::new(ModelLog::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), seed % 4));
        let engine = Engine::Local(Arc::clone(&log) as Arc<dyn Store>);
        let history = Some(History { messages: 10_000, bytes: 1 << 20, age_ms: 1_000_000 });
        let open = |(id, history)| {
            let rule = TopicOptions::of_test(history, 1_000_000);
            let topic = Topic::parse(&format!("t{id}")).expect("a topic");
            let stream = engine.open(StreamId::topic(id), topic, "e".into(), rule, Account::of_test()).expect("opened");
            (Arc::new(stream), Arc::default())
        };
        let streams = [(1, history), (2, history), (3, None)].map(open).into();
        Self { log, engine, streams, begun: 0 }
    }

    fn publish(&mut self, place: usize, text: String, key: Option<u64>) {
        let (stream, seen) = self.streams[place].clone();
        let payload = Payload::json(&text).expect("a text");
        let digest = Digest::of(None, Some(&payload));
        let keyed = key.map(|key| KeyedRequest {
            key: Key { owner: KeyOwner::Embedder, text: key.to_string().into() },
            digest,
            share: Some(Share::of_test()),
        });
        let message = KeyedDraft { draft: Draft { payload, from: None, except: None }, keyed };
        let pending =
            Publish { stream: Arc::clone(&stream), log: Arc::clone(&self.log), seen: Arc::clone(&seen), text };
        let text = pending.text.clone();
        let hand_over = |message: &SharedMessage| see(&seen, &stream, &self.log, message);
        let placed = self.engine.publish(&stream, &stream.rule(), message, Now::default(), hand_over, || pending);
        match placed {
            Ok(Placed::Pending) => self.begun += 1,
            Ok(Placed::Visible(published)) => {
                self.begun += 1;
                seen.lock().expect("whole").answers.push((text, Ok(published)));
            }
            Err(NotPublished::NotKept(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    /// What holds at any time: each topic's messages without a hole, and nothing visible beyond them.
    fn check(&self) {
        for (stream, seen) in &self.streams {
            let seen = seen.lock().expect("whole");
            let offsets = seen.delivered.iter().map(|(offset, _)| *offset);
            assert!(offsets.eq(1..=seen.delivered.len() as u64), "{:?}", seen.delivered);
            let visible = stream.join(|view| view.position().offset).expect("not retired");
            assert_eq!(visible, seen.delivered.len() as u64);
            let all = Page { messages: usize::MAX, bytes: usize::MAX };
            let view = stream.now().expect("not retired");
            let past = view.begin_read(Span::After(0), all, Now::default()).wait().expect("read");
            assert!(past.messages.iter().all(|message| message.offset <= visible) && !past.more);
            let kept = past.messages.iter().map(|message| message.payload.parse::<String>().expect("a text"));
            assert!(!stream.has_history() || kept.eq(seen.delivered.iter().map(|(_, text)| text.clone())));
        }
    }

    fn drain(&self) {
        while self.log.turn() {
            self.check();
        }
    }

    /// Every request is answered once; what was acknowledged is there, and no key has two messages.
    fn check_end(&self) {
        let mut answers = 0;
        for (_, seen) in &self.streams {
            let seen = seen.lock().expect("whole");
            answers += seen.answers.len();
            let delivered: HashMap<u64, &String> =
                seen.delivered.iter().map(|(offset, text)| (*offset, text)).collect();
            let in_doubt = |text: &str| {
                let unknown = |(of, answer): &(String, Result<_, StoreError>)| {
                    of == text && matches!(answer, Err(StoreError::Unknown(_)))
                };
                seen.answers.iter().any(unknown)
            };
            for (text, answer) in &seen.answers {
                match answer {
                    Ok(published) => {
                        let offset = published.position.as_ref().expect("a position").offset;
                        assert_eq!(delivered.get(&offset), Some(&text), "acknowledged and not there");
                    }
                    Err(StoreError::Unknown(_)) => {}
                    Err(_) if text.starts_with("key") => {}
                    Err(_) => assert!(seen.delivered.iter().all(|(_, other)| other != text), "{text} has failed"),
                }
            }
            for (place, (_, text)) in seen.delivered.iter().enumerate() {
                let again = seen.delivered[..place].iter().any(|(_, other)| other == text);
                assert!(!again || in_doubt(text) && !text.starts_with("key"), "{text} is there twice");
            }
        }
        assert_eq!(answers, self.begun, "each request is answered once");
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    let mut random = seed | 1;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    for round in 0..ROUNDS {
        let place = next() as usize % world.streams.len();
        match next() % 8 {
            0..=2 => world.publish(place, format!("plain {round}"), None),
            3 | 4 => {
                let key = next() % 20;
                world.publish(place, format!("key {key}"), Some(key));
            }
            _ => {
                world.log.turn();
            }
        }
        world.check();
    }
    world.drain();
    // The log works again: what is in doubt is decided by the next message.
    for place in 0..world.streams.len() {
        for attempt in 0..64 {
            world.publish(place, format!("last {attempt} of {place}"), None);
            world.drain();
        }
    }
    world.check_end();
}

#[test]
fn whatever_the_log_does_each_topic_has_one_order_and_one_answer_for_each_request() {
    for seed in 0..SEEDS {
        let ran = std::panic::catch_unwind(|| run(seed));
        assert!(ran.is_ok(), "with seed {seed}");
    }
}

/// A message to each of two topics, with a session that joins the second one between them.
struct Pair {
    streams: [Arc<Stream>; 2],
    rules: [Arc<TopicOptions>; 2],
    draft: Draft,
    seen: Arc<Mutex<PairsSeen>>,
}

#[derive(Debug, Default)]
struct PairsSeen {
    /// The visible messages of each topic.
    delivered: [Vec<u64>; 2],
    /// Where the sessions stood that joined.
    joined: Vec<u64>,
    kept: usize,
    failed: usize,
}

impl AtomicSteps for Pair {
    fn steps(&self) -> Vec<(usize, TransactionStep<'_>)> {
        let [(a, by), (b, by_b)] = [0, 1].map(|place| (&*self.streams[place], &self.rules[place]));
        let publish =
            |stream, rule| TransactionStep::Publish(PublishStep { stream, rule, draft: &self.draft, keyed: None });
        vec![(0, publish(a, by)), (7, TransactionStep::Join(b, by_b)), (1, publish(b, by_b))]
    }

    fn begin(&self, store: &dyn Store, batch: Batch) -> Begun {
        store.begin(batch)
    }

    fn pass(&self, place: usize, outcome: StepOutcome<'_>) {
        let mut seen = self.seen.lock().expect("whole");
        match outcome {
            StepOutcome::Message(message) | StepOutcome::Recovered(message) => {
                seen.delivered[place].push(message.offset);
            }
            StepOutcome::Joined(view) => {
                assert_eq!(place, 7);
                seen.joined.push(view.position().offset);
            }
            StepOutcome::Removed(_) => panic!("nothing is removed"),
        }
    }

    fn complete(self, outcome: Result<Vec<Position>, StoreError>) {
        let mut seen = self.seen.lock().expect("whole");
        match outcome {
            Ok(positions) => {
                assert_eq!(positions.len(), 2);
                seen.kept += 1;
            }
            Err(_) => seen.failed += 1,
        }
    }
}

#[test]
fn transactions_wait_for_the_log_together_and_each_is_visible_whole_or_not_at_all() {
    let mut most_under_way = 0;
    for seed in 0..SEEDS {
        let world = World::new(seed);
        let streams = [Arc::clone(&world.streams[0].0), Arc::clone(&world.streams[1].0)];
        let seen: Arc<Mutex<PairsSeen>> = Arc::default();
        let mut random = seed | 1;
        let (mut begun, mut joined_kept) = (0, 0);
        for round in 0..ROUNDS {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if (random >> 33) % 2 == 0 {
                let payload = Payload::json(&round).expect("a number");
                let draft = Draft { payload, from: None, except: None };
                let rules = [0, 1].map(|place: usize| streams[place].rule_to_decide());
                let pair = Pair { streams: streams.clone(), rules, draft, seen: Arc::clone(&seen) };
                match world.engine.publish_all(pair, Batch::at(Now::default()), Now::default()) {
                    Ok(Committed::Pending) => begun += 1,
                    Ok(Committed::Visible(..)) => panic!("this log completes nothing at once"),
                    Err(error) => assert!(matches!(error.reason, TransactionError::NotKept(_)), "{:?}", error.reason),
                }
            } else {
                world.log.turn();
            }
            let seen = seen.lock().expect("whole");
            most_under_way = most_under_way.max(begun - seen.kept - seen.failed);
            joined_kept = joined_kept.max(seen.kept);
            // What is in doubt in one topic may be decided before the other topic is asked.
            let [a, b] = &seen.delivered;
            assert!(a.iter().copied().eq(1..=a.len() as u64) && b.iter().copied().eq(1..=b.len() as u64), "{seen:?}");
            assert!(a.len() >= seen.kept && b.len() >= seen.kept && seen.joined.len() == seen.kept, "{seen:?}");
        }
        while world.log.turn() {}
        let seen = seen.lock().expect("whole");
        assert_eq!(seen.kept + seen.failed, begun, "each is completed once, with seed {seed}");
        assert!(seen.joined.is_sorted(), "with seed {seed}");
        let end = |stream: &Stream| world.log.end(stream.topic()).expect("read").map_or(0, |end| end.last);
        assert_eq!(end(&streams[0]), end(&streams[1]), "both are kept or none is, with seed {seed}");
    }
    assert!(most_under_way > 20, "they do not wait for each other: {most_under_way}");
}

/// A message, and the removal of another one of its topic.
struct Exchange {
    stream: Arc<Stream>,
    rule: Arc<TopicOptions>,
    draft: Draft,
    offset: u64,
    seen: Arc<Mutex<ExchangesSeen>>,
}

#[derive(Debug, Default)]
struct ExchangesSeen {
    delivered: Vec<u64>,
    removed: Vec<u64>,
    /// Of what the log could not say whether it was kept: the offsets that may be removed.
    in_doubt: Vec<u64>,
}

impl AtomicSteps for Exchange {
    fn steps(&self) -> Vec<(usize, TransactionStep<'_>)> {
        let Self { stream, rule, draft, offset, .. } = self;
        let publish = TransactionStep::Publish(PublishStep { stream, rule, draft, keyed: None });
        vec![(0, publish), (1, TransactionStep::Remove(stream, rule, *offset))]
    }

    fn begin(&self, store: &dyn Store, batch: Batch) -> Begun {
        store.begin(batch)
    }

    fn pass(&self, _: usize, outcome: StepOutcome<'_>) {
        let mut seen = self.seen.lock().expect("whole");
        match outcome {
            StepOutcome::Message(message) | StepOutcome::Recovered(message) => seen.delivered.push(message.offset),
            StepOutcome::Removed(offset) => {
                assert!(seen.delivered.contains(&offset), "{offset} was never there");
                seen.removed.push(offset);
            }
            StepOutcome::Joined(_) => panic!("nobody joins"),
        }
    }

    fn complete(self, outcome: Result<Vec<Position>, StoreError>) {
        if let Err(StoreError::Unknown(_)) = outcome {
            self.seen.lock().expect("whole").in_doubt.push(self.offset);
        }
    }
}

#[test]
fn what_is_removed_is_removed_with_its_commit_and_told_once() {
    let mut most_removed = 0;
    for seed in 0..SEEDS {
        let world = World::new(seed);
        let stream = &world.streams[0].0;
        let seen: Arc<Mutex<ExchangesSeen>> = Arc::default();
        let mut random = seed | 1;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 33
        };
        let exchange = |offset: u64| {
            let draft = Draft { payload: Payload::json(&offset).expect("a number"), from: None, except: None };
            let (stream, rule) = (Arc::clone(stream), stream.rule_to_decide());
            let exchange = Exchange { stream, rule, draft, offset, seen: Arc::clone(&seen) };
            drop(world.engine.publish_all(exchange, Batch::at(Now::default()), Now::default()));
        };
        for _ in 0..ROUNDS {
            match next() % 2 {
                0 => exchange(next() % 40),
                _ => drop(world.log.turn()),
            }
        }
        while world.log.turn() {}
        // The log works again, and decides what is in doubt.
        world.log.set_failures(0);
        exchange(0);
        while world.log.turn() {}
        let seen = seen.lock().expect("whole");
        let all = Page { messages: usize::MAX, bytes: usize::MAX };
        let view = stream.now().expect("not retired");
        let past = view.begin_read(Span::After(0), all, Now::default()).wait().expect("read");
        assert!(past.messages.iter().map(|message| message.offset).eq(1..=view.position().offset), "seed {seed}");
        let gone = past.messages.iter().filter(|message| message.is_tombstone()).map(|message| message.offset);
        let gone: Vec<u64> = gone.collect();
        assert!(
            gone.iter().all(|offset| seen.removed.contains(offset) || seen.in_doubt.contains(offset)),
            "seed {seed}"
        );
        let once: std::collections::BTreeSet<u64> = seen.removed.iter().copied().collect();
        assert!(once.len() == seen.removed.len() && once.iter().all(|offset| gone.contains(offset)), "seed {seed}");
        let left = view.begin_read_messages(Span::After(0), Page { messages: 1, bytes: 1 }, Now::default()).wait();
        let left = left.expect("read").messages;
        let first = past.messages.iter().find(|message| !message.is_tombstone()).map(|message| message.offset);
        assert_eq!(left.first().map(|message| message.offset), first, "pages without messages are passed over");
        most_removed = most_removed.max(gone.len());
    }
    assert!(most_removed > 20, "{most_removed}");
}
