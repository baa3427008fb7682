//! Where a client puts its token: header, query, subprotocol, cookie, the first `connect`; for WebSocket, streams and polls.

use std::time::Duration;

use rialto::Codec;
use serde_json::json;

use crate::support::token::{auth, token_of};
use crate::support::{Client, Running, get, http, upgrade_request, within};

const STRICT: bool = false;

fn strict() -> Running {
    Running::with(|config| {
        let mut auth = auth(STRICT);
        auth.cookie = Some("session".to_owned());
        auth.auth_ms = 300;
        config.auth = Some(auth);
    })
}

#[tokio::test]
async fn every_door_takes_a_token_and_refuses_a_request_without() {
    let running = strict();
    let (address, token) = (running.address, token_of("ann", json!({})));
    for target in ["/sse?topic=a", "/poll?topic=a&wait_ms=0"] {
        let refused = get(address, target).await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")), "{target}");
        assert_eq!(refused.body.trim(), "credentials are required");
        let bad = get(address, &format!("{target}&token=a.b.c")).await;
        assert_eq!((bad.status, bad.header("www-authenticate")), (401, Some("Bearer error=\"invalid_token\"")));
        assert!(!bad.body.contains("a.b.c"), "{}", bad.body);
    }
    let polled = get(address, &format!("/poll?topic=a&wait_ms=0&token={token}")).await;
    assert_eq!(polled.status, 200, "{polled:?}");
    for (header, value) in
        [("Authorization", format!("Bearer {token}")), ("Cookie", format!("theme=dark; session={token}"))]
    {
        let request = format!("GET /poll?topic=a&wait_ms=0 HTTP/1.1\r\nHost: {address}\r\n{header}: {value}\r\n\r\n");
        assert_eq!(http(address, &request).await.status, 200, "{header}");
    }
    for change in [
        ("Authorization", format!("Bearer {token}")),
        ("Cookie", format!("session={token}")),
        ("Sec-WebSocket-Protocol", format!("rialto.v1.json, rialto.token.{token}")),
    ] {
        let upgraded = http(address, &upgrade_request(address, &[(change.0, &change.1)])).await;
        assert_eq!(upgraded.status, 101, "{}", change.0);
        let named = upgraded.header("sec-websocket-protocol");
        assert!(named.is_none_or(|named| named == "rialto.v1.json"), "{named:?}");
    }
    let bad = http(address, &upgrade_request(address, &[("Authorization", "Bearer a.b.c")])).await;
    assert_eq!(bad.status, 401);
}

#[tokio::test]
async fn the_welcome_says_who_the_session_is() {
    let running = strict();
    let token = token_of("ann@example.com", json!({"roles": ["trader"]}));
    for codec in Codec::ALL {
        let client =
            Client::with_headers(running.address, codec, &[("authorization", &format!("Bearer {token}"))]).await;
        assert_eq!(client.welcome["user"], "ann@example.com");
        assert_eq!(client.welcome["user_token"], "ann@example%2Ecom");
        assert!(client.welcome["expires_at"].as_u64().unwrap() > 1_700_000_000_000);
    }
}

#[tokio::test]
async fn a_websocket_may_send_its_token_first_and_nothing_else_before() {
    let running = strict();
    for codec in Codec::ALL {
        let mut client = running.client(codec).await;
        assert!(client.welcome["user"].is_null() && client.welcome.get("user_token").is_none());
        for request in [
            json!({"type": "subscribe", "topic": "a"}),
            json!({"type": "publish", "topic": "a", "data": 1}),
            json!({"type": "history", "topic": "a"}),
            json!({"type": "presence", "topic": "a"}),
            json!({"type": "call", "topic": "a", "method": "m"}),
            json!({"type": "connect"}),
        ] {
            client.refused(request, "unauthorized").await;
        }
        client.ping().await;
        let connected = client.ok(json!({"type": "connect", "token": token_of("bob", json!({}))})).await;
        assert_eq!((&connected["user"], &connected["user_token"]), (&json!("bob"), &json!("bob")));
        assert!(connected["expires_at"].as_u64().unwrap() > 1_700_000_000_000);
        client.ok(json!({"type": "subscribe", "topic": "a"})).await;
        // The time for the token is over.
        tokio::time::sleep(Duration::from_millis(600)).await;
        client.ok(json!({"type": "subscribe", "topic": "b"})).await;
    }
}

#[tokio::test]
async fn a_websocket_without_a_token_is_closed_in_time() {
    let running = strict();
    let mut raw = running.raw(Codec::Json).await;
    let begun = std::time::Instant::now();
    assert_eq!(within("the end", raw.close_code()).await, 4001);
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn before_its_token_a_session_sends_nothing_large() {
    let running = strict();
    let mut raw = running.raw(Codec::Json).await;
    let large = json!({"type": "connect", "token": "x".repeat(6_000)}).to_string();
    raw.send(&crate::support::raw::masked(crate::support::raw::FIN | crate::support::raw::TEXT, large.as_bytes()))
        .await;
    assert_eq!(raw.close_code().await, 1009);
}

#[tokio::test]
async fn cookies_do_not_count_where_any_page_may_connect() {
    let running = Running::with(|config| {
        let mut auth = auth(STRICT);
        auth.cookie = Some("session".to_owned());
        config.auth = Some(auth);
        config.server.allowed_origins = vec!["*".to_owned()];
    });
    let (address, token) = (running.address, token_of("ann", json!({})));
    let request = format!("GET /poll?topic=a&wait_ms=0 HTTP/1.1\r\nHost: {address}\r\nCookie: session={token}\r\n\r\n");
    assert_eq!(http(address, &request).await.status, 401);
}

#[tokio::test]
async fn a_broker_without_authentication_takes_no_token() {
    let running = Running::start();
    let mut client = running.client(Codec::Json).await;
    client.refused(json!({"type": "connect", "token": token_of("ann", json!({}))}), "unauthorized").await;
    client.ok(json!({"type": "connect"})).await;
}

#[tokio::test]
async fn a_user_has_so_many_sessions_also_where_the_token_comes_later() {
    let running = Running::with(|config| {
        config.auth = Some(auth(STRICT));
        config.limits.sessions_per_user = 2;
    });
    let connect = json!({"type": "connect", "token": token_of("ann", json!({}))});
    let mut first = running.client(Codec::Json).await;
    first.ok(connect.clone()).await;
    let second = Client::with_headers(running.address, Codec::Json, &[("authorization", &bearer("ann"))]).await;
    let mut third = running.client(Codec::Json).await;
    third.refused(connect.clone(), "too_many").await;
    let refused = http(running.address, &upgrade_request(running.address, &[("Authorization", &bearer("ann"))])).await;
    assert_eq!(refused.status, 429);
    third.ok(json!({"type": "connect", "token": token_of("bob", json!({}))})).await;
    drop(second);
    let mut fourth = running.client(Codec::Json).await;
    crate::support::eventually("there is room again", || running.broker.metrics().sessions == 3).await;
    fourth.ok(connect).await;
}

fn bearer(user: &str) -> String {
    format!("Bearer {}", token_of(user, json!({})))
}
