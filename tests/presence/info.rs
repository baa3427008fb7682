//! What a token says of its bearer for others to see, its claim `info`: in presence and to the session itself, nowhere
//! else.

use rialto::Codec;
use serde_json::{Value, json};

use super::{attended, follow};
use crate::support::token::{auth, token_of};
use crate::support::{Client, Running};

fn start() -> Running {
    attended(|config| {
        config.auth = Some(auth(true));
        config.topics[0].reveal_publisher = true;
    })
}

/// A session of a user, and the answer to its `connect`.
async fn user(running: &Running, codec: Codec, name: &str, more: Value) -> (Client, Value) {
    let mut client = running.client(codec).await;
    let connected = client.ok(json!({"type": "connect", "token": token_of(name, more)})).await;
    (client, connected)
}

fn shown(client: &Client, user: &str, info: Option<&Value>) -> Value {
    let mut member = json!({"session": client.welcome["session"], "user": user});
    if let Some(info) = info {
        member["info"] = info.clone();
    }
    member
}

#[tokio::test]
async fn lists_joins_and_leaves_show_it_in_either_codec() {
    for codec in Codec::ALL {
        let running = start();
        let info = json!({"name": "Ann", "face": [1, -2, null, true], "a.b": {"c": 0.5}});
        let (mut bob, connected) = user(&running, codec, "bob", json!({})).await;
        assert!(connected.get("info").is_none(), "{connected}");
        follow(&mut bob, "t").await;
        let (mut ann, connected) = user(&running, codec, "ann", json!({"info": info})).await;
        assert_eq!(connected["info"], info);
        let reply = follow(&mut ann, "t").await;
        let ann_shown = shown(&ann, "ann", Some(&info));
        assert_eq!(reply["members"], json!([shown(&bob, "bob", None), ann_shown]));
        assert_eq!(bob.push().await, json!({"type": "join", "topic": "t", "member": ann_shown}));
        let asked = bob.ok(json!({"type": "presence", "topic": "t"})).await;
        assert_eq!(asked["members"], reply["members"]);
        // The publisher of a message is named without it.
        ann.publish("t", json!(1)).await;
        assert_eq!(bob.message().await["from"], shown(&ann, "ann", None));
        ann.message().await;
        ann.ok(json!({"type": "unsubscribe", "topic": "t"})).await;
        assert_eq!(bob.push().await, json!({"type": "leave", "topic": "t", "member": ann_shown}));
        let present = running.broker.presence("t").unwrap();
        assert!(present.members.unwrap().iter().all(|member| member.info.is_none()), "only bob is left");
    }
}

#[tokio::test]
async fn a_welcome_shows_it_where_the_token_came_with_the_request() {
    let running = start();
    let bearer = format!("Bearer {}", token_of("ann", json!({"info": "Ann"})));
    for codec in Codec::ALL {
        let client = Client::with_headers(running.address, codec, &[("authorization", &bearer)]).await;
        assert_eq!((&client.welcome["user"], &client.welcome["info"]), (&json!("ann"), &json!("Ann")));
    }
    let client = running.client(Codec::Json).await;
    assert!(client.welcome.get("info").is_none(), "{}", client.welcome);
}

#[tokio::test]
async fn a_renewed_token_shows_its_own_with_the_next_join() {
    let running = start();
    let (mut bob, _) = user(&running, Codec::Json, "bob", json!({})).await;
    follow(&mut bob, "t").await;
    let (mut ann, _) = user(&running, Codec::Json, "ann", json!({"info": 1})).await;
    let (mut other, _) = user(&running, Codec::Json, "ann", json!({"info": "other"})).await;
    for client in [&mut ann, &mut other] {
        client.subscribe("t").await;
    }
    assert_eq!(bob.push().await["member"], shown(&ann, "ann", Some(&json!(1))));
    assert_eq!(bob.push().await["member"], shown(&other, "ann", Some(&json!("other"))), "each session shows its own");
    let renewed = ann.ok(json!({"type": "connect", "token": token_of("ann", json!({"info": 2}))})).await;
    assert_eq!(renewed["info"], 2);
    let asked = bob.ok(json!({"type": "presence", "topic": "t"})).await;
    assert_eq!(asked["members"][1]["info"], 1, "it has joined with that");
    ann.ok(json!({"type": "unsubscribe", "topic": "t"})).await;
    assert_eq!(bob.push().await["member"]["info"], 1, "it leaves as it joined");
    ann.subscribe("t").await;
    let push = bob.push().await;
    assert_eq!((&push["type"], &push["member"]["info"]), (&json!("join"), &json!(2)));
    // A token without any takes it away.
    ann.ok(json!({"type": "unsubscribe", "topic": "t"})).await;
    bob.push().await;
    let renewed = ann.ok(json!({"type": "connect", "token": token_of("ann", json!({}))})).await;
    assert!(renewed.get("info").is_none(), "{renewed}");
    ann.subscribe("t").await;
    assert_eq!(bob.push().await["member"], shown(&ann, "ann", None));
}

#[tokio::test]
async fn it_has_a_bound_and_is_a_value_that_the_protocol_carries() {
    let running = start();
    let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    for (info, is_good) in [
        (json!("x".repeat(1_022)), true),
        (json!("x".repeat(1_023)), false),
        // White space of the token does not count, what has to be escaped does.
        (json!("\n".repeat(511)), true),
        (json!("\n".repeat(512)), false),
        (deep(32), true),
        (deep(33), false),
        (json!(null), true),
        (json!(false), true),
    ] {
        let mut client = running.client(Codec::Json).await;
        let token = token_of("ann", json!({"info": info}));
        let reply = client.request(json!({"type": "connect", "token": token})).await;
        let code = if is_good { json!(null) } else { json!("unauthorized") };
        assert_eq!(reply["code"], code, "{info}: {reply}");
        assert!(!is_good || reply["info"] == info, "{info}: {reply}");
    }
}
