//! A user whose session ended and who is back in time has not left.

use std::time::Duration;

use rialto::{Codec, ManualClock};
use serde_json::{Value, json};

use super::{attended, attended_by, follow, member};
use crate::support::{Client, Running, eventually};

/// A session of a user, as an embedding program brings it.
async fn come(running: &Running, user: &str) -> Client {
    let (near, far) = tokio::io::duplex(65_536);
    running.serve_as(user, near, Codec::Json);
    let mut client = Client::over(far, Codec::Json).await;
    client.subscribe("t").await;
    client
}

async fn users(witness: &mut Client) -> Vec<Value> {
    let reply = witness.ok(json!({"type": "presence", "topic": "t"})).await;
    reply["members"].as_array().unwrap().iter().map(|member| member["user"].clone()).collect()
}

#[tokio::test]
async fn a_user_who_reconnects_within_the_grace_period_has_not_left() {
    let running = attended(|config| config.limits.presence_grace_ms = 60_000);
    let mut witness = running.client(Codec::Json).await;
    follow(&mut witness, "t").await;
    let portia = come(&running, "portia").await;
    assert_eq!(witness.push().await["member"], member(&portia));
    for _ in 0..5 {
        let sessions = running.broker.metrics().sessions_opened_total;
        let portia = come(&running, "portia").await;
        assert_eq!(running.broker.metrics().sessions_opened_total, sessions + 1);
        // Two at a time are two members.
        assert_eq!(witness.push().await, json!({"type": "join", "topic": "t", "member": member(&portia)}));
        portia.close().await;
        eventually("it has ended", || running.broker.metrics().sessions == 2).await;
        let back = come(&running, "portia").await;
        assert_eq!(users(&mut witness).await, [Value::Null, json!("portia"), json!("portia")]);
        let mut back = back;
        back.ok(json!({"type": "unsubscribe", "topic": "t"})).await;
        assert_eq!(witness.push().await, json!({"type": "leave", "topic": "t", "member": member(&back)}));
        back.close().await;
        eventually("it has ended", || running.broker.metrics().sessions == 2).await;
    }
    portia.close().await;
    eventually("it has ended", || running.broker.metrics().sessions == 1).await;
    assert_eq!(users(&mut witness).await, [Value::Null, json!("portia")], "still for a while");
    witness.ping().await;
    assert!(witness.take_all().is_empty());
}

#[tokio::test]
async fn a_user_leaves_when_the_grace_period_ends() {
    let clock = ManualClock::new(0);
    let running = attended_by(|config| config.limits.presence_grace_ms = 100, &clock);
    let mut witness = running.client(Codec::Json).await;
    follow(&mut witness, "t").await;
    let gone = come(&running, "antonio").await;
    assert_eq!(witness.push().await["type"], "join");
    let gone_member = member(&gone);
    gone.close().await;
    eventually("it has ended", || running.broker.metrics().sessions == 1).await;
    clock.advance(Duration::from_millis(99));
    // Somebody else is not him.
    let other = come(&running, "bassanio").await;
    assert_eq!(witness.push().await, json!({"type": "join", "topic": "t", "member": member(&other)}));
    witness.ping().await;
    assert!(witness.take_all().is_empty(), "a millisecond is left");
    clock.advance(Duration::from_millis(1));
    assert_eq!(witness.push().await, json!({"type": "leave", "topic": "t", "member": gone_member}));
    other.close().await;
    eventually("it has ended", || running.broker.metrics().sessions == 1).await;
    clock.advance(Duration::from_millis(100));
    assert_eq!(witness.push().await["type"], "leave");
    witness.close().await;
    eventually("nobody is present", || running.broker.metrics().presence_members == 0).await;
    eventually("the topic is forgotten", || running.broker.metrics().topics == 0).await;
}

#[tokio::test]
async fn without_grace_everybody_leaves_at_once() {
    let running = attended(|config| config.limits.presence_grace_ms = 0);
    let mut witness = running.client(Codec::Json).await;
    follow(&mut witness, "t").await;
    come(&running, "shylock").await.close().await;
    assert_eq!(witness.push().await["type"], "join");
    assert_eq!(witness.push().await["type"], "leave");
}
