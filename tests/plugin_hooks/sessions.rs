//! Sessions as plugins see and move them.

use rialto::Codec;
use rialto::config::Permission;
use serde_json::{Value, json};

use crate::plugin_hooks::puppet::{id, running, steps, subscribed};
use crate::support::eventually;
use crate::support::token::{auth, token_of};

#[tokio::test]
async fn a_native_plugin_is_told_roles_and_info() {
    let running = running(|settings, _| {
        settings.auth = Some(auth(true));
        settings.topics[0].call = Some(Permission::parse(["anyone"]).unwrap());
    });
    let who = json!({"type": "call", "topic": "p.a", "method": "who"});
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        let nobody = json!({"user": null, "roles": [], "is_admin": false, "info": null});
        assert_eq!(client.ok(who.clone()).await["data"], nobody);
        let info = json!({"name": "Ann", "since": 2026});
        let token = token_of("ann", json!({"roles": ["staff", "admin"], "info": info}));
        client.ok(json!({"type": "connect", "token": token})).await;
        let ann = json!({"user": "ann", "roles": ["admin", "staff"], "is_admin": true, "info": info});
        assert_eq!(client.ok(who.clone()).await["data"], ann);
        // A token of the same user with another role takes the place of the first.
        client.ok(json!({"type": "connect", "token": token_of("ann", json!({"roles": ["guest"]}))})).await;
        let ann = json!({"user": "ann", "roles": ["guest"], "is_admin": false, "info": null});
        assert_eq!(client.ok(who.clone()).await["data"], ann);
    }
}

#[tokio::test]
async fn a_plugin_lists_who_is_on_its_topics() {
    let running = running(|_, _| {});
    let mut one = subscribed(&running, Codec::Json, "p.a").await;
    let two = subscribed(&running, Codec::MessagePack, "p.a").await;
    let mut ids = [id(&one), id(&two)];
    ids.sort();
    let read = one.ok(steps(json!([{"sessions": "p.a"}, {"count": "p.a"}, {"count": "p.b"}]))).await;
    assert_eq!(read["data"], json!([ids, 2, 0]));
    two.close().await;
    let mut watcher = subscribed(&running, Codec::Json, "p.left").await;
    one.ok(json!({"type": "unsubscribe", "topic": "p.a"})).await;
    let left = watcher.message().await;
    assert_eq!(left["data"], json!({"session": id(&one), "topic": "p.a", "left": 0}));
}

#[tokio::test]
async fn what_on_subscribe_sends_comes_after_the_answer_and_before_any_message() {
    let running = running(|_, _| {});
    let mut client = running.client(Codec::MessagePack).await;
    let asked = client.ask(json!({"type": "subscribe", "topic": "p.a"})).await;
    client.ask(json!({"type": "publish", "topic": "p.a", "data": "first"})).await;
    client.reply(asked).await;
    assert_eq!(client.take_all(), Vec::<Value>::new(), "the answer comes first");
    let snapshot = client.push().await;
    assert_eq!(snapshot, json!({"type": "x-snapshot", "topic": "p.a", "others": 0}));
    assert_eq!(client.message().await["data"], "first");
}

#[tokio::test]
async fn a_session_is_brought_into_topics_and_leaves_them_when_it_ends() {
    let running = running(|_, _| {});
    let mut watcher = subscribed(&running, Codec::Json, "p.left").await;
    let mut client = subscribed(&running, Codec::Json, "p.a").await;
    let own = id(&client);
    let all = json!([{"subscribe": [own, "p.b"]}, {"subscribe": [own, "open.c"]}, {"publish": ["p.b", "seen"]}]);
    client.ok(steps(all)).await;
    assert_eq!(client.message().await["data"], "seen", "who is brought in before a message gets it");
    watcher.publish("open.c", json!("open")).await;
    assert_eq!(client.message().await["data"], "open");
    let past = client.ok(json!({"type": "history", "topic": "p.b"})).await;
    assert_eq!(past["messages"].as_array().unwrap().len(), 1, "it may look around there");
    client.ok(json!({"type": "unsubscribe", "topic": "open.c"})).await;
    client.close().await;
    let mut left: Vec<Value> = vec![watcher.message().await["data"].clone(), watcher.message().await["data"].clone()];
    left.sort_by_key(|left| left["topic"].to_string());
    let gone = |topic: &str| json!({"session": own, "topic": topic, "left": 0});
    assert_eq!(left, [gone("p.a"), gone("p.b")]);
    let subscriptions = || running.broker.metrics().subscriptions;
    eventually("only the watcher is left", || subscriptions() == 1).await;
}

