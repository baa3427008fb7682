//! Random subscriptions and publishes against a model: who gets what, by the letter of the patterns.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rialto::Codec;
use rialto::topic::{Pattern, Topic};
use serde_json::{Value, json};

use crate::patterns::subscriber::Subscriber;
use crate::support::Running;

#[derive(Clone, Debug)]
enum Step {
    Subscribe(usize, String),
    Unsubscribe(usize, usize),
    Publish(usize, String, bool),
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = "([ab*]\\.){0,2}[ab*>]";
    let step = prop_oneof![
        5 => (0..4_usize, name).prop_map(|(who, name)| Step::Subscribe(who, name)),
        3 => (0..4_usize, 0..8_usize).prop_map(|(who, which)| Step::Unsubscribe(who, which)),
        8 => (0..4_usize, "([ab]\\.){0,3}[ab]", any::<bool>()).prop_map(|(who, topic, echo)| Step::Publish(who, topic, echo)),
        1 => (0..4_usize).prop_map(Step::Leave),
    ];
    prop::collection::vec(step, 1..120)
}

/// Only the messages of one topic have an order.
fn by_topic(mut messages: Vec<(String, u64, Value)>) -> Vec<(String, u64, Value)> {
    messages.sort_by(|one, other| one.0.cmp(&other.0));
    messages
}

async fn check(steps: Vec<Step>) {
    let running = Running::start();
    let codec = |who: usize| Codec::ALL[who / 2];
    let mut sessions = Vec::new();
    for who in 0..4 {
        sessions.push(Subscriber::of(&running, codec(who), &[]).await);
    }
    let mut subscribed = vec![BTreeSet::<String>::new(); 4];
    let mut expected = vec![Vec::new(); 4];
    let mut offsets = BTreeMap::<String, u64>::new();
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::Subscribe(who, name) => {
                sessions[who].subscribe(&name).await;
                subscribed[who].insert(name);
            }
            Step::Unsubscribe(who, which) => {
                let Some(name) = subscribed[who].iter().nth(which).cloned() else { continue };
                sessions[who].unsubscribe(&name).await;
                subscribed[who].remove(&name);
            }
            Step::Publish(who, topic, echo) => {
                let request = json!({"type": "publish", "topic": topic, "data": n, "echo": echo});
                let offset = offsets.entry(topic.clone()).or_default();
                *offset += 1;
                assert_eq!(sessions[who].ok(request).await["position"]["offset"], *offset);
                let parsed = Topic::parse(&topic).unwrap();
                for other in (0..4).filter(|other| echo || *other != who) {
                    if subscribed[other].iter().any(|name| Pattern::parse(name).unwrap().matches(&parsed)) {
                        expected[other].push((topic.clone(), *offset, json!(n)));
                    }
                }
            }
            Step::Leave(who) => {
                assert_eq!(by_topic(sessions[who].arrived().await), by_topic(std::mem::take(&mut expected[who])));
                subscribed[who].clear();
                sessions[who] = Subscriber::of(&running, codec(who), &[]).await;
            }
        }
    }
    let patterns: BTreeSet<&String> = subscribed.iter().flatten().filter(|name| name.contains(['*', '>'])).collect();
    let counted = || (running.broker.metrics().subscriptions, running.broker.metrics().patterns);
    let held = (subscribed.iter().map(BTreeSet::len).sum::<usize>() as u64, patterns.len() as u64);
    crate::support::eventually("as many subscriptions and patterns as are held", || counted() == held).await;
    for (session, expected) in sessions.iter_mut().zip(expected) {
        assert_eq!(by_topic(session.arrived().await), by_topic(expected));
    }
    drop(sessions);
    running.becomes_empty().await;
    assert_eq!(running.broker.metrics().patterns, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everybody_gets_what_they_are_subscribed_to_once_and_in_order(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(check(steps));
    }
}
