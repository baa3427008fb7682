//! How many patterns there may be, and what many of them cost those that they do not concern.

use rialto::Codec;
use serde_json::{Value, json};

use crate::patterns::subscriber::Subscriber;
use crate::support::Running;

#[tokio::test]
async fn different_patterns_are_bounded_and_equal_ones_are_one() {
    let running = Running::with(|config| config.limits.patterns = 3);
    let mut first = Subscriber::of(&running, Codec::Json, &["a.*", "b.*", "c.*"]).await;
    let mut second = Subscriber::of(&running, Codec::MessagePack, &["a.*", "c.*"]).await;
    for session in [&mut first, &mut second] {
        let refused = session.refused(json!({"type": "subscribe", "topic": "d.*"}), "too_many").await;
        assert!(refused["message"].as_str().unwrap().contains('3'), "{refused}");
    }
    first.unsubscribe("a.*").await;
    second.refused(json!({"type": "subscribe", "topic": "d.*"}), "too_many").await;
    second.unsubscribe("a.*").await;
    second.subscribe("d.*").await;
    second.publish("a.x", json!("a")).await;
    second.publish("d.x", json!("d")).await;
    assert_eq!(second.data().await, ["d"]);
    assert_eq!(first.data().await, Vec::<Value>::new());
    assert_eq!(running.broker.metrics().patterns, 3);
}

#[tokio::test]
async fn a_session_s_patterns_count_as_its_subscriptions() {
    let running = Running::with(|config| config.limits.subscriptions = 3);
    let mut session = Subscriber::of(&running, Codec::Json, &["a.*", "t", "b.*"]).await;
    for topic in ["c.*", "u"] {
        session.refused(json!({"type": "subscribe", "topic": topic}), "too_many").await;
    }
    for topic in ["a.*", "t"] {
        session.ok(json!({"type": "subscribe", "topic": topic})).await;
    }
    session.unsubscribe("a.*").await;
    session.subscribe("u").await;
    session.refused(json!({"type": "subscribe", "topic": "a.*"}), "too_many").await;
}

#[tokio::test]
async fn ten_thousand_patterns_bring_what_they_select_and_leave_nothing_behind() {
    let running = Running::start();
    let mut sessions = Vec::new();
    for part in 0..10 {
        let mut session = Subscriber::of(&running, Codec::ALL[part % 2], &[]).await;
        for hundred in 0..10 {
            let name = |n: usize| format!("a{part}.*.b{}.>", hundred * 100 + n);
            let topics: Vec<Value> = (0..100).map(|n| json!({"topic": name(n)})).collect();
            let reply = session.ok(json!({"type": "subscribe", "topics": topics})).await;
            assert!(reply["topics"].as_array().unwrap().iter().all(|one| one.get("error").is_none()), "{reply}");
        }
        sessions.push(session);
    }
    let counted = running.broker.metrics();
    assert_eq!((counted.subscriptions, counted.patterns), (10_000, 10_000));
    let mut publisher = running.client(Codec::Json).await;
    for topic in ["a3.x.b5.y", "a3.y.b999.z.z", "a3.b5", "a10.x.b5.y", "a3.x.b1000.y", "x.x.b5.y"] {
        publisher.publish(topic, json!(topic)).await;
    }
    for (part, session) in sessions.iter_mut().enumerate() {
        let expected: &[&str] = if part == 3 { &["a3.x.b5.y", "a3.y.b999.z.z"] } else { &[] };
        assert_eq!(session.data().await, expected);
    }
    drop(sessions);
    drop(publisher);
    running.becomes_empty().await;
    assert_eq!(running.broker.metrics().patterns, 0);
}

#[tokio::test]
async fn a_topic_that_only_patterns_select_is_forgotten_and_comes_back() {
    let running = Running::with(|config| {
        config.limits.topic_idle_ms = 20;
        config.topics[0].history = None;
    });
    let mut session = Subscriber::of(&running, Codec::Json, &["a.*"]).await;
    session.publish("a.b", json!(1)).await;
    crate::support::eventually("the topic is forgotten", || running.broker.metrics().topics == 0).await;
    session.publish("a.b", json!(2)).await;
    assert_eq!(session.data().await, [json!(1), json!(2)]);
}

/// Different patterns that all select the topics `a.a.a.a.a.a.a.a.a.NAME`.
fn that_all_select(count: usize) -> Vec<String> {
    let pattern = |number: usize| {
        let tokens = (0..9).map(|place| if number >> place & 1 == 1 { "*" } else { "a" });
        let last = if number >> 9 & 1 == 1 { ">" } else { "*" };
        tokens.chain([last]).collect::<Vec<_>>().join(".")
    };
    (0..count).map(pattern).collect()
}

async fn subscribe_all(session: &mut Subscriber, patterns: &[String]) {
    for some in patterns.chunks(100) {
        let topics: Vec<Value> = some.iter().map(|pattern| json!({"topic": pattern})).collect();
        let reply = session.ok(json!({"type": "subscribe", "topics": topics})).await;
        assert!(
            reply["topics"].as_array().unwrap().iter().all(|one| one.get("error").is_none()),
            "{}",
            reply["topics"][99]
        );
    }
}

