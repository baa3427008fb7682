//! One failure of a hook is one `plugin_failed` that names its kind; the plugin works again on the next message.

use rialto::{Codec, ErrorCode, Payload};
use serde_json::{Value, json};

use crate::plugins::hosted::{Hosted, call, publish};
use crate::plugins::letters::{ANYWHERE, DEADLINE, RETURNED, TRAP};
use crate::support::{Client, Running};

/// Checks one failed request and that everything goes on.
async fn fails(running: &Running, client: &mut Client, request: Value, kind: &str, what: &str) {
    let failures = running.broker.metrics().plugin_failures_total;
    let error = client.refused(request, "plugin_failed").await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("\"hostile\"") && message.contains(kind), "{what}: {message}");
    assert!(!message.contains("good sentence"), "what a plugin says of itself is for the operator: {message}");
    assert!(error.get("detail").is_none(), "{error}");
    client.ping().await;
    assert_eq!(client.take_all(), Vec::<Value>::new(), "{what}: one error, and nothing is delivered");
    assert_eq!(running.broker.metrics().plugin_failures_total, failures + 1, "{what}");
}

/// The plugin works, and so do topics that are not its own.
async fn works(client: &mut Client, other: &mut Client) {
    client.publish("hostile.a", json!("good")).await;
    assert_eq!(client.message().await["data"], "good");
    assert!(client.ok(call('g')).await.get("data").is_none());
    other.publish("open", json!(1)).await;
    other.message().await;
}

/// Makes a request fail in every way there is, each time followed by what must work.
async fn fails_in_every_way(request: fn(char) -> Value) {
    let hosted = Hosted::start();
    for codec in Codec::ALL {
        let (mut client, mut other) = (hosted.client(codec).await, hosted.client(codec).await);
        client.subscribe("hostile.a").await;
        other.subscribe("open").await;
        for (letter, kind, what) in ANYWHERE.into_iter().chain(RETURNED) {
            fails(&hosted, &mut client, request(letter), kind, what).await;
            works(&mut client, &mut other).await;
        }
    }
}

#[tokio::test]
async fn a_failed_publish_is_one_named_error_and_the_next_one_works() {
    fails_in_every_way(publish).await;
}

#[tokio::test]
async fn a_failed_call_is_one_named_error_and_the_next_one_works() {
    fails_in_every_way(call).await;
}

#[tokio::test]
async fn a_failed_subscribe_is_one_named_error_and_no_subscription() {
    let hosted = Hosted::start();
    for codec in Codec::ALL {
        let (mut client, mut other) = (hosted.client(codec).await, hosted.client(codec).await);
        client.subscribe("hostile.a").await;
        other.subscribe("open").await;
        let said = RETURNED.into_iter().filter(|(letter, ..)| ['S', 'X', 's'].contains(letter));
        for (letter, kind, what) in ANYWHERE.into_iter().chain(said) {
            let request = json!({"type": "subscribe", "topic": format!("hostile.{letter}")});
            fails(&hosted, &mut client, request, kind, what).await;
            assert_eq!(hosted.broker.metrics().subscriptions, 2, "{what}");
            works(&mut client, &mut other).await;
        }
        client.close().await;
        other.close().await;
        hosted.becomes_empty().await;
    }
}

#[tokio::test]
async fn memory_that_cannot_be_had_in_realloc_or_time_that_is_lost_there_costs_one_message() {
    let hosted = Hosted::start();
    let (mut client, mut other) = (hosted.client(Codec::Json).await, hosted.client(Codec::Json).await);
    client.subscribe("hostile.a").await;
    other.subscribe("open").await;
    for (arm, kind, what) in [('6', DEADLINE, "a loop in realloc"), ('7', TRAP, "a trap in realloc")] {
        client.ok(call(arm)).await;
        fails(&hosted, &mut client, publish('g'), kind, what).await;
        works(&mut client, &mut other).await;
    }
}

#[tokio::test]
async fn a_rejection_is_the_plugins_word_with_its_detail_and_no_failure() {
    let hosted = Hosted::start();
    for codec in Codec::ALL {
        let mut client = hosted.client(codec).await;
        for request in [publish('R'), call('R'), json!({"type": "subscribe", "topic": "hostile.R"})] {
            let error = client.refused(request, "rejected").await;
            assert_eq!((&error["message"], &error["detail"]), (&json!("good sentence"), &json!({"why": "because"})));
        }
    }
    assert_eq!(hosted.broker.metrics().plugin_failures_total, 0);
}

#[tokio::test]
async fn verdicts_replace_swallow_and_accept() {
    let hosted = Hosted::start();
    for codec in Codec::ALL {
        let mut client = hosted.client(codec).await;
        let start = client.subscribe("hostile.a").await["offset"].as_u64().unwrap();
        assert_eq!(client.ok(publish('o')).await["position"]["offset"], start + 1);
        assert_eq!(client.message().await["data"], "replaced");
        assert!(client.ok(publish('z')).await.get("position").is_none(), "a message that goes nowhere has no position");
        assert_eq!(client.ok(publish('g')).await["position"]["offset"], start + 2);
        assert_eq!(client.message().await["data"], "g");
        assert_eq!(client.ok(call('o')).await["data"], "replaced");
        assert_eq!(client.ok(json!({"type": "call", "plugin": "hostile", "method": "o"})).await["data"], "replaced");
        client.ok(json!({"type": "unsubscribe", "topic": "hostile.a"})).await;
    }
}

#[tokio::test]
async fn a_plugin_that_fails_over_an_ending_cannot_keep_the_session() {
    let hosted = Hosted::start();
    for codec in Codec::ALL {
        let mut client = hosted.client(codec).await;
        client.subscribe("hostile.g").await;
        client.ok(json!({"type": "unsubscribe", "topic": "hostile.g"})).await;
        assert_eq!(hosted.broker.metrics().subscriptions, 0);
        client.publish("hostile.g", json!("-unheard-")).await;
        client.subscribe("hostile.g").await;
        client.ping().await;
        assert_eq!(client.take_all(), Vec::<Value>::new());
        client.close().await;
        hosted.becomes_empty().await;
        hosted.client(codec).await.publish("hostile.a", json!("good")).await;
    }
}

#[tokio::test]
async fn the_embedding_program_gets_the_same_errors_as_values() {
    let hosted = Hosted::start();
    let data = |letter: &str| Payload::json(letter).unwrap();
    let failed = hosted.broker.publish("hostile.a", data("t")).await.unwrap_err();
    assert_eq!(failed.code, ErrorCode::PluginFailed);
    assert!(failed.message.contains(TRAP), "{failed}");
    assert_eq!(hosted.broker.call("hostile.a", "l", None).await.unwrap_err().code, ErrorCode::PluginFailed);
    assert_eq!(hosted.broker.call("open", "l", None).await.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(hosted.broker.publish("hostile.a", data("z")).await, Ok(None));
    assert_eq!(hosted.broker.publish("hostile.a", data("g")).await.unwrap().unwrap().offset, 1);
    assert_eq!(hosted.broker.call("hostile.a", "o", None).await, Ok(Some(data("replaced"))));
}
