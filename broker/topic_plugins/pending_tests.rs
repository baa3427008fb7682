//! Hooks over a log that takes its time, fails and answers in doubt: each hook finds what earlier ones have written, and
//! nothing is kept that was built on what is not.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rialto_plugin::prelude::*;
use rialto_protocol::{ErrorCode, Failure, Member, Payload as Data};
use tokio::sync::oneshot;

use crate::broker::{Broker, SubscribeOptions, SubscribeRequest};
use crate::clock::Now;
use crate::config::{self, History, TopicRule};
use crate::identity::SessionKey;
use crate::request::caller::CallerSession;
use crate::request::responder::{RequestResult, Responder};
use crate::store::conformance::ALL;
use crate::store::model::ModelLog;
use crate::store::{Span, Store};
use crate::topic::{Pattern, Topic};

const SEEDS: u64 = 48;
const BURSTS: u64 = 30;

/// Counts its calls: in its state, in messages and in timers. Each call finds the three before it.
#[derive(Default)]
struct Counter;

impl Plugin for Counter {
    fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
        match call.method.as_str() {
            "count" => {
                let counts = ctx.state::<u64>("counts");
                let number = counts.get("number")?.unwrap_or(0) + 1;
                let before = counts.scan("at ").map(|entry| Ok(entry?.1)).collect::<Result<Vec<u64>>>()?;
                counts.put("number", &number)?;
                // One digit more would be out of order.
                counts.put(&format!("at {number:06}"), &number)?;
                if number > 3 {
                    counts.delete(&format!("at {:06}", number - 3))?;
                }
                let timer = ctx.timer_due_ms(&format!("timer {}", number - 1))?;
                ctx.set_timer(&format!("timer {number}"), 3_600_000)?;
                ctx.publish("p.log", &(number, call.data::<Option<String>>()?))?;
                Ok(call.reply(&(number, before, timer.is_some()))?)
            }
            "invite" => {
                for session in &ctx.sessions("p.hall") {
                    ctx.subscribe(&session?, "p.room")?;
                }
                Ok(Reply::empty())
            }
            "dismiss" => {
                for session in &ctx.sessions("p.room") {
                    ctx.unsubscribe(&session?, "p.room")?;
                }
                Ok(Reply::empty())
            }
            _ => {
                let ids =
                    |topic| ctx.sessions(topic).into_iter().map(|session| Ok(session?.id)).collect::<Result<Vec<_>>>();
                Ok(call.reply(&(ids("p.hall")?, ids("p.room")?))?)
            }
        }
    }
}

/// Completes the log's commits on a thread of its own, unless it is paused.
struct Driver {
    log: Arc<ModelLog>,
    paused: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    fn new(seed: u64) -> Self {
        let log = Arc::new(ModelLog::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), 0));
        let (paused, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (driven, waits, ends) = (Arc::clone(&log), Arc::clone(&paused), Arc::clone(&ended));
        let run = move || {
            while !ends.load(Acquire) {
                if waits.load(Acquire) || !driven.turn() {
                    std::thread::sleep(Duration::from_micros(50));
                }
            }
            while driven.turn() {}
        };
        Self { log, paused, ended, thread: Some(std::thread::spawn(run)) }
    }

    fn broker(&self) -> Broker {
        let mut config = config::Config::default();
        let history = Some(History { messages: 100_000, ..History::default() });
        let pattern = Pattern::parse("p.*").expect("a pattern");
        let rule = TopicRule { pattern, plugin: Some("p".to_owned()), history, ..TopicRule::default() };
        config.topics = vec![rule];
        let store = Arc::clone(&self.log) as Arc<dyn Store>;
        Broker::builder().config(config).plugin("p", Counter::default).store(store).start().expect("the broker starts")
    }

    fn pause(&self) {
        self.paused.store(true, Release);
    }

    fn resume(&self) {
        self.paused.store(false, Release);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.ended.store(true, Release);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the log's thread ends well");
        }
    }
}

/// What a call that counts is answered.
type Counted = (u64, Vec<u64>, bool);

async fn count(broker: Broker, key: Option<String>) -> std::result::Result<Counted, Failure> {
    let payload = Data::json(&key).expect("a text or nothing");
    let answered = broker.call_with("p.log", "count", Some(payload), key.as_deref()).await?;
    Ok(answered.payload.expect("an answer").parse().expect("what it counted"))
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The messages that are kept, each the number of a call. No key has two.
fn kept(store: &dyn Store) -> Vec<u64> {
    let topic = Topic::parse("p.log").expect("a topic");
    let past = store.read(&topic, Span::After(0), ALL, Now::default()).expect("read");
    let calls = past.messages.iter().map(|message| message.payload.parse::<(u64, Option<String>)>().expect("a call"));
    let (numbers, mut keys): (Vec<u64>, Vec<Option<String>>) = calls.unzip();
    keys.retain(Option::is_some);
    keys.sort_unstable();
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "a key has two messages: {keys:?}");
    numbers
}

