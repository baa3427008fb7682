//! Shards turn by turn, over in-memory streams of known capacity: what must hold for any commands in one turn.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rialto_protocol::{Codec, Delivery, Payload, Pointer, Reply};
use tokio::io::{AsyncReadExt as _, DuplexStream};

use crate::hub::budget::Budget;
use crate::hub::routing::patterns::Selector;
use crate::hub::routing::selector_lists::SelectorList;
use crate::hub::session::batch::tests::messages;
use crate::hub::{
    Audience, Command, HubLimits, Link, NextPage, Page, Push, Replay, Selectors, SessionKey, Shard, Signals, StreamId,
    Subscribe, SubscribeReply, Subscription, What,
};
use crate::message::{Draft, Message};
use crate::metrics::Metrics;
use crate::topic::Topic;
use crate::wire::websocket::websocket_frame_bytes;

fn audience() -> Arc<Audience> {
    Arc::new(Audience::new(1, &Delivery::Queue))
}

fn shard(outbox_bytes: usize, outboxes_bytes: usize) -> (Rc<Shard>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let limits = HubLimits { outbox_bytes, outboxes_bytes, ..HubLimits::of_test() };
    let budget = Arc::new(Budget::new(outboxes_bytes, 1, Arc::clone(&metrics)));
    let shard = Shard::new(0, limits, budget, Arc::clone(&metrics));
    (Rc::new(shard), metrics)
}

fn attach(shard: &Rc<Shard>, room: usize) -> (SessionKey, Rc<Signals>, DuplexStream) {
    let (near, far) = tokio::io::duplex(room);
    let (key, signals) = shard.attach(Rc::new(Link::other(Box::new(near))), crate::message::Wire::Frames(Codec::Json));
    (key, signals, far)
}

fn subscribe(session: SessionKey, stream: u64, delivery: Delivery, audience: &Arc<Audience>) -> Command {
    audience.enter(0);
    let (stream, topic) = (StreamId::topic(stream), Topic::parse("t").expect("a test"));
    let subscription = Subscription { stream, topic, delivery, field: None, audience: Arc::clone(audience) };
    let (replay, reply, presence, gap) = (None, SubscribeReply::Aside, None, None);
    Command::Subscribe { session, subscribe: Box::new(Subscribe { subscription, replay, reply, presence, gap }) }
}

fn large(stream: u64, offset: u64, bytes: usize) -> Command {
    let draft = Draft { payload: Payload::json(&"x".repeat(bytes)).expect("a test"), from: None, except: None };
    let message = Arc::new(Message::new(StreamId::topic(stream), Topic::parse("t").expect("a test"), offset, 0, draft));
    Command::Deliver { message, selectors: None }
}

fn deliver(stream: u64, offset: u64) -> Command {
    Command::Deliver { message: messages(stream, offset..=offset).remove(0), selectors: None }
}

fn select(session: SessionKey, selector: &Selector) -> Command {
    selector.audience.enter(0);
    Command::Select { session, stream: selector.stream, audience: Arc::clone(&selector.audience) }
}

fn selectors(numbers: std::ops::RangeInclusive<u64>) -> Selectors {
    let selector = |number| Selector { stream: StreamId::pattern(number), audience: audience() };
    SelectorList::alone(numbers.map(selector).collect())
}

/// A message that patterns select, or that its publisher requested no echo of.
fn deliver_to(offset: u64, selectors: Option<&Selectors>, except: Option<SessionKey>) -> Command {
    let draft = Draft { payload: Payload::json(&offset).expect("a test"), from: None, except };
    let message = Arc::new(Message::new(StreamId::topic(1), Topic::parse("t").expect("a test"), offset, 0, draft));
    Command::Deliver { message, selectors: selectors.cloned() }
}

