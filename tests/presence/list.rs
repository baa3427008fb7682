//! Who is there: the list of an answer, and the pushes that keep it true.

use rialto::{Codec, ErrorCode};
use serde_json::json;

use super::{attended, follow, member};
use crate::support::{Running, eventually};

#[tokio::test]
async fn the_answer_lists_all_and_pushes_tell_who_comes_and_goes() {
    let running = attended(|_| {});
    let mut first = running.client(Codec::Json).await;
    let reply = follow(&mut first, "t").await;
    assert_eq!((&reply["count"], &reply["members"]), (&json!(1), &json!([member(&first)])), "itself included");
    let mut second = running.client(Codec::MessagePack).await;
    // Whether it wants to be told or not, it is there.
    let reply = second.ok(json!({"type": "subscribe", "topic": "t"})).await;
    assert!(reply.get("count").is_none() && reply.get("members").is_none(), "{reply}");
    assert_eq!(first.push().await, json!({"type": "join", "topic": "t", "member": member(&second)}));
    let reply = follow(&mut second, "t").await;
    assert_eq!(reply["members"], json!([member(&first), member(&second)]), "in the order in which they came");
    let asked = second.ok(json!({"type": "presence", "topic": "t"})).await;
    assert_eq!((&asked["count"], &asked["members"]), (&json!(2), &reply["members"]));
    first.ok(json!({"type": "unsubscribe", "topic": "t"})).await;
    assert_eq!(second.push().await, json!({"type": "leave", "topic": "t", "member": member(&first)}));
    first.publish("t", json!("from outside")).await;
    assert_eq!(second.message().await["data"], "from outside");
    let mut third = running.client(Codec::Json).await;
    third.subscribe("t").await;
    assert_eq!(second.push().await["type"], "join");
    first.ping().await;
    assert!(first.take_all().is_empty(), "who has left is told nothing");
    let counted = running.broker.metrics();
    assert_eq!((counted.presence_members, counted.subscriptions), (2, 2), "to be told is no subscription of its own");
    assert_eq!(running.broker.presence("t").unwrap().count, 2);
}

#[tokio::test]
async fn however_a_session_ends_it_has_left() {
    let running = attended(|config| {
        config.limits.ping_ms = 100;
        config.limits.pong_ms = 200;
    });
    let mut witness = running.client(Codec::Json).await;
    follow(&mut witness, "t").await;
    let closing = running.client(Codec::Json).await;
    let cut = running.client(Codec::MessagePack).await;
    let refused = running.client(Codec::Json).await;
    let (mut sessions, mut gone) = (Vec::new(), Vec::new());
    for mut client in [closing, cut, refused] {
        client.subscribe("t").await;
        gone.push(witness.push().await["member"].clone());
        assert_eq!(gone.last(), Some(&member(&client)));
        sessions.push(client);
    }
    // A peer that no longer answers, as if its cable had been pulled.
    let mut silent = running.raw(Codec::Json).await;
    silent.request(&json!({"type": "subscribe", "id": 1, "topic": "t"})).await;
    gone.push(witness.push().await["member"].clone());
    let mut refused = sessions.pop().unwrap();
    drop(sessions.pop());
    sessions.pop().unwrap().close().await;
    refused.send_bytes(vec![b'x'; 70_000]).await;
    let mut left = Vec::new();
    while left.len() < 4 {
        let push = witness.push().await;
        assert_eq!(push["type"], "leave", "{push}");
        left.push(push["member"].clone());
    }
    for member in &gone {
        assert!(left.contains(member), "{member} in {left:?}");
    }
    witness.close().await;
    running.becomes_empty().await;
    eventually("nobody is present", || running.broker.metrics().presence_members == 0).await;
    eventually("the topic is forgotten", || running.broker.metrics().topics == 0).await;
}

#[tokio::test]
async fn in_a_bulk_the_list_is_true_when_it_is_told() {
    let running = attended(|_| {});
    let mut other = running.client(Codec::Json).await;
    other.subscribe("a").await;
    let mut client = running.client(Codec::Json).await;
    let topics = json!([{"topic": "a", "presence": true}, {"topic": "b", "presence": true}, {"topic": "c"}]);
    let reply = client.ok(json!({"type": "subscribe", "topics": topics})).await;
    let items = &reply["topics"];
    assert_eq!(items[0]["members"], json!([member(&other), member(&client)]));
    assert_eq!((&items[1]["count"], items[2].get("count")), (&json!(1), None));
    other.subscribe("b").await;
    assert_eq!(client.push().await, json!({"type": "join", "topic": "b", "member": member(&other)}));
}

#[tokio::test]
async fn subscribing_again_changes_what_is_told() {
    let running = attended(|_| {});
    let mut client = running.client(Codec::Json).await;
    let mut other = running.client(Codec::Json).await;
    for _ in 0..3 {
        follow(&mut client, "t").await;
    }
    other.subscribe("t").await;
    assert_eq!(client.push().await["type"], "join");
    client.subscribe("t").await;
    other.ok(json!({"type": "unsubscribe", "topic": "t"})).await;
    client.ping().await;
    assert!(client.take_all().is_empty(), "it no longer asks");
    let reply = follow(&mut client, "t").await;
    assert_eq!(reply["count"], 1);
}

#[tokio::test]
async fn topics_whose_rule_does_not_want_it_keep_none() {
    let running = Running::start();
    let mut client = running.client(Codec::Json).await;
    client.refused(json!({"type": "subscribe", "topic": "t", "presence": true}), "unavailable").await;
    client.refused(json!({"type": "presence", "topic": "t"}), "unavailable").await;
    client.refused(json!({"type": "presence"}), "bad_request").await;
    client.refused(json!({"type": "presence", "topic": "a..b"}), "bad_request").await;
    client.subscribe("t").await;
    assert_eq!(running.broker.presence("t").unwrap_err().code, ErrorCode::Unavailable);
    assert_eq!(running.broker.metrics().presence_members, 0);
}