#[tokio::test]
async fn hooks_do_not_wait_for_the_commits_of_those_before_them() {
    let driver = Driver::new(1);
    let broker = driver.broker();
    driver.pause();
    let calls: Vec<_> = (0..40).map(|_| tokio::spawn(count(broker.clone(), None))).collect();
    until("all hooks are called while the log completes nothing", || broker.plugins()[0].hooks == 40).await;
    until("the next hook finds the timers", || broker.plugins()[0].timers == 40).await;
    assert!(calls.iter().all(|call| !call.is_finished()), "nothing is answered before it is kept");
    assert_eq!((kept(&*driver.log).len(), broker.topic("p.log").map(|topic| topic.position.offset)), (0, Some(0)));
    driver.resume();
    let mut numbers = Vec::new();
    for call in calls {
        let (number, before, has_timer) = call.await.expect("it runs").expect("it is kept");
        assert!(before.iter().copied().eq(number.saturating_sub(3).max(1)..number), "{number}: {before:?}");
        assert_eq!(has_timer, number > 1);
        numbers.push(number);
    }
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(1..=40) && kept(&*driver.log).into_iter().eq(1..=40));
}

#[tokio::test]
async fn a_key_whose_answer_was_lost_is_known_when_the_request_comes_again() {
    let driver = Driver::new(5);
    let broker = driver.broker();
    driver.pause();
    driver.log.lose_next_answer();
    let key = || Some("key".to_owned());
    let lost = tokio::spawn(count(broker.clone(), key()));
    until("its hook is called and the plugin waits for more", || broker.plugins()[0].timers == 1).await;
    driver.resume();
    assert_eq!(lost.await.expect("it runs").expect_err("lost").code, ErrorCode::Unavailable);
    assert_eq!(count(broker.clone(), key()).await.expect("known"), (1, vec![], false));
    assert_eq!(kept(&*driver.log), [1]);
}

/// Bursts of calls while commits fail; returns how many calls were answered well.
async fn run(seed: u64) -> usize {
    let driver = Driver::new(seed);
    let broker = driver.broker();
    driver.log.set_failures(seed % 4);
    let mut random = seed | 1;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    let (mut by_key, mut answered): (HashMap<String, Counted>, Vec<Counted>) = Default::default();
    for _ in 0..BURSTS {
        let call = |_| {
            let key = (next() % 2 == 0).then(|| format!("key {}", next() % 40));
            (key.clone(), tokio::spawn(count(broker.clone(), key)))
        };
        let calls: Vec<_> = (0..1 + seed % 20).map(call).collect();
        for (key, call) in calls {
            match call.await.expect("it runs") {
                Ok(counted) => match key {
                    Some(key) => assert_eq!(by_key.entry(key).or_insert_with(|| counted.clone()), &counted),
                    None => answered.push(counted),
                },
                Err(failure) => assert_eq!(failure.code, ErrorCode::Unavailable, "{failure}"),
            }
        }
    }
    driver.log.set_failures(0);
    let last = loop {
        match count(broker.clone(), None).await {
            Ok((number, ..)) => break number,
            Err(failure) => assert_eq!(failure.code, ErrorCode::Unavailable, "{failure}"),
        }
    };
    // One chain: each call that is kept has read what the one before it wrote.
    assert!(kept(&*driver.log).into_iter().eq(1..=last), "{:?}", kept(&*driver.log));
    let well = answered.len() + by_key.len();
    answered.extend(by_key.into_values());
    let mut numbers: Vec<u64> = answered.iter().map(|(number, ..)| *number).collect();
    numbers.sort_unstable();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "no number for two requests: {numbers:?}");
    for (number, before, has_timer) in answered {
        assert!(
            number <= last && before.iter().copied().eq(number.saturating_sub(3).max(1)..number),
            "{number}: {before:?}"
        );
        assert_eq!(has_timer, number > 1);
    }
    assert_eq!(driver.log.timers("p").expect("read").len() as u64, last);
    // The last answer may come before the plugin's thread has taken its own timer.
    until("the plugin has the timers that are kept", || broker.plugins()[0].timers as u64 == last).await;
    well
}