async fn read(shard: &Rc<Shard>, key: SessionKey, signals: &Signals, far: &mut DuplexStream) -> Vec<String> {
    let mut out = Vec::new();
    {
        let reads = async {
            while let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(30), far.read_buf(&mut out)).await {}
        };
        tokio::select! {
            () = reads => {}
            () = shard.keep_writing(key, signals) => panic!("broken"),
        }
    }
    let (mut at, mut all) = (0, Vec::new());
    while at < out.len() {
        let length = websocket_frame_bytes(&out[at..]);
        let text = String::from_utf8_lossy(&out[at..at + length]).into_owned();
        let text = text[text.find('{').expect("a test")..].to_owned();
        all.push(if text.len() > 90 { text[..90].to_owned() } else { text });
        at += length;
    }
    all
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a test").block_on(test);
}

#[test]
fn a_policy_change_without_reply_loses_no_message() {
    run(async {
        let (shard, _) = shard(100_000, 1_000_000);
        let audience = audience();
        let (key, signals, mut far) = attach(&shard, 64);
        shard.turn(&mut vec![subscribe(key, 1, Delivery::Queue, &audience)]);
        shard.turn(&mut vec![
            deliver(1, 1),
            deliver(1, 2),
            deliver(1, 3),
            subscribe(key, 1, Delivery::DropOldest, &audience),
            deliver(1, 4),
            deliver(1, 5),
        ]);
        let got = read(&shard, key, &signals, &mut far).await;
        assert_eq!(got.len(), 5, "{got:#?}");
    });
}

#[test]
fn the_bytes_of_a_sample_are_counted_out_again() {
    run(async {
        let (shard, metrics) = shard(100_000, 1_000_000);
        let (audience, other) = (audience(), audience());
        let (key, signals, mut far) = attach(&shard, 1_000);
        shard.turn(&mut vec![
            subscribe(key, 1, Delivery::Queue, &audience),
            subscribe(key, 2, Delivery::Sample { every_ms: 3_600_000 }, &other),
        ]);
        shard.turn(&mut vec![deliver(2, 1)]);
        shard.turn(&mut vec![deliver(2, 2)]);
        let uncounted = metrics.outbox_bytes.get();
        shard.turn(&mut vec![large(1, 1, 5_000)]);
        assert_eq!(read(&shard, key, &signals, &mut far).await.len(), 2);
        let counted = metrics.outbox_bytes.get();
        shard.turn(&mut vec![Command::Unsubscribe { session: key, stream: StreamId::topic(2) }]);
        assert_eq!(read(&shard, key, &signals, &mut far).await.len(), 1);
        shard.turn(&mut vec![Command::Unsubscribe { session: key, stream: StreamId::topic(1) }]);
        assert_eq!(metrics.outbox_bytes.get(), 0, "uncounted {uncounted}, counted {counted}");
    });
}

#[test]
fn drop_oldest_is_not_closed_because_of_a_reply_in_the_same_turn() {
    run(async {
        let (shard, _) = shard(10_000, 1_000_000);
        let audience = audience();
        let (key, signals, mut far) = attach(&shard, 1_000);
        shard.turn(&mut vec![subscribe(key, 1, Delivery::DropOldest, &audience)]);
        let mut turn: Vec<Command> = (1..=12).map(|offset| large(1, offset, 1_000)).collect();
        let push = Push { what: What::Reply { id: Some(1), outcome: Ok(Reply::Unsubscribed) }, in_flight: None };
        turn.push(Command::Push { session: key, push });
        shard.turn(&mut turn);
        assert!(!signals.is_ending(), "closed as slow");
        read(&shard, key, &signals, &mut far).await;
    });
}

#[test]
fn the_largest_outbox_is_shed_although_it_is_partly_written() {
    run(async {
        let (shard, metrics) = shard(300_000, 600_000);
        let (audience, other) = (audience(), audience());
        let hogs: Vec<_> = (0..3).map(|_| attach(&shard, 100)).collect();
        let (victim, signals, _far) = attach(&shard, 100);
        let mut turn: Vec<Command> = hogs.iter().map(|hog| subscribe(hog.0, 1, Delivery::Queue, &audience)).collect();
        turn.push(subscribe(victim, 2, Delivery::Queue, &other));
        shard.turn(&mut turn);
        // 250 kB in one batch, of which each of three takes 100 bytes.
        shard.turn(&mut (1..=250).map(|offset| large(1, offset, 900)).collect());
        let held = metrics.outbox_bytes.get();
        shard.turn(&mut (1..=3).map(|offset| large(2, offset, 200)).collect());
        shard.turn(&mut (4..=6).map(|offset| large(2, offset, 200)).collect());
        let ended: Vec<bool> = hogs.iter().map(|hog| hog.1.is_ending()).collect();
        assert!(!signals.is_ending(), "held {held}, now {}, hogs ended: {ended:?}", metrics.outbox_bytes.get());
    });
}

