//! Large topics: counts instead of lists, at most one in a second, whatever comes and goes.

use std::time::{Duration, Instant};

use rialto::Codec;
use serde_json::{Value, json};

use super::{attended, follow};
use crate::support::{Client, eventually};

const MEMBERS_MAX: usize = 10;

/// The pushes up to the first that counts so many.
async fn pushes_to(client: &mut Client, count: usize) -> Vec<Value> {
    let mut pushes = Vec::new();
    loop {
        let push = client.push().await;
        let is_it = push["count"] == json!(count);
        pushes.push(push);
        if is_it {
            return pushes;
        }
    }
}

#[tokio::test]
async fn many_are_counted_and_few_are_listed_again() {
    let running = attended(|config| config.limits.presence_members = MEMBERS_MAX);
    let mut witness = running.client(Codec::Json).await;
    follow(&mut witness, "t").await;
    let mut crowd = Vec::new();
    for _ in 0..30 {
        let mut client = running.client(Codec::MessagePack).await;
        client.subscribe("t").await;
        crowd.push(client);
    }
    let pushes = pushes_to(&mut witness, 31).await;
    let joins = pushes.iter().filter(|push| push["type"] == "join").count();
    assert_eq!(joins, MEMBERS_MAX - 1, "until there are too many");
    assert!(pushes[joins..].iter().all(|push| push["type"] == "presence" && push.get("members").is_none()));
    let asked = witness.ok(json!({"type": "presence", "topic": "t"})).await;
    assert_eq!((&asked["count"], asked.get("members")), (&json!(31), None));
    let mut late = running.client(Codec::Json).await;
    let reply = follow(&mut late, "t").await;
    assert_eq!((&reply["count"], reply.get("members")), (&json!(32), None));
    late.close().await;
    for client in crowd.drain(3..) {
        client.close().await;
    }
    let mut pushes = pushes_to(&mut witness, 4).await;
    let last = pushes.pop().unwrap();
    if last.get("members").is_none() {
        panic!("{last} and {pushes:?}");
    }
    assert_eq!(last["members"].as_array().unwrap().len(), 4);
    crowd.pop().unwrap().close().await;
    assert_eq!(witness.push().await["type"], "leave", "from then on each is told again");
}

#[tokio::test]
async fn a_crowd_that_comes_back_at_once_costs_few_frames() {
    let running = attended(|config| config.limits.presence_members = MEMBERS_MAX);
    let mut witness = running.client(Codec::Json).await;
    follow(&mut witness, "t").await;
    let begun = Instant::now();
    for _ in 0..3 {
        let mut crowd = Vec::new();
        for _ in 0..200 {
            let mut client = running.client(Codec::Json).await;
            client.ok(json!({"type": "subscribe", "topic": "t", "presence": true})).await;
            crowd.push(client);
        }
        drop(crowd);
        eventually("all have left", || running.broker.metrics().presence_members == 1).await;
    }
    // Once it is small again it is listed, by a push of its own.
    let mut pushes = 0;
    loop {
        let push = tokio::time::timeout(Duration::from_millis(1_500), witness.push()).await;
        let Ok(push) = push else { break };
        pushes += 1;
        assert!(["join", "leave", "presence"].contains(&push["type"].as_str().unwrap()));
    }
    // Each crowd passes from listed to counted and back; beyond that there is one count in a second.
    let most = 3 * 4 * MEMBERS_MAX as u64 + begun.elapsed().as_secs() + 12;
    assert!(pushes <= most, "{pushes} pushes, {most} expected at most");
    assert_eq!(running.broker.presence("t").unwrap().members.unwrap().len(), 1);
}
