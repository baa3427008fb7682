//! A hook is a transaction: whatever ends it, and between whichever two of its effects, nothing of it exists.

use rialto::Codec;
use serde_json::{Value, json};

use crate::plugin_hooks::puppet::{counted, id, running, steps, subscribed};
use crate::support::{Client, Running};

/// One effect of each kind; `SELF` and `OTHER` stand for sessions.
fn effects(own: &str, other: &str) -> Vec<Value> {
    vec![
        json!({"put": ["new", 1]}),
        json!({"publish": ["p.a", "a message"]}),
        json!({"remove": ["p.a", 1]}),
        json!({"timer": ["new", 3_600_000]}),
        json!({"send": [own, {"type": "x-note"}]}),
        json!({"publish": ["open.b", "a foreign message"]}),
        json!({"subscribe": [own, "p.brought"]}),
        json!({"delete": "old"}),
        json!({"cancel": "old"}),
        json!({"unsubscribe": [other, "p.a"]}),
        json!({"put": ["old", 2]}),
        json!({"disconnect": [other, "go"]}),
    ]
}

/// What there is in the world that the effects could change.
async fn world(running: &Running, client: &mut Client) -> Value {
    let read = json!([{"get": "new"}, {"get": "old"}, {"due": "new"}, {"count": "p.a"}, {"count": "p.brought"}]);
    let read = client.ok(steps(read)).await["data"].clone();
    let position = |topic: &str| running.broker.topic(topic).map(|status| status.position.offset);
    let counted = counted(running);
    let kept = counted.history_messages;
    let plugins = (counted.plugin_timers, counted.subscriptions, counted.sessions);
    json!([read, position("p.a"), position("open.b"), plugins, kept])
}

#[tokio::test]
async fn whatever_ends_a_hook_between_any_two_effects_leaves_nothing_of_it() {
    let running = running(|_, _| {});
    let mut client = subscribed(&running, Codec::Json, "p.a").await;
    let mut other = subscribed(&running, Codec::MessagePack, "p.a").await;
    client.subscribe("open.b").await;
    client.ok(steps(json!([{"put": ["old", 1]}, {"timer": ["old", 3_600_000]}, {"publish": ["p.a", "old"]}]))).await;
    assert_eq!(
        (client.message().await["offset"].clone(), other.message().await["offset"].clone()),
        (json!(1), json!(1))
    );
    let effects = effects(&id(&client), &id(&other));
    let before = world(&running, &mut client).await;
    let endings = [
        (json!({"panic": "on purpose"}), "plugin_failed"),
        (json!({"fail": "on purpose"}), "plugin_failed"),
        (json!({"reject": "on purpose"}), "rejected"),
        (json!({"flood": 2_000}), "plugin_failed"),
        (json!({"send": ["nobody", {"type": "x-note"}]}), "plugin_failed"),
        (json!({"publish": ["forbidden.c", 1]}), "plugin_failed"),
    ];
    for (ending, code) in &endings {
        for place in 0..=effects.len() {
            let mut all = effects.clone();
            all.insert(place, ending.clone());
            client.refused(steps(json!(all)), code).await;
            let publish = json!({"type": "publish", "topic": "p.a", "data": all});
            client.refused(publish, code).await;
            assert_eq!(world(&running, &mut client).await, before, "{ending} before effect {place}");
        }
    }
    client.ping().await;
    other.ping().await;
    assert_eq!((client.take_all(), other.take_all()), (vec![], vec![]), "nobody hears anything");

    // And all of it where nothing ends the hook.
    client.ok(steps(json!(effects))).await;
    assert_eq!(other.closed().await, Some(4003));
    let told: Vec<Value> = other.take_all();
    let kinds: Vec<&str> = told.iter().map(|push| push["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message", "removed", "unsubscribed", "closing"], "{told:?}");
    assert_eq!((&told[2]["topic"], &told[2]["code"]), (&json!("p.a"), &json!("rejected")));
    let pushes = [client.push().await, client.push().await, client.push().await, client.push().await];
    let kinds = pushes.each_ref().map(|push| push["type"].as_str().unwrap());
    assert_eq!(kinds, ["message", "removed", "x-note", "message"]);
    assert_eq!([&pushes[0]["data"], &pushes[3]["data"]], [&json!("a message"), &json!("a foreign message")]);
    let read = client.ok(steps(json!([{"get": "new"}, {"get": "old"}, {"count": "p.brought"}]))).await;
    assert_eq!(read["data"], json!([1, 2, 1]));
    assert_eq!(counted(&running).plugin_timers, 1, "one was set, one was cancelled");
}

#[tokio::test]
async fn an_answer_that_is_not_valid_discards_everything_too() {
    let running = running(|_, plugin| plugin.output_bytes = 4_096);
    let mut client = subscribed(&running, Codec::Json, "p.a").await;
    // What it reads is more than it may say.
    let all = json!([{"put": ["new", "x".repeat(3_000)]}, {"publish": ["p.a", 1]}, {"get": "new"}]);
    client.refused(steps(all), "plugin_failed").await;
    let read = client.ok(steps(json!([{"get": "new"}]))).await;
    assert_eq!(read["data"], json!([null]));
    assert_eq!(client.take_all(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_panic_is_told_with_its_text_file_and_line() {
    let running = running(|_, _| {});
    let mut client = running.client(Codec::Json).await;
    let error = client.refused(steps(json!([{"panic": "the till is empty"}])), "plugin_failed").await;
    assert!(!error.to_string().contains("till"), "that is for the operator: {error}");
    let status = &running.broker.plugins()[0];
    let failure = status.last_failure.as_ref().unwrap();
    assert_eq!((failure.hook.as_str(), failure.topic.as_deref()), ("on-call", Some("p.a")));
    let (start, end) = failure.text.split_once("puppet.rs:").unwrap();
    assert!(start.starts_with("trap: panicked at tests/plugin_hooks/"), "{}", failure.text);
    assert!(end.ends_with(": the till is empty") && end.as_bytes()[0].is_ascii_digit(), "{}", failure.text);
    assert_eq!((status.failures, status.health.as_str()), (1, "running"));
    assert_eq!(status.serves, ["call steps [step]"]);
}