#[test]
fn requests_are_read_again_once_their_replies_are_although_messages_wait() {
    run(async {
        let (shard, _) = shard(1_000_000, 10_000_000);
        let audience = audience();
        let (key, signals, mut far) = attach(&shard, 1_000);
        shard.turn(&mut vec![subscribe(key, 1, Delivery::Latest, &audience)]);
        shard.turn(&mut vec![large(1, 1, 5_000)]);
        for _ in 0..700 {
            shard.send(key, bytes::Bytes::from_static(&[0; 122]));
        }
        assert!(!shard.answers_are_read(key));
        let mut offset = 1;
        let read_at = std::cell::Cell::new(None);
        let reads = async {
            // Reads 4,000 bytes for each message of 5,000 bytes.
            for turn in 0..200 {
                offset += 1;
                shard.turn(&mut vec![large(1, offset, 5_000)]);
                let mut some = vec![0; 4_000];
                far.read_exact(&mut some).await.expect("a test");
                tokio::task::yield_now().await;
                if read_at.get().is_none() && shard.answers_are_read(key) {
                    read_at.set(Some(turn));
                }
            }
        };
        let woken = std::cell::Cell::new(false);
        let waits = async {
            shard.answers_read(key, &signals).await;
            woken.set(true);
            std::future::pending::<()>().await
        };
        tokio::select! { () = reads => {} () = shard.keep_writing(key, &signals) => panic!(), () = waits => {} }
        assert!(
            woken.get(),
            "answers were read at turn {:?} of 200, and the waiting task was not woken",
            read_at.get()
        );
    });
}

#[test]
fn a_session_that_ends_counts_out_no_more_than_was_counted_in() {
    run(async {
        let (shard, metrics) = shard(100_000, 1_000_000);
        let (key, _line, _far) = attach(&shard, 100);
        shard.send(key, vec![b'x'; 100].into());
        tokio::time::sleep(Duration::from_millis(1_050)).await;
        // The ping does not fit; then the peer resets the connection.
        shard.sweep(Instant::now());
        shard.detach(key);
        assert_eq!(metrics.outbox_bytes.get(), 0);
    });
}

#[test]
fn repeated_subscribes_do_not_close_the_session() {
    run(async {
        let (shard, _) = shard(10_000, 1_000_000);
        let audience = audience();
        let (key, signals, mut far) = attach(&shard, 1_000);
        shard.turn(&mut (1..=5).map(|stream| subscribe(key, stream, Delivery::DropOldest, &audience)).collect());
        shard.turn(&mut (1..=40).map(|n| large(1, n, 1_000)).collect());
        assert!(!signals.is_ending());
        let push = || Command::Push {
            session: key,
            push: Push { what: What::Reply { id: Some(1), outcome: Ok(Reply::Unsubscribed) }, in_flight: None },
        };
        for n in 0..40 {
            shard.turn(&mut vec![subscribe(key, 1, Delivery::DropOldest, &audience), push()]);
            assert!(!signals.is_ending(), "after {n}");
        }
        read(&shard, key, &signals, &mut far).await;
    });
}

/// What a session has received: the offset of each message, and the ends of each gap.
fn received(frames: &[String]) -> Vec<String> {
    let short = |frame: &String| {
        let value: serde_json::Value = serde_json::from_str(frame).expect("a frame");
        match value["type"].as_str() {
            Some("message") => value["offset"].to_string(),
            Some("gap") => format!("{}-{}", value["from"], value["to"]),
            other => other.unwrap_or_default().to_owned(),
        }
    };
    frames.iter().map(short).collect()
}