#[tokio::test]
async fn a_thousand_patterns_that_select_thousands_of_topics_take_the_memory_of_one_list() {
    let running = Running::with(|config| {
        config.limits.subscriptions = 1_000;
        config.limits.deep_patterns = 1_000;
        config.topics[0].history = None;
    });
    let mut session = Subscriber::of(&running, Codec::Json, &[]).await;
    subscribe_all(&mut session, &that_all_select(1_000)).await;
    let mut publisher = running.client(Codec::MessagePack).await;
    for number in 0..3_000 {
        publisher.publish(&format!("a.a.a.a.a.a.a.a.a.{number}"), json!(number)).await;
    }
    let counted = running.broker.metrics();
    assert_eq!((counted.patterns, counted.topics), (1_000, 3_000));
    assert!(counted.pattern_list_bytes < 100_000, "{} bytes", counted.pattern_list_bytes);
    assert_eq!(session.data().await.len(), 3_000, "each once");
    drop((session, publisher));
    running.becomes_empty().await;
}

#[tokio::test]
async fn without_room_for_a_list_every_message_finds_its_patterns_all_the_same() {
    for budget in [0, 2_000, 1_000_000] {
        let running = Running::with(|config| {
            config.limits.pattern_lists_bytes = budget;
            config.limits.deep_patterns = 1_000;
        });
        let mut session = Subscriber::of(&running, Codec::Json, &[]).await;
        let mut other = Subscriber::of(&running, Codec::Json, &[]).await;
        subscribe_all(&mut session, &that_all_select(30)).await;
        // Each topic has a list of its own.
        let own: Vec<String> = (0..30).map(|number| format!("a.a.a.a.a.a.a.a.a.{number}")).collect();
        let own: Vec<String> = own.iter().map(|topic| format!("{topic}.>")).collect();
        subscribe_all(&mut other, &own).await;
        let mut publisher = running.client(Codec::Json).await;
        for round in 0..3 {
            for number in 0..30 {
                publisher.publish(&format!("a.a.a.a.a.a.a.a.a.{number}.x"), json!(round * 30 + number)).await;
            }
        }
        let got: Vec<u64> = other.data().await.iter().map(|number| number.as_u64().unwrap()).collect();
        let (mut all, of_topic) = (got.clone(), |topic| got.iter().copied().filter(move |number| number % 30 == topic));
        all.sort_unstable();
        assert_eq!(all, (0..90).collect::<Vec<_>>(), "{budget}");
        // In order within each topic; messages of different topics may be delivered in one turn, in any order.
        assert!((0..30).all(|topic| of_topic(topic).is_sorted()), "{budget}: {got:?}");
        let bytes = running.broker.metrics().pattern_list_bytes;
        assert!(bytes <= budget as u64, "{bytes} bytes of {budget}");
        other.unsubscribe("a.a.a.a.a.a.a.a.a.5.>").await;
        publisher.publish("a.a.a.a.a.a.a.a.a.5.x", json!("to nobody")).await;
        publisher.publish("a.a.a.a.a.a.a.a.a.6.x", json!("to one")).await;
        assert_eq!(other.data().await, ["to one"], "{budget}");
    }
}

#[tokio::test]
async fn few_patterns_select_one_topic_whoever_subscribes() {
    let running = Running::with(|config| config.limits.deep_patterns = 4);
    let topic = "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p";
    let mut session = Subscriber::of(&running, Codec::Json, &[]).await;
    let mut taken = 0;
    for stars in 0_u32..1 << 10 {
        // Stars in the last ten tokens: all begin alike, and all select the topic.
        let token = |(place, token)| if place >= 6 && stars >> (place - 6) & 1 == 1 { "*" } else { token };
        let pattern: Vec<&str> = topic.split('.').enumerate().map(token).collect();
        if stars == 0 {
            continue;
        }
        let reply = session.request(json!({"type": "subscribe", "topic": pattern.join(".")})).await;
        match &reply["type"] {
            kind if kind == "ok" => taken += 1,
            _ => {
                assert_eq!(reply["code"], "too_many", "{reply}");
                assert!(reply["message"].as_str().unwrap().contains("begin with the same four"), "{reply}");
            }
        }
    }
    assert!((1..=4).contains(&taken), "{taken}");
    // Fewer tokens, another beginning, and one that is there already are fine.
    session.subscribe("a.b.c.d.e.f.g.>").await;
    session.subscribe("a.b.c.x.e.f.g.h.i.*").await;
    let mut other = Subscriber::of(&running, Codec::MessagePack, &[]).await;
    other.subscribe(&topic.replacen(".g.", ".*.", 1)).await;
    other.publish(topic, json!(1)).await;
    assert_eq!((other.data().await, session.data().await), (vec![json!(1)], vec![json!(1)]));
}
