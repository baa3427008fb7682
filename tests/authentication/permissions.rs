//! What topic rules allow, by examples: defaults, users, roles, lists in tokens, placeholders, patterns.

use rialto::Codec;
use rialto::config::{Config, History, Permission, TopicRule};
use rialto::topic::Pattern;
use serde_json::{Value, json};

use crate::support::token::{auth, token_of};
use crate::support::{Client, Running};

fn rule(pattern: &str, change: impl FnOnce(&mut TopicRule)) -> TopicRule {
    let mut rule = TopicRule { pattern: Pattern::parse(pattern).unwrap(), ..TopicRule::default() };
    change(&mut rule);
    rule
}

fn permission(entries: &[&str]) -> Option<Permission> {
    Some(Permission::parse(entries.iter().copied()).unwrap())
}

fn with_rules(anonymous: bool, topics: Vec<TopicRule>) -> impl FnOnce(&mut Config) {
    move |config| {
        config.auth = Some(auth(anonymous));
        config.topics = topics;
    }
}

async fn user(running: &Running, codec: Codec, user: &str, more: Value) -> Client {
    let mut client = running.client(codec).await;
    client.ok(json!({"type": "connect", "token": token_of(user, more)})).await;
    client
}

/// What happens to each kind of request: `None` where it is allowed, else the code.
async fn outcomes(client: &mut Client, topic: &str) -> Vec<Option<String>> {
    let mut outcomes = Vec::new();
    for request in [
        json!({"type": "subscribe", "topic": topic}),
        json!({"type": "publish", "topic": topic, "data": 1}),
        json!({"type": "history", "topic": topic}),
        json!({"type": "presence", "topic": topic}),
    ] {
        let reply = client.request(request).await;
        outcomes.push(reply["code"].as_str().map(str::to_owned));
    }
    outcomes
}

/// The table of what holds where nothing is said.
#[tokio::test]
async fn where_nothing_is_said() {
    let open = || rule("a.*", |rule| (rule.history, rule.presence) = (Some(History::default()), true));
    let all = || vec![None, None, None, None];
    let forbidden = || Some("forbidden".to_owned());
    // No [auth]: everyone everything.
    let running = Running::with(|config| config.topics = vec![open()]);
    assert_eq!(outcomes(&mut running.client(Codec::Json).await, "a.b").await, all());
    // Anonymous sessions only subscribe, users do everything.
    let running = Running::with(with_rules(true, vec![open()]));
    let anonymous = outcomes(&mut running.client(Codec::Json).await, "a.b").await;
    assert_eq!(anonymous, [None, forbidden(), forbidden(), forbidden()]);
    assert_eq!(outcomes(&mut user(&running, Codec::MessagePack, "ann", json!({})).await, "a.b").await, all());
    // A topic without a rule does not exist, whoever asks.
    let missing = outcomes(&mut user(&running, Codec::Json, "ann", json!({})).await, "b.c").await;
    assert_eq!(missing, vec![Some("not_found".to_owned()); 4]);
    // A file without rules has none with [auth].
    let text = "[auth]\nanonymous = true\n";
    assert_eq!(Config::parse(text, std::path::Path::new("x.toml")).unwrap().topics, []);
    assert_eq!(Config::parse("", std::path::Path::new("x.toml")).unwrap().topics.len(), 1);
}

#[tokio::test]
async fn rules_name_who_may_do_what() {
    let rules = vec![
        rule("accounts.{user}", |rule| {
            rule.subscribe = permission(&["user"]);
            rule.publish = permission(&["nobody"]);
        }),
        rule("desks.{role}", |rule| rule.publish = permission(&["role:trader"])),
        rule("orders", |rule| rule.publish = permission(&["role:trader", "role:admin"])),
        rule("rooms.>", |rule| {
            rule.subscribe = permission(&["token"]);
            rule.publish = permission(&["token"]);
        }),
        rule("news", |rule| rule.subscribe = permission(&["anyone"])),
    ];
    for codec in Codec::ALL {
        let running = Running::with(with_rules(true, rules.clone()));
        let grants = json!({"topics": {"subscribe": ["rooms.a.>", "rooms.b"], "publish": ["rooms.b", "accounts.bob"]}});
        let mut nobody = running.client(codec).await;
        let mut ann = user(&running, codec, "ann", grants).await;
        let mut bob = user(&running, codec, "bob", json!({"roles": ["trader", "sales"]})).await;
        let mut dots = user(&running, codec, "d.o*t", json!({})).await;
        let cases = [
            // (topic, subscribe and publish of: nobody, ann, bob, d.o*t)
            ("accounts.ann", "-- S- -- --"),
            ("accounts.bob", "-- -- S- --"),
            ("accounts.d%2Eo%2At", "-- -- -- S-"),
            ("desks.trader", "-- -- SP --"),
            ("desks.admin", "-- -- -- --"),
            ("orders", "S- S- SP S-"),
            ("rooms.a.x.y", "-- S- -- --"),
            ("rooms.a", "-- -- -- --"),
            ("rooms.b", "-- SP -- --"),
            ("news", "S- SP SP SP"),
        ];
        for (topic, expected) in cases {
            let mut found = Vec::new();
            for client in [&mut nobody, &mut ann, &mut bob, &mut dots] {
                let subscribed = client.request(json!({"type": "subscribe", "topic": topic})).await;
                let published = client.request(json!({"type": "publish", "topic": topic, "data": 1})).await;
                for reply in [&subscribed, &published] {
                    assert!(reply["type"] == "ok" || reply["code"] == "forbidden", "{topic}: {reply}");
                }
                let letter = |reply: &Value, letter| if reply["type"] == "ok" { letter } else { '-' };
                found.push(String::from_iter([letter(&subscribed, 'S'), letter(&published, 'P')]));
            }
            assert_eq!(found.join(" "), expected, "{topic}");
        }
    }
}

