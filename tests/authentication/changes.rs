//! What changes while sessions run: rules, tokens that are renewed, expire or are revoked.

use std::time::Duration;

use rialto::Codec;
use rialto::config::{Config, Permission, TopicRule};
use rialto::topic::Pattern;
use serde_json::{Value, json};

use crate::support::token::{auth, now_s, token_of};
use crate::support::{Client, Program, Running, eventually, within};

fn config(rules: &[(&str, &[&str])]) -> Config {
    let mut config = Config::default();
    let mut auth = auth(true);
    (auth.leeway_ms, auth.warn_ms) = (0, 1_000);
    config.auth = Some(auth);
    config.topics = rules
        .iter()
        .map(|(pattern, subscribe)| TopicRule {
            pattern: Pattern::parse(pattern).unwrap(),
            subscribe: Some(Permission::parse(subscribe.iter().copied()).unwrap()),
            ..TopicRule::default()
        })
        .collect();
    config
}

fn running(config: &Config) -> Running {
    let wanted = config.clone();
    Running::with(move |config| (config.auth, config.topics) = (wanted.auth, wanted.topics))
}

async fn user(running: &Running, name: &str, more: Value) -> Client {
    let mut client = running.client(Codec::Json).await;
    client.ok(json!({"type": "connect", "token": token_of(name, more)})).await;
    client
}

async fn publish(running: &Running, topic: &str, number: u64) {
    running.broker.publish(topic, rialto::Payload::json(&number).unwrap()).await.unwrap();
}

async fn ended(client: &mut Client, topic: &str) {
    let push = client.push().await;
    assert_eq!(
        (&push["type"], &push["topic"], &push["code"]),
        (&json!("unsubscribed"), &json!(topic), &json!("forbidden"))
    );
}

#[tokio::test]
async fn a_reload_ends_what_is_not_permitted_any_more_and_nothing_else() {
    let before = config(&[("a.*", &["anyone"]), ("b.*", &["anyone"])]);
    let running = running(&before);
    let mut ann = user(&running, "ann", json!({"roles": ["r"]})).await;
    let mut bob = user(&running, "bob", json!({})).await;
    for client in [&mut ann, &mut bob] {
        for topic in ["a.1", "b.1", "*.*"] {
            client.ok(json!({"type": "subscribe", "topic": topic})).await;
        }
    }
    let reload = async |rules: &[(&str, &[&str])]| {
        let mut wanted = config(rules);
        // As the server and the limits are.
        let mut now = Config::default();
        (now.auth, now.topics) = (wanted.auth.take(), wanted.topics);
        now.server.hosts = ["a", "b", "x"].map(str::to_owned).to_vec();
        running.broker.reload(now).await.unwrap();
    };
    reload(&[("a.*", &["role:r"]), ("b.*", &["anyone"])]).await;
    ended(&mut bob, "a.1").await;
    publish(&running, "a.1", 1).await;
    publish(&running, "b.1", 2).await;
    assert_eq!([ann.push().await["data"].clone(), ann.push().await["data"].clone()], [json!(1), json!(2)]);
    assert_eq!(bob.push().await["data"], 2, "by name and by pattern, once");
    reload(&[("a.*", &["nobody"]), ("b.*", &["nobody"])]).await;
    let mut over: Vec<String> = Vec::new();
    for _ in 0..3 {
        let push = ann.push().await;
        assert_eq!((&push["type"], &push["code"]), (&json!("unsubscribed"), &json!("forbidden")), "{push}");
        over.push(push["topic"].as_str().unwrap().to_owned());
    }
    over.sort();
    assert_eq!(over, ["*.*", "a.1", "b.1"]);
    eventually("nobody holds a pattern", || running.broker.metrics().patterns == 0).await;
    // What is permitted again can be subscribed to again.
    reload(&[("a.*", &["user"]), ("b.*", &["nobody"])]).await;
    bob.ok(json!({"type": "subscribe", "topic": "a.1"})).await;
    bob.refused(json!({"type": "subscribe", "topic": "b.1"}), "forbidden").await;
}

