//! A hook is a transaction: what it asked for happens as a whole and in order when it returns ok, and else not at all.

use rialto::Codec;
use serde_json::{Value, json};

use crate::plugins::hosted::{Hosted, call, publish};
use crate::support::Client;

/// Whether the key of `$effects` is in the plugin's state.
async fn is_stored(client: &mut Client) -> bool {
    client.ok(call('1')).await["data"] == 1
}

#[tokio::test]
async fn messages_and_state_of_a_hook_that_fails_or_rejects_do_not_happen() {
    let hosted = Hosted::start();
    for codec in Codec::ALL {
        let mut client = hosted.client(codec).await;
        client.subscribe("hostile.a").await;
        for letter in ['x', 'y', 'X', 'R'] {
            for request in
                [publish(letter), call(letter), json!({"type": "subscribe", "topic": format!("hostile.{letter}")})]
            {
                let reply = client.request(request.clone()).await;
                assert_eq!(reply["type"], "error", "{request}");
                assert!(!is_stored(&mut client).await, "{request}: its state was kept");
            }
        }
        client.ping().await;
        assert_eq!(client.take_all(), Vec::<Value>::new(), "no message went out");
    }
    assert_eq!(hosted.broker.metrics().messages_published_total, 0);
}

#[tokio::test]
async fn messages_and_state_of_a_hook_that_returns_ok_happen_all_and_in_order() {
    let hosted = Hosted::start();
    for codec in Codec::ALL {
        let mut client = hosted.client(codec).await;
        let start = client.subscribe("hostile.a").await["offset"].as_u64().unwrap();
        let position = client.ok(publish('e')).await["position"].clone();
        assert_eq!(position["offset"], start + 1, "the message itself goes out first");
        for (offset, data) in [(1, "e"), (2, "effect"), (3, "effect")] {
            let message = client.message().await;
            assert_eq!((&message["offset"], &message["data"]), (&json!(start + offset), &json!(data)));
        }
        client.ok(call('e')).await;
        client.subscribe("hostile.e").await;
        for _ in 0..4 {
            assert_eq!(client.message().await["data"], "effect");
        }
        client.ping().await;
        assert_eq!(client.take_all(), Vec::<Value>::new());
        assert!(is_stored(&mut client).await);
        client.close().await;
    }
}

#[tokio::test]
async fn state_outlives_a_trap() {
    let hosted = Hosted::start();
    let mut client = hosted.client(Codec::Json).await;
    client.ok(call('e')).await;
    for letter in ['t', 'l', 'm', 'r'] {
        client.refused(call(letter), "plugin_failed").await;
        assert!(is_stored(&mut client).await);
    }
}

#[tokio::test]
async fn a_message_to_a_foreign_or_impossible_topic_is_refused_inside_the_hook() {
    let hosted = Hosted::start();
    let mut client = hosted.client(Codec::Json).await;
    client.subscribe("foreign.topic").await;
    for (letter, refusal) in [('2', 1), ('3', 2), ('4', 2)] {
        assert_eq!(client.ok(call(letter)).await["data"], refusal, "forbidden is 1, invalid is 2");
    }
    client.ping().await;
    assert_eq!(client.take_all(), Vec::<Value>::new());
    assert_eq!(hosted.broker.metrics().messages_published_total, 0);
}

#[tokio::test]
async fn effects_over_the_limit_are_refused_one_by_one() {
    let hosted = Hosted::with(|_, plugin| plugin.effects = 10);
    let mut client = hosted.client(Codec::Json).await;
    client.subscribe("hostile.a").await;
    client.ok(call('k')).await;
    for _ in 0..10 {
        assert_eq!(client.message().await["data"], "effect");
    }
    client.ping().await;
    assert_eq!(client.take_all(), Vec::<Value>::new(), "20 were asked for, 10 are allowed");
}

#[tokio::test]
async fn state_over_its_quota_is_refused() {
    let hosted = Hosted::with(|_, plugin| plugin.state_bytes = 1_000);
    let mut client = hosted.client(Codec::Json).await;
    assert_eq!(client.ok(call('5')).await["data"], 3, "half a million bytes are over the limit");
    assert!(!is_stored(&mut client).await);
    client.ok(call('e')).await;
    assert!(is_stored(&mut client).await, "a few bytes are not");
}
