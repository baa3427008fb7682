//! What every store and its log promise, as one test for all of them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use rialto_protocol::{Payload, Position};

use super::{
    Account, Batch, Begun, Digest, End, KeptKey, KeptMessage, KeptTimer, Key, KeyOwner, KeyRecord, Outcome, Page,
    Removal, Retention, Scope, Span, Store, Writes,
};
use crate::clock::Now;
use crate::identity::StreamId;
use crate::message::{Draft, Message};
use crate::shares::Share;
use crate::topic::Topic;

/// A page that holds everything.
pub(crate) const ALL: Page = Page { messages: usize::MAX, bytes: usize::MAX };

const RETENTION: Retention = Retention { messages: 1_000, bytes: 1 << 20, age_ms: 10_000 };

pub(crate) fn topic(name: &str) -> Topic {
    Topic::parse(name).expect("a topic")
}

/// This many milliseconds after both clocks began.
pub(crate) fn at(now_ms: u64) -> Now {
    Now { unix_ms: now_ms, monotonic_ms: now_ms }
}

/// A batch with one message.
pub(crate) fn message(topic: &Topic, epoch: &str, offset: u64, bytes: usize, now_ms: u64) -> Batch {
    let draft = Draft { payload: Payload::bytes(vec![0; bytes]), from: None, except: None };
    let message = Arc::new(Message::new(StreamId::topic(1), topic.clone(), offset, 0, draft));
    let kept = KeptMessage { message, epoch: epoch.into(), retention: RETENTION, account: Account::of_test() };
    Batch { messages: vec![kept], ..Batch::at(at(now_ms)) }
}

/// Checks a store; `open` returns an empty one whose messages and keys may take so many bytes.
pub(crate) fn check(open: impl Fn(usize) -> Arc<dyn Store>) {
    order(&*open(1 << 20));
    state(&*open(1 << 20));
    timers(&*open(1 << 20));
    messages(&*open(1 << 20));
    removals(&*open(1 << 20));
    keys(&*open(1 << 20));
    together(&*open(1 << 20));
    bounded(&*open(1 << 16));
}

/// Commits are complete in the order in which they were begun, each once it is kept; one with nothing in it too.
fn order(store: &dyn Store) {
    const COMMITS: u64 = 30;
    let one = topic("a");
    let (complete, all_complete) = channel();
    let mut under_way = 0;
    for offset in 1..=COMMITS {
        for batch in [message(&one, "e", offset, 1, offset), Batch::at(at(offset))] {
            match store.begin(batch) {
                Begun::Complete(result) => complete.send((offset, result)).expect("awaited"),
                Begun::Pending(ticket) => {
                    under_way += 1;
                    let complete = complete.clone();
                    ticket.then(move |result| complete.send((offset, result)).expect("awaited"));
                }
            }
        }
    }
    assert!(under_way == 0 || !store.completes_at_once());
    for offset in 1..=COMMITS {
        for _ in 0..2 {
            let next = all_complete.recv_timeout(Duration::from_secs(20)).expect("each commit is completed");
            assert_eq!(next, (offset, Ok(())));
            assert!(store.end(&one).expect("read").is_some_and(|end| end.last >= offset), "complete before it is kept");
        }
    }
    assert!(all_complete.try_recv().is_err(), "each commit is completed once");
}

fn write(namespace: &str, writes: &[(&str, Option<&str>)]) -> Batch {
    let write = |(key, value): &(&str, Option<&str>)| ((*key).to_owned(), value.map(|value| value.as_bytes().into()));
    let values: BTreeMap<_, _> = writes.iter().map(write).collect();
    let timers = BTreeMap::new();
    Batch { state: Some(Writes { namespace: namespace.into(), values, timers }), ..Batch::at(at(0)) }
}