#[test]
fn a_policy_change_without_reply_keeps_the_order() {
    run(async {
        let (shard, _) = shard(100_000, 1_000_000);
        let (audience, second) = (audience(), self::audience());
        let (key, signals, mut far) = attach(&shard, 64);
        let (other, _line, _far) = attach(&shard, 64_000);
        shard.turn(&mut vec![
            subscribe(key, 1, Delivery::Queue, &audience),
            subscribe(key, 2, Delivery::Latest, &second),
            subscribe(other, 1, Delivery::Latest, &audience),
        ]);
        shard.turn(&mut vec![
            deliver(2, 1),
            deliver(1, 1),
            deliver(1, 2),
            subscribe(key, 1, Delivery::Sample { every_ms: 1 }, &audience),
            deliver(1, 3),
        ]);
        tokio::time::sleep(Duration::from_millis(5)).await;
        shard.turn(&mut vec![deliver(1, 4)]);
        let received = received(&read(&shard, key, &signals, &mut far).await);
        // The first one is of the other topic.
        assert_eq!(received[..3], ["1", "1", "2"]);
        assert!(received[3..] == ["3", "4"] || received[3..] == ["3-3", "4"], "{received:?}");
    });
}

#[test]
fn a_session_with_overlapping_subscriptions_receives_a_message_once() {
    run(async {
        let (shard, metrics) = shard(100_000, 1_000_000);
        let (audience, patterns) = (audience(), selectors(1..=2));
        let mut sessions: Vec<_> = (0..5).map(|_| attach(&shard, 64_000)).collect();
        let key = |index: usize, sessions: &Vec<(SessionKey, Rc<Signals>, DuplexStream)>| sessions[index].0;
        shard.turn(&mut vec![
            subscribe(key(0, &sessions), 1, Delivery::Queue, &audience),
            select(key(0, &sessions), &patterns[0]),
            select(key(0, &sessions), &patterns[1]),
            select(key(1, &sessions), &patterns[0]),
            select(key(2, &sessions), &patterns[1]),
            select(key(2, &sessions), &patterns[0]),
            subscribe(key(3, &sessions), 1, Delivery::Latest, &audience),
            select(key(3, &sessions), &patterns[1]),
        ]);
        shard.turn(&mut vec![
            deliver_to(1, Some(&patterns), None),
            deliver_to(2, Some(&patterns), Some(key(2, &sessions))),
            deliver_to(3, Some(&patterns), Some(key(0, &sessions))),
        ]);
        let expected: [&[&str]; 5] = [&["1", "2"], &["1", "2", "3"], &["1", "3"], &["1", "2", "3"], &[]];
        for ((key, signals, far), expected) in sessions.iter_mut().zip(expected) {
            assert_eq!(received(&read(&shard, *key, signals, far).await), expected);
        }
        assert_eq!(metrics.snapshot().messages_delivered_total, 10);
        let selector = &patterns[0];
        let end = Command::Unsubscribe { session: key(1, &sessions), stream: selector.stream };
        shard.turn(&mut vec![deliver_to(4, Some(&patterns), None), end, deliver_to(5, Some(&patterns), None)]);
        let (last, signals, far) = &mut sessions[1];
        assert_eq!(received(&read(&shard, *last, signals, far).await), ["4"]);
        sessions.iter().for_each(|(key, ..)| shard.detach(*key));
        assert!(audience.is_empty() && patterns.iter().all(|selector| selector.audience.is_empty()));
        assert_eq!(metrics.snapshot().subscriptions, 0);
    });
}