/// A pattern delivers exactly the topics that can be subscribed to by name.
#[tokio::test]
async fn a_pattern_delivers_what_is_permitted() {
    let rules = vec![
        rule("accounts.{user}.>", |_| {}),
        rule("desks.{role}", |_| {}),
        rule("staff.*", |rule| rule.subscribe = permission(&["role:admin"])),
        rule("rooms.>", |rule| rule.subscribe = permission(&["token"])),
        rule("open.*", |rule| rule.subscribe = permission(&["anyone"])),
    ];
    let running = Running::with(with_rules(true, rules));
    let grants = json!({"topics": {"subscribe": ["rooms.*.x", "other.>"]}, "roles": ["sales"]});
    let topics = [
        "accounts.ann.a",
        "accounts.ann.b.c",
        "accounts.bob.a",
        "desks.sales",
        "desks.admin",
        "staff.a",
        "rooms.a.x",
        "rooms.b.x",
        "rooms.a.y",
        "open.a",
    ];
    let mut clients = vec![
        (running.client(Codec::Json).await, "open.a"),
        (
            user(&running, Codec::Json, "ann", grants).await,
            "accounts.ann.a accounts.ann.b.c desks.sales rooms.a.x rooms.b.x open.a",
        ),
        (
            user(&running, Codec::MessagePack, "bob", json!({"roles": ["admin"]})).await,
            "accounts.bob.a desks.admin staff.a open.a",
        ),
        (user(&running, Codec::MessagePack, "cat", json!({"roles": ["admin"]})).await, "desks.admin staff.a open.a"),
    ];
    for (client, _) in &mut clients {
        client.ok(json!({"type": "subscribe", "topic": ">"})).await;
    }
    for topic in topics {
        running.broker.publish(topic, rialto::Payload::json(&topic).unwrap()).await.unwrap();
    }
    for (client, expected) in &mut clients {
        client.ok(json!({"type": "unsubscribe", "topic": ">"})).await;
        let got: Vec<String> =
            client.take_all().iter().map(|push| push["topic"].as_str().unwrap().to_owned()).collect();
        assert_eq!(got.join(" "), *expected);
    }
    // Where it may see nothing it is told so.
    let mut nobody = running.client(Codec::Json).await;
    for pattern in ["staff.*", "accounts.>", "desks.*", "rooms.a.*"] {
        nobody.refused(json!({"type": "subscribe", "topic": pattern}), "forbidden").await;
    }
    assert_eq!(running.broker.metrics().patterns, 0);
}

/// Without permission for the history a subscription begins with the next message.
#[tokio::test]
async fn the_past_is_shown_to_those_who_may_read_it() {
    let rules = vec![rule("a", |rule| {
        rule.subscribe = permission(&["anyone"]);
        rule.history = Some(History::default());
        rule.history_for = permission(&["role:reader"]);
    })];
    let running = Running::with(with_rules(true, rules));
    for number in 1..=3 {
        running.broker.publish("a", rialto::Payload::json(&number).unwrap()).await.unwrap();
    }
    let mut reader = user(&running, Codec::Json, "ann", json!({"roles": ["reader"]})).await;
    let position = reader.ok(json!({"type": "subscribe", "topic": "a", "last": 2})).await["position"].clone();
    assert_eq!([reader.push().await["data"].clone(), reader.push().await["data"].clone()], [json!(2), json!(3)]);
    let mut other = user(&running, Codec::Json, "bob", json!({})).await;
    let subscribed = other.ok(json!({"type": "subscribe", "topic": "a", "last": 2})).await;
    assert_eq!(subscribed["more"], false);
    other.refused(json!({"type": "history", "topic": "a"}), "forbidden").await;
    let since = json!({"epoch": position["epoch"], "offset": 1});
    let again = other.ok(json!({"type": "subscribe", "topic": "a", "since": since})).await;
    assert_eq!(again["recovered"], false);
    let gap = other.push().await;
    assert_eq!((&gap["type"], &gap["from"], &gap["to"]), (&json!("gap"), &json!(2), &json!(3)));
    running.broker.publish("a", rialto::Payload::json(&4).unwrap()).await.unwrap();
    assert_eq!(other.push().await["data"], 4);
}

#[tokio::test]
async fn presence_is_shown_to_those_who_may_see_it() {
    let rules = vec![rule("a", |rule| {
        rule.presence = true;
        rule.presence_for = permission(&["role:host"]);
        rule.subscribe = permission(&["anyone"]);
    })];
    let running = Running::with(with_rules(true, rules));
    let mut guest = user(&running, Codec::Json, "bob", json!({})).await;
    guest.refused(json!({"type": "subscribe", "topic": "a", "presence": true}), "forbidden").await;
    guest.refused(json!({"type": "presence", "topic": "a"}), "forbidden").await;
    guest.ok(json!({"type": "subscribe", "topic": "a"})).await;
    let mut host = user(&running, Codec::Json, "ann", json!({"roles": ["host"]})).await;
    let subscribed = host.ok(json!({"type": "subscribe", "topic": "a", "presence": true})).await;
    assert_eq!((&subscribed["count"], &subscribed["members"][0]["user"]), (&json!(2), &json!("bob")));
}