#[tokio::test]
async fn a_renewed_token_has_the_permissions_of_its_claims() {
    let running = running(&config(&[("a.*", &["role:r", "token"]), ("own.{user}", &["user"])]));
    let mut client = user(&running, "ann", json!({"roles": ["r"]})).await;
    for topic in ["a.1", "a.2", "a.*", "own.ann", "own.*"] {
        client.ok(json!({"type": "subscribe", "topic": topic})).await;
    }
    // Another user's token is no renewal.
    client.refused(json!({"type": "connect", "token": token_of("bob", json!({}))}), "bad_request").await;
    let less = json!({"topics": {"subscribe": ["a.2"]}});
    client.ok(json!({"type": "connect", "token": token_of("ann", less)})).await;
    ended(&mut client, "a.1").await;
    for (number, topic) in ["a.1", "a.2", "own.ann"].into_iter().enumerate() {
        publish(&running, topic, number as u64).await;
    }
    assert_eq!(
        [client.push().await["topic"].clone(), client.push().await["topic"].clone()],
        [json!("a.2"), json!("own.ann")]
    );
    client.ok(json!({"type": "connect", "token": token_of("ann", json!({}))})).await;
    ended(&mut client, "a.2").await;
    ended(&mut client, "a.*").await;
    publish(&running, "own.ann", 9).await;
    assert_eq!(client.push().await["data"], 9);
}

#[tokio::test]
async fn a_session_is_warned_and_ends_with_its_token() {
    let running = running(&config(&[("a", &["user"])]));
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        let exp = now_s() + 3;
        client.ok(json!({"type": "connect", "token": token_of("ann", json!({"exp": exp}))})).await;
        client.ok(json!({"type": "subscribe", "topic": "a"})).await;
        let warned = within("the warning", client.push()).await;
        assert_eq!((&warned["type"], &warned["expires_at"]), (&json!("token_expiring"), &json!(exp * 1_000)));
        assert!(now_s() < exp, "before it is too late");
        let closing = within("the end", client.push()).await;
        assert_eq!((&closing["type"], &closing["code"]), (&json!("closing"), &json!(4002)));
        assert_eq!(client.closed().await, Some(4002));
    }
}

#[tokio::test]
async fn a_renewed_session_goes_on() {
    let running = running(&config(&[("a", &["user"])]));
    let mut client = user(&running, "ann", json!({"exp": now_s() + 2})).await;
    assert_eq!(client.push().await["type"], "token_expiring");
    client.ok(json!({"type": "connect", "token": token_of("ann", json!({}))})).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    client.ok(json!({"type": "subscribe", "topic": "a"})).await;
    assert!(client.take_all().is_empty());
}

/// By user, by token, by session: what is revoked ends at once and is not taken again, everything else goes on.
#[tokio::test]
async fn revoked_tokens_end_their_sessions_and_are_not_taken_again() {
    let wanted = config(&[("a", &["user"])]);
    let running = Running::with(|config| {
        (config.auth, config.topics) = (wanted.auth.clone(), wanted.topics.clone());
        config.api = Some(rialto::config::Api { keys: vec![crate::http::api_key("backend", crate::http::KEY)] });
    });
    let program = Program { address: running.address, key: crate::http::KEY.to_owned() };
    let old = json!({"iat": now_s() - 5});
    let with_id = |id: &str| json!({"jti": id, "iat": now_s() - 5});
    let mut ann = user(&running, "ann", old.clone()).await;
    let mut bob = user(&running, "bob", with_id("t1")).await;
    let mut cat = user(&running, "cat", with_id("t2")).await;
    let mut dan = user(&running, "dan", with_id("t3")).await;
    let session = cat.welcome["session"].clone();
    for body in [json!({"user": "ann"}), json!({"token": "t1", "for_ms": 60_000}), json!({"session": session})] {
        assert_eq!(program.ok("revoke", body).await, json!({}));
    }
    for client in [&mut ann, &mut bob, &mut cat] {
        assert_eq!(within("the end", client.closed()).await, Some(4001));
    }
    for (name, claims) in [("ann", old), ("bob", with_id("t1")), ("cat", with_id("t2"))] {
        let mut again = running.client(Codec::Json).await;
        again.refused(json!({"type": "connect", "token": token_of(name, claims)}), "unauthorized").await;
    }
    // Another token of bob's, and one that ann was given later.
    user(&running, "bob", with_id("t4")).await;
    user(&running, "ann", json!({"iat": now_s() + 2})).await;
    dan.ok(json!({"type": "subscribe", "topic": "a"})).await;
    for body in [
        json!({}),
        json!({"user": "a", "token": "b"}),
        json!({"user": "a", "for_ms": -1}),
        json!({"user": "a", "for_ms": 1_u64 << 53}),
    ] {
        assert_eq!(program.ask("revoke", &body).await.0, 400, "{body}");
    }
}