#[test]
fn a_message_by_pattern_is_not_lost_when_the_topic_is_subscribed_to_in_the_same_turn() {
    run(async {
        let (shard, _) = shard(100_000, 1_000_000);
        let (audience, patterns) = (audience(), selectors(1..=1));
        let (key, signals, mut far) = attach(&shard, 64);
        shard.turn(&mut vec![select(key, &patterns[0])]);
        // More than the socket takes, so that messages could be taken back.
        let mut turn: Vec<Command> = (1..=5).map(|offset| deliver_to(offset, Some(&patterns), None)).collect();
        turn.push(subscribe(key, 1, Delivery::Latest, &audience));
        turn.push(deliver_to(6, Some(&patterns), None));
        shard.turn(&mut turn);
        assert_eq!(received(&read(&shard, key, &signals, &mut far).await), ["1", "2", "3", "4", "5", "6"]);
    });
}

#[test]
fn a_pattern_does_not_repeat_replayed_messages_in_the_turn_in_which_the_replay_ends() {
    run(async {
        let (shard, _) = shard(100_000, 1_000_000);
        let (audience, patterns) = (audience(), selectors(1..=1));
        let (key, signals, mut far) = attach(&shard, 64_000);
        let is_read = Arc::new(AtomicBool::new(false));
        let reading = Arc::clone(&is_read);
        let replay = Replay { id: 7, read: Box::new(move || reading.store(true, Relaxed)) };
        let mut begin = subscribe(key, 1, Delivery::Queue, &audience);
        if let Command::Subscribe { subscribe, .. } = &mut begin {
            subscribe.replay = Some(replay);
        }
        shard.turn(&mut vec![begin, select(key, &patterns[0])]);
        assert!(received(&read(&shard, key, &signals, &mut far).await).is_empty() && is_read.load(Relaxed));
        let page = Box::new(Page { gap: None, messages: messages(1, 1..=3), next: NextPage::Live });
        // The last two were published before their page was read, and arrive only now.
        let [second, third, fourth] = [2, 3, 4].map(|offset| deliver_to(offset, Some(&patterns), None));
        shard.turn(&mut vec![second, third, Command::Page { session: key, replay: 7, page }, fourth]);
        assert_eq!(received(&read(&shard, key, &signals, &mut far).await), ["1", "2", "3", "4"]);
    });
}

/// A subscribe with a replay that notes when its first page is requested.
fn replaying(session: SessionKey, stream: u64, audience: &Arc<Audience>, id: u64) -> (Command, Arc<AtomicBool>) {
    let is_read = Arc::new(AtomicBool::new(false));
    let reading = Arc::clone(&is_read);
    let mut begin = subscribe(session, stream, Delivery::Queue, audience);
    if let Command::Subscribe { subscribe, .. } = &mut begin {
        subscribe.replay = Some(Replay { id, read: Box::new(move || reading.store(true, Relaxed)) });
    }
    (begin, is_read)
}

#[test]
fn the_next_replay_begins_when_a_page_arrives_whose_replay_was_given_up() {
    run(async {
        let (shard, _) = shard(100_000, 1_000_000);
        let audience = audience();
        let (key, signals, mut far) = attach(&shard, 64_000);
        let (first, is_first_read) = replaying(key, 1, &audience, 7);
        let (second, is_second_read) = replaying(key, 2, &audience, 8);
        shard.turn(&mut vec![first, second]);
        read(&shard, key, &signals, &mut far).await;
        assert!(is_first_read.load(Relaxed) && !is_second_read.load(Relaxed));
        shard.turn(&mut vec![Command::Unsubscribe { session: key, stream: StreamId::topic(1) }]);
        read(&shard, key, &signals, &mut far).await;
        assert!(!is_second_read.load(Relaxed), "a read is under way");
        let page = Box::new(Page { gap: None, messages: messages(1, 1..=3), next: NextPage::Live });
        shard.turn(&mut vec![Command::Page { session: key, replay: 7, page }]);
        assert!(received(&read(&shard, key, &signals, &mut far).await).is_empty(), "nobody waits for it");
        assert!(is_second_read.load(Relaxed));
        assert_eq!(audience.subscribers(), 1);
    });
}