#[tokio::test]
async fn whatever_the_log_does_hooks_that_are_kept_have_seen_only_what_is_kept() {
    let mut well = 0;
    for seed in 0..SEEDS {
        well += tokio::spawn(run(seed)).await.unwrap_or_else(|error| panic!("with seed {seed}: {error}"));
    }
    assert!(well > 1_000, "{well}");
}

fn caller(serial: u64) -> CallerSession {
    let member = Member::anonymous(format!("s{serial}"));
    CallerSession::new(SessionKey { shard: 0, slot: 0, serial }, member, None)
}

fn subscribe(broker: &Broker, caller: &CallerSession, topic: &str) -> oneshot::Receiver<RequestResult> {
    let (responder, outcome) = Responder::caller();
    let (topic, options) = (Topic::parse(topic).expect("a topic"), SubscribeOptions::default());
    let pending = broker.begin_subscribe(caller, SubscribeRequest { topic, options, responder });
    assert!(pending.is_none(), "nothing is read for it");
    outcome
}

/// Who is in the hall and in the room, once the answer to that is kept; or what its hook found, if it is not.
async fn members(broker: &Broker) -> (Vec<String>, Vec<String>) {
    let answer = broker.call("p.hall", "members", None).await.expect("it is kept").expect("an answer");
    answer.parse().expect("two lists")
}

fn ids(sessions: &[&str]) -> Vec<String> {
    sessions.iter().map(|session| (*session).to_owned()).collect()
}

#[tokio::test]
async fn members_are_seen_at_once_and_undone_with_the_commit_that_made_them() {
    let driver = Driver::new(3);
    let broker = driver.broker();
    let (one, two) = (caller(1), caller(2));
    subscribe(&broker, &one, "p.hall").await.expect("answered").expect("subscribed");
    assert_eq!(members(&broker).await, (ids(&["s1"]), vec![]));
    let hooks = |broker: &Broker| broker.plugins()[0].hooks;
    let registry = |broker: &Broker, topic: &str, session: &str| {
        let logic = broker.core.plugins.logic("p").expect("the plugin runs");
        logic.has_admitted(&Topic::parse(topic).expect("a topic"), session)
    };

    // A subscribe and an invitation fail.
    driver.pause();
    driver.log.set_failures(8);
    let before = hooks(&broker);
    let subscribed = subscribe(&broker, &two, "p.hall");
    let invited = tokio::spawn({
        let broker = broker.clone();
        async move { broker.call("p.hall", "invite", None).await }
    });
    until("both hooks are called", || hooks(&broker) == before + 2).await;
    until("both are in the room", || registry(&broker, "p.room", "s1") && registry(&broker, "p.room", "s2")).await;
    driver.resume();
    assert_eq!(subscribed.await.expect("answered").expect_err("not kept").code, ErrorCode::Unavailable);
    assert_eq!(invited.await.expect("it runs").expect_err("not kept").code, ErrorCode::Unavailable);
    driver.log.set_failures(0);
    assert_eq!(members(&broker).await, (ids(&["s1"]), vec![]));

    // An invitation is kept, a dismissal is not.
    broker.call("p.hall", "invite", None).await.expect("kept");
    assert_eq!(members(&broker).await, (ids(&["s1"]), ids(&["s1"])));
    let dismiss = || {
        tokio::spawn({
            let broker = broker.clone();
            async move { broker.call("p.hall", "dismiss", None).await }
        })
    };
    driver.pause();
    driver.log.set_failures(8);
    let dismissed = dismiss();
    until("it has left the room", || !registry(&broker, "p.room", "s1")).await;
    driver.resume();
    dismissed.await.expect("it runs").expect_err("not kept");
    driver.log.set_failures(0);
    assert_eq!(members(&broker).await, (ids(&["s1"]), ids(&["s1"])));

    // A session that ends meanwhile is not put back.
    driver.pause();
    driver.log.set_failures(8);
    let dismissed = dismiss();
    until("it has left the room", || !registry(&broker, "p.room", "s1")).await;
    let before = hooks(&broker);
    let (responder, left) = Responder::caller();
    broker.unsubscribe(&one, &Topic::parse("p.room").expect("a topic"), responder);
    let (responder, left_hall) = Responder::caller();
    broker.unsubscribe(&one, &Topic::parse("p.hall").expect("a topic"), responder);
    until("the second end has a hook", || hooks(&broker) == before + 1).await;
    driver.resume();
    dismissed.await.expect("it runs").expect_err("not kept");
    left.await.expect("answered").expect("nobody can refuse an end");
    left_hall.await.expect("answered").expect("nobody can refuse an end");
    driver.log.set_failures(0);
    assert_eq!(members(&broker).await, (vec![], vec![]));
}