fn state(store: &dyn Store) {
    store.commit(write("chat", &[("b", Some("2")), ("a", Some("1"))])).expect("kept");
    store.commit(write("other", &[("c", Some("3"))])).expect("kept");
    let key = |from| store.next("chat", from).expect("read").map(|(key, _)| key);
    assert_eq!(key(Bound::Included("")).as_deref(), Some("a"));
    assert_eq!(key(Bound::Excluded("a")).as_deref(), Some("b"));
    assert_eq!(key(Bound::Excluded("b")), None);
    assert_eq!(store.get("chat", "b").expect("read").as_deref(), Some(&b"2"[..]));
    assert_eq!(store.state_bytes("chat"), Ok(2 * 96 + 4));
    store.commit(write("chat", &[("b", None)])).expect("kept");
    assert_eq!((store.get("chat", "b"), store.state_bytes("chat")), (Ok(None), Ok(96 + 2)));
}

fn timers(store: &dyn Store) {
    let timer = |due_unix_ms, text: &str| KeptTimer { due_unix_ms, payload: Payload::json(text).ok() };
    let set = |namespace: &str, writes: &[(&str, Option<KeptTimer>)]| {
        let timers = writes.iter().map(|(name, timer)| ((*name).to_owned(), timer.clone())).collect();
        let writes = Writes { namespace: namespace.into(), values: BTreeMap::new(), timers };
        store.commit(Batch { state: Some(writes), ..Batch::at(at(0)) }).expect("kept");
    };
    set("chat", &[("b", Some(timer(2, "two"))), ("a", Some(timer(9, "nine")))]);
    set("chat/chat.room", &[("c", Some(timer(3, "three")))]);
    set("chats", &[("d", Some(timer(4, "four")))]);
    set("chat", &[("a", Some(timer(1, "one"))), ("nothing", None)]);
    let all = |namespace: &str| {
        let all = store.timers(namespace).expect("read").into_iter();
        all.map(|(namespace, name, timer)| format!("{namespace} {name} {}", timer.due_unix_ms)).collect::<Vec<_>>()
    };
    assert_eq!(all("chat"), ["chat a 1", "chat b 2", "chat/chat.room c 3"]);
    set("chat", &[("a", None), ("b", None)]);
    assert_eq!((all("chat"), all("other")), (vec!["chat/chat.room c 3".to_owned()], vec![]));
}

fn messages(store: &dyn Store) {
    let (one, other) = (topic("a"), topic("b"));
    for offset in 1..=5 {
        store.commit(message(&one, "e", offset, 1, offset)).expect("kept");
    }
    assert_eq!(store.end(&one), Ok(Some(End { epoch: "e".into(), last: 5 })));
    assert_eq!(store.end(&other), Ok(None));
    let read = |span, messages| {
        let past = store.read(&one, span, Page { messages, bytes: usize::MAX }, at(5)).expect("read");
        (past.messages.iter().map(|message| message.offset).collect::<Vec<_>>(), past.more)
    };
    assert_eq!(read(Span::After(1), 2), (vec![2, 3], true));
    assert_eq!(read(Span::After(3), 2), (vec![4, 5], false));
    assert_eq!(read(Span::After(9), 2), (vec![], false));
    assert_eq!(read(Span::Before(4), 2), (vec![2, 3], true));
    assert_eq!(read(Span::Before(u64::MAX), 9), (vec![1, 2, 3, 4, 5], false));
    assert_eq!(store.read(&one, Span::After(0), ALL, at(5)).expect("read").first, Some(1));
    let past = store.read(&one, Span::After(0), ALL, at(10_003)).expect("read");
    assert_eq!((past.first, past.messages.len()), (Some(3), 3), "two are too old");
}

