//! A subscription that is not read holds back the socket: the broker's policy decides what becomes of its messages.

use rialto_client::{Codec, Delivery, Event, Item, Topic};

use super::{builder, connect, event, keeping, next};
use crate::support::{eventually, within};

const MESSAGES: u64 = 3_000;

/// Larger than what the sockets' buffers hold, so that not reading shows.
const FILLING: usize = 4_000;

#[tokio::test]
async fn what_is_not_read_waits_at_the_broker_and_is_skipped_as_the_policy_says() {
    let running = keeping(|_| {});
    let client = builder(running.address, Codec::Json).queue_items_max(4).connect().await.unwrap();
    let latest = Topic::new("a").delivery(Delivery::Latest);
    let mut subscription = client.subscribe(latest).await.unwrap();
    let publisher = connect(&running, Codec::Json).await;
    for number in 1..=MESSAGES {
        publisher.publish("a", &(number, "x".repeat(FILLING))).await.unwrap();
    }
    // Every offset is there once, as a message or in a gap, and most were skipped.
    let (mut expected, mut messages) = (1, 0);
    while expected <= MESSAGES {
        match next(&mut subscription).await {
            Item::Message(message) => {
                assert_eq!(message.offset, expected);
                (expected, messages) = (expected + 1, messages + 1);
            }
            Item::Gap(gap) => {
                assert_eq!(gap.from, expected);
                expected = gap.to + 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(messages < MESSAGES, "nothing was held back");
    assert_eq!(client.ending(), None);
}

#[tokio::test]
async fn a_queue_that_is_never_read_makes_the_session_slow_and_it_comes_back_without_a_hole() {
    let running = keeping(|config| {
        config.limits.outbox_bytes = 64 * 1024;
        // Who takes nothing is cut off after this.
        config.limits.write_ms = 500;
        config.topics[0].history.as_mut().unwrap().messages = 10_000;
        config.topics[0].history.as_mut().unwrap().bytes = 100 << 20;
    });
    let client = builder(running.address, Codec::MessagePack).queue_items_max(4).connect().await.unwrap();
    let mut events = client.events();
    let mut subscription = client.subscribe("a").await.unwrap();
    let publisher = connect(&running, Codec::MessagePack).await;
    for number in 1..=MESSAGES {
        publisher.publish("a", &(number, "x".repeat(FILLING))).await.unwrap();
    }
    eventually("the session is too slow", || running.broker.metrics().sessions == 1).await;
    let mut expected = 1;
    let mut resumed = 0;
    while expected <= MESSAGES {
        match next(&mut subscription).await {
            Item::Message(message) => {
                assert_eq!(message.offset, expected);
                expected += 1;
            }
            Item::Resumed(one) => {
                assert!(one.recovered);
                resumed += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(resumed >= 1);
    let code = event(&mut events, "the loss", |event| match event {
        Event::Disconnected { code, .. } => Some(code),
        _ => None,
    });
    // A socket that takes nothing gets no Close.
    let code = code.await;
    assert!(matches!(code, Some(4000) | None), "{code:?}");
}

#[tokio::test]
async fn a_held_session_stays_alive_without_reading() {
    let running = keeping(|config| {
        config.limits.ping_ms = 200;
        config.limits.pong_ms = 200;
    });
    let client = builder(running.address, Codec::Json).queue_items_max(1).connect().await.unwrap();
    let mut subscription = client.subscribe("a").await.unwrap();
    let publisher = connect(&running, Codec::Json).await;
    for number in 1..=8 {
        publisher.publish("a", &number).await.unwrap();
    }
    let mut events = client.events();
    // Several times what a silent session would live.
    let silence = tokio::time::timeout(std::time::Duration::from_millis(1_500), events.next()).await;
    assert!(silence.is_err(), "{silence:?}");
    for offset in 1..=8 {
        let Item::Message(message) = next(&mut subscription).await else { panic!("no message") };
        assert_eq!(message.offset, offset);
    }
    within("a pong", async { client.ping().await.unwrap() }).await;
}
