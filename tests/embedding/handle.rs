//! Connections that the embedding program hands over: it knows the session at once, can close it and learns how it
//! ended.

use std::net::Ipv4Addr;
use std::time::Duration;

use rialto::config::{Permission, TopicRule};
use rialto::topic::Pattern;
use rialto::{CloseCode, Codec, ConnectionInfo, Identity, ManualClock, SessionEnd, Tokens};
use serde_json::{Value, json};

use crate::support::raw::{CLOSE, FIN, masked};
use crate::support::{Client, Running, eventually, within};

#[tokio::test]
async fn the_id_is_that_of_the_session_and_the_identity_counts_in_rules() {
    let running = Running::with(|config| {
        let trader = Permission::parse(["role:trader"]).unwrap();
        let orders =
            TopicRule { pattern: Pattern::parse("orders").unwrap(), publish: Some(trader), ..TopicRule::default() };
        config.topics.insert(0, orders);
    });
    let publish = json!({"type": "publish", "topic": "orders", "data": 1});
    for codec in Codec::ALL {
        for identity in [Identity::user("ann").role("trader"), Identity::user("bob"), Identity::anonymous()] {
            let (near, far) = tokio::io::duplex(4_096);
            let user = identity.name().map_or(Value::Null, Value::from);
            let is_trader = identity.has_role("trader");
            let info = ConnectionInfo::new(codec).address(Ipv4Addr::new(192, 0, 2, 1)).label("test");
            let session = running.broker.serve_websocket(far, identity, info);
            assert!(session.id().len() >= 16, "{}", session.id());
            let mut client = Client::over(near, codec).await;
            assert_eq!((&client.welcome["session"], &client.welcome["user"]), (&json!(session.id()), &user));
            match is_trader {
                true => client.ok(publish.clone()).await,
                false => client.refused(publish.clone(), "forbidden").await,
            };
            // A handle may be dropped, and one may outlive the session.
            drop(session.clone());
            client.ping().await;
            client.close().await;
            assert_eq!(within("its end", session.ended()).await, SessionEnd::Left { code: None });
            session.close(CloseCode::Kicked, "too late");
        }
    }
    running.becomes_empty().await;
}

#[tokio::test]
async fn a_session_is_closed_with_a_code_and_a_reason() {
    let running = Running::start();
    for codec in Codec::ALL {
        for (code, retries) in [(CloseCode::Kicked, false), (CloseCode::TryAgainLater, true)] {
            let (near, far) = tokio::io::duplex(4_096);
            let session = running.serve(far, codec);
            let mut client = Client::over(near, codec).await;
            let waiting = tokio::spawn({
                let session = session.clone();
                async move { session.ended().await }
            });
            session.close(code, "the desk is closed");
            session.close(CloseCode::Normal, "the first reason counts");
            assert_eq!(client.closed().await, Some(code.number()));
            let closing = client.push().await;
            assert_eq!((&closing["type"], &closing["message"]), (&json!("closing"), &json!("the desk is closed")));
            assert_eq!(closing["retry_after_ms"].is_u64(), retries, "{closing}");
            drop(client);
            let end = SessionEnd::Closed { code: code.number(), reason: "the desk is closed".to_owned() };
            assert_eq!((within("its end", waiting).await.unwrap(), end.code()), (end.clone(), Some(code.number())));
            assert_eq!(within("its end, again", session.ended()).await, end);
            assert_eq!(running.broker.metrics().sessions, 0, "nothing is left of it");
        }
    }
}

#[tokio::test]
async fn a_session_is_closed_before_it_has_begun() {
    let running = Running::start();
    for _ in 0..100 {
        let (near, far) = tokio::io::duplex(4_096);
        let session = running.serve(far, Codec::Json);
        session.close(CloseCode::Kicked, "at once");
        assert_eq!(Client::over(near, Codec::Json).await.closed().await, Some(4003));
        assert_eq!(within("its end", session.ended()).await.code(), Some(4003));
    }
}