#[test]
fn what_is_held_while_the_last_page_is_read_follows_it_and_counts_for_the_budget() {
    run(async {
        let (shard, metrics) = shard(100_000, 1_000_000);
        let (audience, patterns) = (audience(), selectors(1..=1));
        let (key, signals, mut far) = attach(&shard, 64_000);
        let (begin, _) = replaying(key, 1, &audience, 7);
        shard.turn(&mut vec![begin, select(key, &patterns[0])]);
        read(&shard, key, &signals, &mut far).await;
        let deliver = |offset, except| deliver_to(offset, Some(&patterns), except);
        let hold = Command::HoldLive { session: key, replay: 7 };
        // The first two are in the page; what the session published itself without echo is not held.
        shard.turn(&mut vec![deliver(1, None), deliver(2, None), hold, deliver(3, None)]);
        shard.turn(&mut vec![deliver(4, Some(key)), deliver(5, None)]);
        assert!(received(&read(&shard, key, &signals, &mut far).await).is_empty());
        assert!(metrics.outbox_bytes.get() > 0, "they are in memory");
        let next = NextPage::Held(Box::new(|| panic!("no other page is needed")));
        let page = Box::new(Page { gap: None, messages: messages(1, 1..=2), next });
        shard.turn(&mut vec![deliver(6, None), Command::Page { session: key, replay: 7, page }, deliver(7, None)]);
        assert_eq!(received(&read(&shard, key, &signals, &mut far).await), ["1", "2", "3", "5", "6", "7"]);
        assert_eq!(metrics.outbox_bytes.get(), 0);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// A session without echo receives the messages of others, or a gap for them; no gap is about its own messages alone.
    #[test]
    fn a_session_without_echo_receives_or_misses_every_message_of_others(
        policy in 0..5_usize, pattern in any::<bool>(), room in 60..2_000_usize,
        turns in prop::collection::vec((prop::collection::vec(any::<bool>(), 1..8), 0..4_u8), 1..12),
    ) {
        let policies = [
            Delivery::Queue,
            Delivery::DropOldest,
            Delivery::Latest,
            Delivery::LatestBy(Pointer::parse("").expect("a test")),
            Delivery::Sample { every_ms: 3_600_000 },
        ];
        run(async {
            let (shard, _) = shard(1_000, 1_000_000);
            let (audience, patterns) = (audience(), selectors(1..=1));
            let (key, signals, mut far) = attach(&shard, room);
            let (other, other_line, mut other_far) = attach(&shard, 1 << 20);
            let mut begin = vec![
                subscribe(key, 1, policies[policy].clone(), &audience),
                subscribe(other, 1, Delivery::Queue, &audience),
            ];
            begin.extend(pattern.then(|| select(key, &patterns[0])));
            shard.turn(&mut begin);
            let (mut offset, mut others, mut got) = (0, Vec::new(), Vec::new());
            for (own, reads) in turns {
                let mut turn = Vec::new();
                for own in own {
                    offset += 1;
                    turn.push(deliver_to(offset, pattern.then_some(&patterns), own.then_some(key)));
                    if !own {
                        others.push(offset);
                    }
                }
                shard.turn(&mut turn);
                if reads == 0 {
                    got.extend(received(&read(&shard, key, &signals, &mut far).await));
                }
            }
            shard.turn(&mut vec![Command::Unsubscribe { session: key, stream: StreamId::topic(1) }]);
            got.extend(received(&read(&shard, key, &signals, &mut far).await));
            if signals.is_ending() {
                assert!(policy == 0, "only a queue may be too slow");
                return;
            }
            let mut accounted = Vec::new();
            for received in &got {
                match received.split_once('-') {
                    None => accounted.push(received.parse().expect("an offset")),
                    Some((from, to)) => {
                        let (from, to) = (from.parse().expect("an offset"), to.parse().expect("an offset"));
                        assert!(others.contains(&to), "{got:?}: {to} is its own");
                        accounted.extend((from..=to).filter(|offset| others.contains(offset)));
                    }
                }
            }
            assert_eq!(accounted, others, "{got:?}");
            let all: Vec<String> = (1..=offset).map(|offset| offset.to_string()).collect();
            assert_eq!(received(&read(&shard, other, &other_line, &mut other_far).await), all);
        });
    }
}
