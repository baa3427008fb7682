//! The requests of a session and their replies: welcome, subscribe, publish, unsubscribe, ping, close.

use rialto::{Codec, Payload};
use serde_json::{Value, json};

use crate::support::{Client, Running};

#[tokio::test]
async fn welcome_is_the_first_frame_and_identifies_the_session() {
    let running = Running::start();
    let mut seen = Vec::new();
    for codec in Codec::ALL {
        let client = running.client(codec).await;
        let welcome = &client.welcome;
        let session = welcome["session"].as_str().expect("a session id");
        assert!(session.len() >= 16 && session.is_ascii() && !seen.contains(&session.to_owned()), "{welcome}");
        assert!(welcome["server"].as_str().unwrap().starts_with("rialto/"));
        assert!(welcome["node"].is_string() && welcome["features"].is_array());
        assert_eq!((&welcome["user"], &welcome["ping_ms"]), (&Value::Null, &json!(25_000)));
        let limits = json!({"message_bytes": 65_536, "subscriptions": 1_000, "outbox_bytes": 1_048_576});
        assert_eq!(welcome["limits"], limits);
        assert!(welcome.get("id").is_none());
        seen.push(session.to_owned());
    }
}

#[tokio::test]
async fn a_publish_is_acked_with_the_position_that_subscribers_receive() {
    let running = Running::start();
    for (codec, topic) in Codec::ALL.into_iter().zip(["a.json", "a.msgpack"]) {
        let mut client = running.client(codec).await;
        let start = client.subscribe(topic).await;
        assert_eq!(start["offset"], 0);
        for offset in 1..=3 {
            let position = client.publish(topic, json!({"n": offset})).await;
            assert_eq!(position, json!({"epoch": start["epoch"], "offset": offset}));
            let message = client.message().await;
            assert_eq!((&message["topic"], &message["offset"]), (&json!(topic), &json!(offset)));
            assert_eq!(message["data"], json!({"n": offset}));
            let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
            let age_ms = i128::try_from(now_ms).unwrap() - i128::from(message["time"].as_i64().unwrap());
            assert!((-1_000..60_000).contains(&age_ms), "{message}");
            assert!(message.get("from").is_none(), "the rule does not reveal who published");
        }
    }
}

#[tokio::test]
async fn a_rule_may_reveal_the_publisher_which_cannot_be_forged() {
    let running = Running::with(|config| config.topics[0].reveal_publisher = true);
    let mut reader = running.client(Codec::Json).await;
    reader.subscribe("a").await;
    for codec in Codec::ALL {
        let mut writer = running.client(codec).await;
        let forged = json!({"type": "publish", "topic": "a", "data": 1, "from": {"session": "me", "user": "root"}});
        writer.ok(forged).await;
        let message = reader.message().await;
        assert_eq!(message["from"], json!({"session": writer.welcome["session"], "user": null}));
    }
    running.broker.publish("a", Payload::json(&1).unwrap()).await.unwrap();
    assert!(reader.message().await.get("from").is_none(), "the embedding program is no session");
}

#[tokio::test]
async fn messages_stop_with_the_subscription() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        client.subscribe("a").await;
        client.subscribe("b").await;
        client.ok(json!({"type": "unsubscribe", "topic": "a"})).await;
        client.publish("a", json!("unheard")).await;
        client.publish("b", json!("heard")).await;
        assert_eq!(client.message().await["data"], "heard");
        client.ok(json!({"type": "unsubscribe", "topics": [{"topic": "b"}, {"topic": "never"}]})).await;
        client.publish("b", json!("unheard")).await;
        client.ping().await;
        assert_eq!(client.take_all(), Vec::<Value>::new());
        client.close().await;
    }
    running.becomes_empty().await;
}

#[tokio::test]
async fn subscribing_twice_delivers_once() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        let first = client.subscribe("a").await;
        assert_eq!(client.subscribe("a").await, first);
        assert_eq!(running.broker.metrics().subscriptions, 1);
        client.publish("a", json!(1)).await;
        client.message().await;
        client.ping().await;
        assert_eq!(client.take_all(), Vec::<Value>::new());
        client.ok(json!({"type": "unsubscribe", "topic": "a"})).await;
        assert_eq!(running.broker.metrics().subscriptions, 0);
        client.close().await;
    }
}