#[tokio::test]
async fn every_way_to_end_is_told() {
    let running = Running::with(|config| config.limits.sessions_per_user = 1);
    // The client closes, with a code of its own.
    let (mut near, far) = tokio::io::duplex(4_096);
    let session = running.serve(far, Codec::Json);
    tokio::io::AsyncWriteExt::write_all(&mut near, &masked(FIN | CLOSE, &3_001_u16.to_be_bytes())).await.unwrap();
    let reading = tokio::spawn(async move { tokio::io::copy(&mut near, &mut tokio::io::sink()).await });
    assert_eq!(within("its end", session.ended()).await, SessionEnd::Left { code: Some(3_001) });
    drop(reading);
    // The connection is lost.
    let (near, far) = tokio::io::duplex(4_096);
    let session = running.serve(far, Codec::Json);
    drop(near);
    let end = within("its end", session.ended()).await;
    assert_eq!((&end, end.code()), (&SessionEnd::Lost, None));
    // A limit is reached.
    let (first, far) = tokio::io::duplex(4_096);
    let open = running.serve_as("ann", far, Codec::Json);
    let mut first = Client::over(first, Codec::Json).await;
    let (near, far) = tokio::io::duplex(4_096);
    let refused = running.serve_as("ann", far, Codec::Json);
    assert_eq!(Client::over(near, Codec::Json).await.closed().await, Some(4005));
    assert_eq!(within("its end", refused.ended()).await.code(), Some(4005));
    // The user is revoked.
    tokio::time::timeout(Duration::ZERO, open.ended()).await.expect_err("it goes on");
    running.broker.revoke(&Tokens::OfUser("ann".into()), None).unwrap();
    assert_eq!(first.closed().await, Some(4001));
    drop(first);
    assert_eq!(within("its end", open.ended()).await.code(), Some(4001));
    running.becomes_empty().await;
}

#[tokio::test]
async fn a_session_ends_with_its_identity() {
    let clock = ManualClock::new(1_800_000_000_000);
    let running = Running::built(|_| {}, |builder| builder.clock(clock.clone()));
    let serve = |identity: Identity| {
        let (near, far) = tokio::io::duplex(4_096);
        (near, running.broker.serve_websocket(far, identity, ConnectionInfo::new(Codec::Json)))
    };
    let (near, session) = serve(Identity::user("ann").expires_at(1_800_000_001_000));
    let mut client = Client::over(near, Codec::Json).await;
    assert_eq!(client.welcome["expires_at"], 1_800_000_001_000_u64);
    client.ping().await;
    clock.advance(Duration::from_secs(2));
    assert_eq!(client.closed().await, Some(4002));
    drop(client);
    assert_eq!(within("its end", session.ended()).await.code(), Some(4002));
    // One that is over already carries out nothing.
    let (near, session) = serve(Identity::user("ann").expires_at(1));
    assert_eq!(Client::over(near, Codec::Json).await.closed().await, Some(4002));
    assert_eq!(within("its end", session.ended()).await.code(), Some(4002));
}

#[tokio::test]
async fn a_stopped_broker_tells_the_end() {
    let running = Running::start();
    let (near, far) = tokio::io::duplex(4_096);
    let session = running.serve(far, Codec::Json);
    let mut client = Client::over(near, Codec::Json).await;
    let stopped = tokio::spawn({
        let broker = running.broker.clone();
        async move { broker.shutdown(Duration::from_secs(5)).await }
    });
    assert_eq!(client.closed().await, Some(1001));
    drop(client);
    assert_eq!(within("its end", session.ended()).await.code(), Some(1001));
    within("the end of the broker", stopped).await.unwrap();
    // A connection that comes after that is lost.
    let (_near, far) = tokio::io::duplex(4_096);
    let late = running.serve(far, Codec::Json);
    assert_eq!(within("its end", late.ended()).await, SessionEnd::Lost);
    eventually("nothing is left", || running.broker.metrics().sessions == 0).await;
}