/// What is removed has a tombstone at its offset; whether it was there is known when the commit is complete.
fn removals(store: &dyn Store) {
    let one = topic("a");
    let remove = |topic: &Topic, epoch: &str, offset| {
        let removal = Removal::new(topic.clone(), epoch.into(), offset);
        store.commit(Batch { removals: vec![removal.clone()], ..Batch::at(at(9)) }).expect("kept");
        removal.was_kept()
    };
    assert!(!remove(&one, "e", 1), "nothing is kept of the topic");
    for offset in 1..=4 {
        store.commit(message(&one, "e", offset, 10, offset)).expect("kept");
    }
    assert!(remove(&one, "e", 2) && remove(&one, "e", 4));
    assert!(!remove(&one, "e", 2), "it is removed already");
    assert!(
        !remove(&one, "other", 3) && !remove(&one, "e", 0) && !remove(&one, "e", 5) && !remove(&topic("b"), "e", 1)
    );
    let kept = || {
        let past = store.read(&one, Span::After(0), ALL, at(9)).expect("read");
        past.messages.iter().map(|message| (message.offset, message.is_tombstone())).collect::<Vec<_>>()
    };
    assert_eq!(kept(), [(1, false), (2, true), (3, false), (4, true)]);
    assert_eq!(store.end(&one), Ok(Some(End { epoch: "e".into(), last: 4 })));
    // In one batch, a message is kept before it is removed.
    let removal = Removal::new(one.clone(), "e".into(), 5);
    store.commit(Batch { removals: vec![removal.clone()], ..message(&one, "e", 5, 10, 9) }).expect("kept");
    assert_eq!((removal.was_kept(), kept().last()), (true, Some(&(5, true))));
}

fn key(text: &str, position: Option<u64>) -> KeptKey {
    let position = position.map(|offset| Position { epoch: "e".into(), offset });
    KeptKey {
        scope: Scope::Topic(topic("a")),
        key: Key { owner: KeyOwner::Embedder, text: text.into() },
        record: KeyRecord { digest: Digest::of(None, None), outcome: Outcome::Published(position) },
        keys_ms: 100,
        share: Some(Share::of_test()),
    }
}

fn keys(store: &dyn Store) {
    for (text, now_ms) in [("k1", 0), ("k2", 1), ("k3", 2)] {
        store.commit(Batch { keys: vec![key(text, None)], ..Batch::at(at(now_ms)) }).expect("kept");
    }
    let recall = |scope: Scope, text: &str, now_ms| {
        store.recall(&scope, &Key { owner: KeyOwner::Embedder, text: text.into() }, at(now_ms)).expect("read").is_some()
    };
    let scope = || Scope::Topic(topic("a"));
    assert!(recall(scope(), "k1", 100) && !recall(scope(), "k1", 101), "for 100 ms");
    assert!(recall(scope(), "k2", 101) && !recall(scope(), "k2", 102));
    assert!(!recall(Scope::Plugin("a".into()), "k3", 2), "another scope");
    store.forget_old(at(103));
    assert!(!recall(scope(), "k3", 50), "forgotten");
}

fn together(store: &dyn Store) {
    let mut batch = message(&topic("a"), "e", 1, 1, 0);
    batch.keys.push(key("k", Some(1)));
    batch.state = write("chat", &[("a", Some("1"))]).state;
    store.commit(batch).expect("kept");
    assert_eq!(store.end(&topic("a")).expect("read").map(|end| end.last), Some(1));
    assert!(
        store
            .recall(&Scope::Topic(topic("a")), &Key { owner: KeyOwner::Embedder, text: "k".into() }, at(0))
            .expect("read")
            .is_some()
    );
    assert!(store.get("chat", "a").expect("read").is_some());
}

/// However many topics there are, what they keep is bounded, and the newest is there.
fn bounded(store: &dyn Store) {
    let mut kept = 0;
    for index in 0..10_000 {
        store.commit(message(&topic(&format!("t{index}")), "e", 1, 10, index)).expect("kept");
    }
    for index in 0..10_000 {
        kept += usize::from(store.end(&topic(&format!("t{index}"))).expect("read").is_some());
    }
    assert!(kept > 0 && kept < 1_000, "{kept}");
    assert!(store.end(&topic("t9999")).expect("read").is_some());
    assert!(store.end(&topic("t0")).expect("read").is_none());
}
