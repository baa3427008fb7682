//! `echo: false`: everybody but the session that published gets the message.

use rialto::Codec;
use serde_json::{Value, json};

use crate::patterns::subscriber::Subscriber;
use crate::support::Running;

const POLICIES: [&str; 5] = [
    r#""queue""#,
    r#""drop_oldest""#,
    r#""latest""#,
    r#"{"policy":"latest_by","field":"/n"}"#,
    r#"{"policy":"sample","every_ms":1}"#,
];

fn publish(n: u64, echo: bool) -> Value {
    json!({"type": "publish", "topic": "a.b", "data": {"n": n}, "echo": echo})
}

#[tokio::test]
async fn the_publisher_s_session_does_not_get_it_and_all_others_do() {
    for policy in POLICIES {
        let running = Running::start();
        let mut sessions = Vec::new();
        for (place, codec) in [Codec::Json, Codec::Json, Codec::MessagePack, Codec::MessagePack].into_iter().enumerate()
        {
            let mut session = Subscriber::of(&running, codec, if place == 1 { &["*.b"] } else { &[] }).await;
            let delivery: Value = serde_json::from_str(policy).unwrap();
            session.ok(json!({"type": "subscribe", "topic": "a.b", "delivery": delivery})).await;
            sessions.push(session);
        }
        sessions.push(Subscriber::of(&running, Codec::Json, &["a.*", "a.>"]).await);
        sessions.push(Subscriber::of(&running, Codec::MessagePack, &["a.b"]).await);
        for publisher in 0..sessions.len() {
            let n = publisher as u64;
            sessions[publisher].ok(publish(n, false)).await;
            for (place, session) in sessions.iter_mut().enumerate() {
                // Waited for, because a sample may come later.
                if place != publisher {
                    assert_eq!(session.message().await["data"]["n"], n, "{policy}");
                }
            }
        }
        for publisher in 0..sessions.len() {
            let n = 100 + publisher as u64;
            sessions[publisher].ok(publish(n, true)).await;
            for session in &mut sessions {
                assert_eq!(session.message().await["data"]["n"], n, "{policy}: next, after no gap");
            }
        }
    }
}

#[tokio::test]
async fn among_messages_of_others_its_own_are_left_out_and_nothing_else() {
    let running = Running::start();
    let mut sessions = Vec::new();
    for codec in [Codec::Json, Codec::MessagePack, Codec::Json, Codec::MessagePack] {
        sessions.push(Subscriber::of(&running, codec, &["a.b", "*.b"]).await);
    }
    // All at once, so that messages of several publishers come together in a turn.
    let mut ids = Vec::new();
    for round in 0..200 {
        for (place, session) in sessions.iter_mut().enumerate() {
            ids.push((place, round, session.ask(publish(place as u64, round % 2 == 0)).await));
        }
    }
    let mut published = vec![(0, true); ids.len() + 1];
    for (place, round, id) in ids {
        let reply = sessions[place].reply(id).await;
        let offset = reply["position"]["offset"].as_u64().unwrap_or_else(|| panic!("{reply}"));
        published[offset as usize] = (place, round % 2 == 0);
    }
    for (place, session) in sessions.iter_mut().enumerate() {
        let arrived: Vec<u64> = session.arrived().await.into_iter().map(|(_, offset, _)| offset).collect();
        let others = |offset: &u64| published[*offset as usize].0 != place || published[*offset as usize].1;
        let expected: Vec<u64> = (1..published.len() as u64).filter(others).collect();
        assert_eq!(arrived, expected);
    }
}

#[tokio::test]
async fn a_publisher_that_is_not_subscribed_needs_no_echo() {
    let running = Running::start();
    let mut reader = Subscriber::of(&running, Codec::Json, &["a.b"]).await;
    let mut publisher = running.client(Codec::Json).await;
    let position = publisher.ok(publish(1, false)).await["position"].clone();
    assert_eq!(position["offset"], 1);
    assert_eq!(reader.data().await, [json!({"n": 1})]);
    // A later session is not taken for the one that published.
    drop(publisher);
    let mut later = Subscriber::of(&running, Codec::Json, &["a.b"]).await;
    reader.ok(publish(2, false)).await;
    assert_eq!(later.data().await, [json!({"n": 2})]);
}