#[tokio::test]
async fn a_refused_topic_of_a_bulk_subscribe_does_not_affect_the_others() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        let topics = json!([{"topic": "a"}, {"topic": "$sys"}, {"topic": "b", "presence": false}, {"topic": "a..b"}]);
        let reply = client.ok(json!({"type": "subscribe", "topics": topics})).await;
        let outcomes = reply["topics"].as_array().expect("one outcome each");
        let received: Vec<&Value> = outcomes.iter().map(|outcome| &outcome["topic"]).collect();
        assert_eq!(received, ["a", "$sys", "b", "a..b"]);
        assert!(outcomes[0]["position"]["epoch"].is_string() && outcomes[2]["position"]["offset"].is_u64());
        assert_eq!(
            (&outcomes[1]["error"]["code"], &outcomes[3]["error"]["code"]),
            (&json!("forbidden"), &json!("bad_request"))
        );
        client.publish("b", json!("heard")).await;
        assert_eq!(client.message().await["topic"], "b");
        client.close().await;
    }
}

#[tokio::test]
async fn requests_without_an_id_are_answered_only_with_errors() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        client.send(&json!({"type": "subscribe", "topic": "a"})).await;
        client.send(&json!({"type": "publish", "topic": "a", "data": 1})).await;
        assert_eq!(client.message().await["data"], 1);
        client.send(&json!({"type": "publish", "topic": "$sys", "data": 1})).await;
        let error = client.push().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("forbidden")));
        client.ping().await;
        assert_eq!(client.take_all(), Vec::<Value>::new());
    }
}

#[tokio::test]
async fn a_protocol_ping_returns_its_data_and_the_time() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        let data = json!({"sent": 12.5, "list": [1, null, "é"]});
        let pong = client.request(json!({"type": "ping", "data": data})).await;
        assert_eq!((&pong["type"], &pong["data"]), (&json!("pong"), &data));
        assert!(pong["time"].as_u64().unwrap() > 1_700_000_000_000);
        let bare = client.request(json!({"type": "ping"})).await;
        assert!(bare.get("data").is_none());
    }
}

#[tokio::test]
async fn connect_reports_an_anonymous_session() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        assert_eq!(client.ok(json!({"type": "connect", "client": "test/1"})).await["user"], Value::Null);
        client.refused(json!({"type": "connect", "token": "secret"}), "unauthorized").await;
        client.ping().await;
    }
}

#[tokio::test]
async fn a_stream_of_an_embedding_program_is_an_ordinary_session() {
    let running = Running::start();
    let mut other = running.client(Codec::Json).await;
    other.subscribe("a").await;
    for codec in Codec::ALL {
        let (near, far) = tokio::io::duplex(512);
        running.serve(far, codec);
        let mut client = Client::over(near, codec).await;
        client.subscribe("a").await;
        let large = "x".repeat(10_000);
        client.publish("a", json!(large)).await;
        assert_eq!(client.message().await["data"], large);
        assert_eq!(other.message().await["data"], large);
        client.close().await;
    }
    other.close().await;
    running.becomes_empty().await;
}

#[tokio::test]
async fn a_stopping_broker_sends_closing_and_closes_with_1001() {
    let mut running = Running::start();
    let mut clients = Vec::new();
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        client.subscribe("a").await;
        clients.push(client);
    }
    running.broker.publish("a", Payload::json("last words").unwrap()).await.unwrap();
    running.begin_stop();
    for client in &mut clients {
        assert_eq!(client.closed().await, Some(1001));
        assert_eq!(client.message().await["data"], "last words", "what was published before is still delivered");
        let closing = client.push().await;
        assert_eq!((&closing["type"], &closing["code"]), (&json!("closing"), &json!(1001)));
        assert!(closing["retry_after_ms"].is_u64() && closing["message"].is_string(), "{closing}");
    }
    running.becomes_empty().await;
}
