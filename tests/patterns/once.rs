//! What a pattern brings: each message of the topics that it selects, once and in order, from the `ok` to the `ok`.

use rialto::Codec;
use serde_json::{Value, json};

use crate::patterns::subscriber::Subscriber;
use crate::support::Running;

#[tokio::test]
async fn messages_of_the_topics_that_a_pattern_selects_arrive_and_no_others() {
    let running = Running::start();
    assert_eq!(running.broker.shards(), 2);
    let mut subscribers = Vec::new();
    for codec in [Codec::Json, Codec::Json, Codec::MessagePack, Codec::MessagePack] {
        subscribers.push(Subscriber::of(&running, codec, &["a.*.c", "b.>"]).await);
    }
    let mut publisher = running.client(Codec::Json).await;
    assert!(publisher.welcome["features"].as_array().unwrap().contains(&json!("patterns")), "{}", publisher.welcome);
    for (n, topic) in ["a.x.c", "a.c", "a.x.y.c", "a.x.d", "b", "b.x", "b.x.y", "c.b.x", "a.*x.c"].iter().enumerate() {
        let reply = publisher.request(json!({"type": "publish", "topic": topic, "data": n})).await;
        assert_eq!(reply["type"] == "ok", !topic.contains('*'), "{reply}");
    }
    for subscriber in &mut subscribers {
        let arrived: Vec<(String, u64, Value)> = subscriber.arrived().await;
        let expected = [("a.x.c", 0), ("b.x", 5), ("b.x.y", 6)];
        let expected = expected.map(|(topic, n)| (topic.to_owned(), 1, json!(n)));
        assert_eq!(arrived, expected, "{}", subscriber.codec.name());
    }
}

#[tokio::test]
async fn the_answer_names_the_pattern_and_no_position() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut session = Subscriber::of(&running, codec, &[]).await;
        // The second time it is an update, which changes nothing.
        for _ in 0..2 {
            let id = session.ask(json!({"type": "subscribe", "topic": "a.*", "delivery": "queue"})).await;
            assert_eq!(session.reply(id).await, json!({"type": "ok", "id": id, "topic": "a.*"}));
        }
        let topics = json!([{"topic": "b.>"}, {"topic": "b..c"}, {"topic": "t"}, {"topic": "c.*", "last": 3}]);
        let reply = session.ok(json!({"type": "subscribe", "topics": topics})).await;
        assert_eq!(reply["topics"][0], json!({"topic": "b.>"}));
        assert_eq!(reply["topics"][1]["error"]["code"], "bad_request");
        assert_eq!(reply["topics"][2]["position"]["offset"], 0);
        assert_eq!(
            (&reply["topics"][3]["topic"], &reply["topics"][3]["error"]["code"]),
            (&json!("c.*"), &json!("bad_request"))
        );
        assert_eq!(running.broker.metrics().subscriptions, 3);
        let topics = json!([{"topic": "b.>"}, {"topic": "t"}, {"topic": "a.*"}, {"topic": "never.*"}]);
        session.ok(json!({"type": "unsubscribe", "topics": topics})).await;
        let counted = running.broker.metrics();
        assert_eq!((counted.subscriptions, counted.patterns), (0, 0));
        session.publish("a.x", json!(1)).await;
        session.publish("b.x", json!(1)).await;
        assert_eq!(session.arrived().await, []);
    }
}

#[tokio::test]
async fn a_message_that_matches_several_subscriptions_arrives_once() {
    let running = Running::start();
    let names: [&[&str]; 4] = [
        &["a.b", "a.*", "*.b", "a.>", ">", "*.*"],
        &["*.*", "a.b", "a.b"],
        &[">", "*.>", "a.>"],
        &["a.*", "other.>", "*"],
    ];
    let mut subscribers = Vec::new();
    for codec in [Codec::Json, Codec::MessagePack, Codec::MessagePack] {
        for names in names {
            subscribers.push(Subscriber::of(&running, codec, names).await);
        }
    }
    let mut publisher = running.client(Codec::MessagePack).await;
    let expected: Vec<(String, u64, Value)> = (1..=50).map(|n| ("a.b".to_owned(), n, json!(n))).collect();
    for (_, n, _) in &expected {
        publisher.publish("a.b", json!(n)).await;
    }
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.arrived().await, expected);
    }
    let counted = running.broker.metrics();
    assert_eq!(counted.messages_delivered_total, 12 * 50);
    assert_eq!((counted.frames_encoded_json_total, counted.frames_encoded_msgpack_total), (50, 50), "shared bytes");
}

#[tokio::test]
async fn the_policy_chosen_for_a_topic_counts_for_its_messages_whatever_patterns_select_it() {
    let running = Running::start();
    let mut session = Subscriber::of(&running, Codec::Json, &["a.*"]).await;
    let hourly = json!({"policy": "sample", "every_ms": 3_600_000});
    session.ok(json!({"type": "subscribe", "topic": "a.b", "delivery": hourly})).await;
    let mut publisher = running.client(Codec::Json).await;
    for n in 1..=3 {
        publisher.publish("a.b", json!(n)).await;
        publisher.publish("a.c", json!(n)).await;
    }
    session.unsubscribe("nobody.is.in.this").await;
    // Of those that came together, the first may have been left out: there may be a gap, too.
    let pushes = session.take_all();
    let of = |topic: &str| pushes.iter().filter(|push| push["type"] == "message" && push["topic"] == topic).count();
    assert_eq!((of("a.b"), of("a.c")), (1, 3), "{pushes:?}");
}

#[tokio::test]
async fn a_pattern_is_live_only_and_ends_where_its_answer_stands() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut publisher = running.client(codec).await;
        let mut session = Subscriber::of(&running, codec, &[]).await;
        let topic = format!("{}.x", codec.name());
        publisher.publish(&topic, json!("before")).await;
        for round in 0..20 {
            session.subscribe("*.x").await;
            assert_eq!(session.data().await, Vec::<Value>::new());
            publisher.publish(&topic, json!(round)).await;
            session.unsubscribe("*.x").await;
            publisher.publish(&topic, json!("after")).await;
            assert_eq!(session.data().await, [json!(round)]);
        }
    }
}

#[tokio::test]
async fn patterns_go_with_their_sessions_however_these_end() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut raw = running.raw(codec).await;
        raw.request(&json!({"type": "subscribe", "topic": "a.*", "id": 1})).await;
        assert_eq!(raw.frame_value().await["type"], "ok");
        let closing = Subscriber::of(&running, codec, &["a.*", "b.*", "a.b"]).await;
        let dropped = Subscriber::of(&running, codec, &["a.*", "c.>", ">"]).await;
        let counted = running.broker.metrics();
        assert_eq!((counted.subscriptions, counted.patterns), (7, 4));
        raw.reset();
        drop(dropped);
        drop(closing);
        running.becomes_empty().await;
        assert_eq!(running.broker.metrics().patterns, 0);
        let status = running.broker.topic("a.b").unwrap();
        assert_eq!(status.subscribers, 0);
    }
}
