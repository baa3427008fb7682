//! Rate limits of requests: of a session, of a user over all sessions, of an address; refusals in vain end a session.

use std::net::Ipv4Addr;
use std::time::Duration;

use rialto::Codec;
use rialto::config::Rates;
use serde_json::{Value, json};

use crate::support::token::{auth, token_of};
use crate::support::{Client, Raw, Running, eventually, within};

fn with(rates: Rates) -> Running {
    Running::with(|config| {
        config.auth = Some(auth(true));
        config.rates = rates;
        config.topics[0].publish = Some(rialto::config::Permission::anyone());
        config.topics[0].call = Some(rialto::config::Permission::anyone());
        config.topics[0].history_for = Some(rialto::config::Permission::anyone());
    })
}

async fn user(running: &Running, name: &str) -> Client {
    let mut client = running.client(Codec::Json).await;
    client.ok(json!({"type": "connect", "token": token_of(name, json!({}))})).await;
    client
}

/// How many of these requests are refused by a rate limit. Each refusal says when to come back.
async fn refused(client: &mut Client, count: usize, request: &Value) -> usize {
    let mut refused = 0;
    for _ in 0..count {
        let reply = client.request(request.clone()).await;
        if reply["code"] == "rate_limited" {
            assert!((1..=3_000).contains(&reply["retry_after_ms"].as_u64().unwrap()), "{reply}");
            refused += 1;
        }
    }
    refused
}

#[tokio::test]
async fn each_kind_of_request_has_its_rate() {
    let publish = json!({"type": "publish", "topic": "a", "data": 1});
    for (rates, request) in [
        (Rates { session_publishes: 5, ..Rates::default() }, publish.clone()),
        (Rates { session_bytes: 5, ..Rates::default() }, publish),
        (Rates { session_subscribes: 5, ..Rates::default() }, json!({"type": "subscribe", "topic": "a.*"})),
        (Rates { session_calls: 5, ..Rates::default() }, json!({"type": "call", "topic": "a", "method": "m"})),
        (Rates { session_calls: 5, ..Rates::default() }, json!({"type": "history", "topic": "a"})),
        (Rates { session_calls: 5, ..Rates::default() }, json!({"type": "presence", "topic": "a"})),
    ] {
        let running = with(rates);
        let mut client = running.client(Codec::MessagePack).await;
        let count = refused(&mut client, 20, &request).await;
        assert!((10..=15).contains(&count), "{count} of {request}");
        // Another session is not touched, and this one is served again.
        assert_eq!(refused(&mut running.client(Codec::Json).await, 5, &request).await, 0);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(refused(&mut client, 4, &request).await, 0);
        client.ping().await;
    }
}

#[tokio::test]
async fn a_list_counts_as_its_topics() {
    let running = with(Rates { session_subscribes: 10, ..Rates::default() });
    let mut client = running.client(Codec::Json).await;
    let topics: Vec<Value> = (0..30).map(|number| json!({"topic": format!("a.{number}")})).collect();
    client.ok(json!({"type": "subscribe", "topics": topics})).await;
    let reply = client.refused(json!({"type": "subscribe", "topic": "b"}), "rate_limited").await;
    assert!(reply["retry_after_ms"].as_u64().unwrap() > 1_500, "{reply}");
}

#[tokio::test]
async fn all_sessions_of_a_user_share_a_rate() {
    let running = with(Rates { user_publishes: 10, ..Rates::default() });
    let publish = json!({"type": "publish", "topic": "a", "data": 1});
    let mut sessions = [user(&running, "ann").await, user(&running, "ann").await];
    let mut count = 0;
    for session in &mut sessions {
        count += refused(session, 10, &publish).await;
    }
    assert!((7..=10).contains(&count), "{count}");
    assert_eq!(refused(&mut user(&running, "bob").await, 10, &publish).await, 0);
}

#[tokio::test]
async fn an_address_has_a_rate_for_its_sessions_without_a_user() {
    let running = with(Rates { address_publishes: 10, address_sessions: 3, ..Rates::default() });
    let (hostile, neighbour) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let publish = json!({"type": "publish", "id": 1, "topic": "a", "data": 1});
    let mut refused = 0;
    for _ in 0..3 {
        let mut raw = Raw::connect_from(hostile, running.address, Codec::Json).await;
        for _ in 0..5 {
            raw.request(&publish).await;
            refused += usize::from(raw.frame_value().await["code"] == "rate_limited");
        }
    }
    assert!((3..=5).contains(&refused), "{refused}");
    // One more session of this address has to wait.
    let stream = crate::support::raw::open_from(hostile, running.address).await;
    let request = crate::support::upgrade_request(running.address, &[]);
    assert_eq!(crate::support::http_over(stream, &request).await.status, 429);
    let mut raw = Raw::connect_from(neighbour, running.address, Codec::Json).await;
    for _ in 0..10 {
        raw.request(&publish).await;
        assert_eq!(raw.frame_value().await["type"], "ok");
    }
}

#[tokio::test]
async fn a_session_that_goes_on_all_the_same_is_closed() {
    let running = with(Rates { session_publishes: 1, refusals: 20, ..Rates::default() });
    let mut client = running.client(Codec::Json).await;
    for _ in 0..40 {
        client.ask(json!({"type": "publish", "topic": "a", "data": 1})).await;
    }
    assert_eq!(within("the end", client.closed()).await, Some(4006));
    eventually("it has gone", || running.broker.metrics().sessions == 0).await;
}