#[tokio::test]
async fn a_session_that_is_taken_out_hears_it_and_sees_no_more() {
    let running = running(|_, _| {});
    let mut client = subscribed(&running, Codec::Json, "p.a").await;
    let mut other = subscribed(&running, Codec::Json, "p.b").await;
    other.ok(steps(json!([{"unsubscribe": [id(&client), "p.a"]}]))).await;
    let push = client.push().await;
    assert_eq!((&push["type"], &push["topic"]), (&json!("unsubscribed"), &json!("p.a")));
    other.publish("p.a", json!("not for it")).await;
    client.refused(json!({"type": "history", "topic": "p.a"}), "forbidden").await;
    client.ping().await;
    assert_eq!(client.take_all(), Vec::<Value>::new());
    let read = other.ok(steps(json!([{"count": "p.a"}]))).await;
    assert_eq!(read["data"], json!([0]));
}

#[tokio::test]
async fn a_plugin_reaches_only_sessions_that_it_knows() {
    let running = running(|_, _| {});
    let mut stranger = running.client(Codec::Json).await;
    stranger.subscribe("open.a").await;
    let mut client = subscribed(&running, Codec::Json, "p.a").await;
    let whom = id(&stranger);
    for step in [
        json!({"send": [whom, {"type": "x-note"}]}),
        json!({"subscribe": [whom, "p.a"]}),
        json!({"unsubscribe": [whom, "open.a"]}),
        json!({"disconnect": [whom, "go"]}),
        json!({"publish_except": [whom, "p.a", 1]}),
    ] {
        client.refused(steps(json!([step])), "plugin_failed").await;
        assert!(running.broker.plugins()[0].last_failure.as_ref().unwrap().text.contains("no session"), "{step}");
    }
    stranger.ping().await;
    assert_eq!(stranger.take_all(), Vec::<Value>::new());
    // Who calls is known as long as the call lasts.
    let own = json!([{"send": [whom, {"type": "x-note", "n": 1}]}]);
    stranger.ok(steps(own)).await;
    assert_eq!(stranger.push().await, json!({"type": "x-note", "n": 1}));
}

#[tokio::test]
async fn a_message_can_leave_one_session_out() {
    let running = running(|_, _| {});
    let mut one = subscribed(&running, Codec::Json, "p.a").await;
    let mut two = subscribed(&running, Codec::Json, "p.a").await;
    one.ok(steps(json!([{"publish_except": [id(&one), "p.a", "for others"]}, {"publish": ["p.a", "for all"]}]))).await;
    assert_eq!(two.message().await["data"], "for others");
    assert_eq!(
        (two.message().await["data"].clone(), one.message().await["data"].clone()),
        (json!("for all"), json!("for all"))
    );
}

#[tokio::test]
async fn frames_of_plugins_begin_with_x() {
    let running = running(|_, _| {});
    let mut client = subscribed(&running, Codec::Json, "p.a").await;
    let own = id(&client);
    for frame in [json!({"type": "message"}), json!({"kind": "x-a"}), json!(["x-a"]), json!("x-a"), json!({"type": 1})]
    {
        client.refused(steps(json!([{"send": [own, frame]}])), "plugin_failed").await;
    }
    client.refused(steps(json!([{"text": [own, "raw"]}])), "plugin_failed").await;
}
