//! One session: every request and every push, in both codecs.

use rialto::config::{History, TopicRule};
use rialto_client::{Client, Codec, Delivery, Ending, Error, ErrorCode, Item, Payload, Position, Topic};
use serde_json::{Value, json};

use super::{builder, connect, keeping, message, next, numbers};
use crate::support::{Running, within};

#[tokio::test]
async fn what_is_published_arrives_as_it_was() {
    let running = keeping(|_| {});
    for (codec, topic) in [(Codec::Json, "json"), (Codec::MessagePack, "msgpack")] {
        let client = connect(&running, codec).await;
        let mut subscription = client.subscribe(topic).await.unwrap();
        assert_eq!(subscription.topics()[0].position.as_ref().unwrap().offset, 0);
        let data = json!({"a": [1, -2, 3.5, null, true], "ä": "ö", "big": u64::MAX});
        let published = client.publish(topic, &data).await.unwrap();
        assert_eq!((published.position.unwrap().offset, published.duplicate), (1, false));
        let got = message(&mut subscription).await;
        assert_eq!((got.payload.parse::<Value>().unwrap(), got.offset, &*got.topic), (data, 1, topic));
        client.publish_bytes(topic, vec![0, 255, 7]).await.unwrap();
        assert_eq!(message(&mut subscription).await.payload, Payload::bytes(vec![0, 255, 7]));
        let text = Payload::new(rialto_client::Encoding::Json, r#"{"raw": 1}"#).unwrap();
        client.publish_payload(topic, text).await.unwrap();
        assert_eq!(message(&mut subscription).await.payload.parse::<Value>().unwrap(), json!({"raw": 1}));
        client.close().await;
        assert_eq!(subscription.next().await, None);
        assert_eq!(client.ending(), Some(Ending::Asked));
    }
    running.becomes_empty().await;
}

#[tokio::test]
async fn the_past_is_read_and_sent() {
    let running = keeping(|_| {});
    for (codec, topic) in [(Codec::Json, "json"), (Codec::MessagePack, "msgpack")] {
        let client = connect(&running, codec).await;
        for number in 1..=10 {
            client.publish(topic, &number).await.unwrap();
        }
        let past = client.history(topic).limit(3).await.unwrap();
        assert_eq!(past.messages.iter().map(|message| message.offset).collect::<Vec<_>>(), [8, 9, 10]);
        assert!(past.more);
        let epoch = past.position.epoch.clone();
        let at = |offset| Position { epoch: epoch.clone(), offset };
        let before = client.history(topic).before(at(4)).await.unwrap();
        assert_eq!(before.messages.iter().map(|message| message.offset).collect::<Vec<_>>(), [1, 2, 3]);
        let after = client.history(topic).since(at(9)).await.unwrap();
        assert_eq!(after.messages[0].payload.parse::<u64>().unwrap(), 10);
        let lost = client.history(topic).since(Position { epoch: "other".into(), offset: 1 }).await.unwrap_err();
        assert_eq!(lost.code(), Some(ErrorCode::Expired));

        let mut last = client.subscribe(Topic::new(topic).last(2)).await.unwrap();
        assert_eq!(numbers(&mut last, 2).await, [9, 10]);
        drop(last);
        let mut since = client.subscribe(Topic::new(topic).since(at(7))).await.unwrap();
        assert_eq!(since.topics()[0].recovered, Some(true));
        assert_eq!(numbers(&mut since, 3).await, [8, 9, 10]);
        drop(since);
        let since = Topic::new(topic).since(Position { epoch: "other".into(), offset: 99 });
        let mut since = client.subscribe(since).await.unwrap();
        assert_eq!(since.topics()[0].recovered, Some(false));
        let Item::Gap(gap) = next(&mut since).await else { panic!("a gap is reported") };
        assert_eq!((gap.from, gap.to), (1, 10));
    }
}

#[tokio::test]
async fn what_the_broker_refuses_is_an_error_with_its_code() {
    let running = Running::with(|config| {
        config.limits.subscriptions = 2;
        let no_history = TopicRule::default();
        config.topics = vec![no_history];
    });
    let client = connect(&running, Codec::Json).await;
    let refused = client.subscribe("a..b").await.unwrap_err();
    assert_eq!((refused.code(), refused.may_have_acted()), (Some(ErrorCode::BadRequest), false), "{refused}");
    assert_eq!(client.publish("$own", &1).await.unwrap_err().code(), Some(ErrorCode::Forbidden));
    assert_eq!(client.history("a").await.unwrap_err().code(), Some(ErrorCode::Unavailable));
    assert_eq!(client.call_plugin("nobody", "m").await.unwrap_err().code(), Some(ErrorCode::NotFound));
    let some = client.subscribe_all(["a", "b..c", "b", "c"]).await.unwrap();
    let refused: Vec<_> = some.refused().iter().map(|(topic, failure)| (&**topic, failure.code)).collect();
    assert_eq!(refused, [("b..c", ErrorCode::BadRequest), ("c", ErrorCode::TooMany)]);
    assert_eq!(some.topics().len(), 2);
    let again = client.subscribe("a").await.unwrap_err();
    assert!(matches!(&again, Error::Subscribed(topic) if topic == "a"), "{again}");
    assert!(matches!(client.subscribe(Topic::new("a.*").last(1)).await, Err(Error::Pattern(_))));
    assert!(matches!(client.subscribe_all(Vec::<Topic>::new()).await, Err(Error::NoTopic)));
    let large = client.publish("a", &"x".repeat(70_000)).await.unwrap_err();
    assert!(matches!(large, Error::TooLarge { limit: 65_536, .. }), "{large}");
    // The session has survived all that.
    assert!(client.ping().await.unwrap().time > 0);
    drop(some);
    client.subscribe("a").await.unwrap();
}

#[tokio::test]
async fn an_idempotency_key_makes_two_publishes_one() {
    let running = keeping(|_| {});
    let client = connect(&running, Codec::MessagePack).await;
    let first = client.publish("a", &1).key("k").await.unwrap();
    let second = client.publish("a", &1).key("k").await.unwrap();
    assert_eq!((first.position, second.duplicate), (second.position, true));
    let other = client.publish("a", &2).key("k").await.unwrap_err();
    assert_eq!(other.code(), Some(ErrorCode::KeyReused));
    assert_eq!(client.publish("a", &1).await.unwrap().position.unwrap().offset, 2, "the client's own keys differ");
    assert_eq!(client.publish("a", &1).once().await.unwrap().position.unwrap().offset, 3);
}

#[tokio::test]
async fn a_message_reaches_every_subscription_that_it_is_for_once() {
    let running = keeping(|_| {});
    let client = connect(&running, Codec::Json).await;
    let mut exact = client.subscribe("m.a").await.unwrap();
    let mut one = client.subscribe("m.*").await.unwrap();
    let mut both = client.subscribe_all(["m.b", "m.>", "*.b"]).await.unwrap();
    assert_eq!(one.topics()[0].position, None);
    for (number, topic) in [(1, "m.a"), (2, "m.b"), (3, "m.c.d"), (4, "other")] {
        client.publish(topic, &number).await.unwrap();
    }
    client.publish("m.b", &5).await.unwrap();
    assert_eq!(numbers(&mut both, 4).await, [1, 2, 3, 5]);
    assert_eq!(numbers(&mut one, 3).await, [1, 2, 5]);
    assert_eq!(numbers(&mut exact, 1).await, [1]);
    client.ping().await.unwrap();
    assert_eq!((exact.try_next(), one.try_next(), both.try_next()), (None, None, None));
    // What a topic is sent of its past is not the pattern's.
    let mut past = client.subscribe(Topic::new("m.c.d").last(5)).await.unwrap();
    assert_eq!(numbers(&mut past, 1).await, [3]);
    client.ping().await.unwrap();
    assert_eq!(both.try_next(), None);
}

#[tokio::test]
async fn without_echo_a_client_does_not_hear_itself() {
    let running = keeping(|_| {});
    let (one, other) = (connect(&running, Codec::Json).await, connect(&running, Codec::Json).await);
    let (mut own, mut others) = (one.subscribe("a").await.unwrap(), other.subscribe("a").await.unwrap());
    one.publish("a", &1).echo(false).await.unwrap();
    one.publish("a", &2).await.unwrap();
    assert_eq!(numbers(&mut own, 1).await, [2]);
    assert_eq!(numbers(&mut others, 2).await, [1, 2]);
}

#[tokio::test]
async fn a_delivery_policy_can_be_changed() {
    let running = keeping(|_| {});
    let client = connect(&running, Codec::Json).await;
    let topic = Topic::new("a").delivery(Delivery::Sample { every_ms: 3_600_000 });
    let mut subscription = client.subscribe(topic).await.unwrap();
    for number in 1..=3 {
        client.publish("a", &number).await.unwrap();
    }
    assert_eq!(numbers(&mut subscription, 1).await, [1]);
    subscription.change("a", Some(Delivery::Queue), false).await.unwrap();
    client.publish("a", &4).await.unwrap();
    let mut got = Vec::new();
    while got.last() != Some(&4) {
        match next(&mut subscription).await {
            Item::Message(message) => got.push(message.offset),
            Item::Gap(gap) => got.extend(gap.from..=gap.to),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, [2, 3, 4]);
    assert!(matches!(subscription.change("b", None, false).await, Err(Error::NotSubscribed(_))));
}

#[tokio::test]
async fn many_requests_may_wait_and_keep_their_order() {
    let running = keeping(|_| {});
    let client = builder(running.address, Codec::Json).unanswered_max(8).connect().await.unwrap();
    let mut subscription = client.subscribe("a").await.unwrap();
    let mut sent = Vec::new();
    for number in 0..500_u64 {
        sent.push(client.publish("a", &number).send().await.unwrap());
        if number % 64 == 63 {
            // More than the queue has room for would hold up the answers, too.
            assert_eq!(numbers(&mut subscription, 64).await.len(), 64);
        }
    }
    for (offset, sent) in (1..).zip(sent) {
        assert_eq!(within("an answer", sent).await.unwrap().position.unwrap().offset, offset);
    }
}

#[tokio::test]
async fn a_client_ends_with_its_last_handle() {
    let running = keeping(|_| {});
    let client = connect(&running, Codec::Json).await;
    let mut subscription = client.subscribe("a").await.unwrap();
    let other = connect(&running, Codec::Json).await;
    drop(client);
    other.publish("a", &1).await.unwrap();
    assert_eq!(numbers(&mut subscription, 1).await, [1], "a subscription keeps it");
    drop(subscription);
    drop(other);
    running.becomes_empty().await;
}

#[tokio::test]
async fn a_request_of_a_client_that_has_ended_says_so() {
    let running = keeping(|_| {});
    let client = connect(&running, Codec::Json).await;
    client.close().await;
    let error = client.publish("a", &1).await.unwrap_err();
    assert!(matches!(error, Error::Closed { ending: Ending::Asked, may_have_acted: false }), "{error}");
    assert!(matches!(client.subscribe("a").await, Err(Error::Closed { .. })));
    assert_eq!(client.closed().await, Ending::Asked);
    client.close().await;
}

#[tokio::test]
async fn history_is_bounded_as_the_rule_says() {
    let running = keeping(|config| {
        config.topics[0].history = Some(History { messages: 3, ..History::default() });
    });
    let client = connect(&running, Codec::Json).await;
    for number in 1..=9 {
        client.publish("a", &number).await.unwrap();
    }
    let mut all = client.subscribe(Topic::new("a").last(u64::MAX)).await.unwrap();
    assert_eq!(numbers(&mut all, 3).await, [7, 8, 9]);
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_once() {
    for address in ["http://localhost", "nonsense", "ws://"] {
        let error = Client::connect(address).await.unwrap_err();
        assert!(matches!(&error, Error::Closed { ending: Ending::Address(..), .. }), "{error}");
    }
}
