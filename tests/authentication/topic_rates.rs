//! Rates of topic rules: how much one client may ask for in all topics of a rule together; and what a
//! session is sent of its rates.

use std::net::Ipv4Addr;
use std::time::Duration;

use rialto::config::{Api, Config, Permission, Rates, TopicRule};
use rialto::topic::Pattern;
use rialto::{Codec, ManualClock, Payload};
use serde_json::{Value, json};

use crate::http::{KEY, api_key};
use crate::support::events::Stream;
use crate::support::raw::open_from;
use crate::support::token::{auth, now_s, token_of};
use crate::support::{Client, Program, Running, get, within};

/// A rule for these topics, in which everyone may do everything.
fn rule(pattern: &str) -> TopicRule {
    let anyone = || Some(Permission::anyone());
    TopicRule {
        pattern: Pattern::parse(pattern).unwrap(),
        publish: anyone(),
        call: anyone(),
        history_for: anyone(),
        presence_for: anyone(),
        ..TopicRule::default()
    }
}

/// A broker with these rules, whose time passes when the test says so, and its configuration.
fn with(topics: Vec<TopicRule>, change: impl FnOnce(&mut Config)) -> (Running, Config, ManualClock) {
    let clock = ManualClock::new(now_s() * 1_000);
    let mut kept = Config::default();
    let change = |config: &mut Config| {
        (config.auth, config.topics) = (Some(auth(true)), topics);
        change(config);
        kept.clone_from(config);
    };
    let running = Running::built(change, |builder| builder.clock(clock.clone()));
    (running, kept, clock)
}

async fn user(running: &Running, name: &str, codec: Codec) -> Client {
    let mut client = running.client(codec).await;
    client.ok(json!({"type": "connect", "token": token_of(name, json!({}))})).await;
    client
}

/// A session without a user from an address that counts.
async fn client_from(running: &Running, last: u8) -> Client {
    let stream = open_from(Ipv4Addr::new(127, 0, 0, last), running.address).await;
    Client::upgraded(stream, &format!("ws://{}/ws", running.address), Codec::Json).await
}

fn publish(topic: &str) -> Value {
    json!({"type": "publish", "topic": topic, "data": 1})
}

/// How many of these requests no rate limit refuses.
async fn taken(client: &mut Client, count: usize, request: &Value) -> usize {
    let mut taken = 0;
    for _ in 0..count {
        let reply = client.request(request.clone()).await;
        if reply["code"] == "rate_limited" {
            assert!((1..=1_001).contains(&reply["retry_after_ms"].as_u64().unwrap()), "{reply}");
        } else {
            taken += 1;
        }
    }
    taken
}

#[tokio::test]
async fn each_kind_of_request_has_its_rate_in_the_topics_of_a_rule() {
    for (limited, request) in [
        (TopicRule { publishes_per_s: 3, ..rule("chat.*") }, publish("chat.a")),
        (TopicRule { bytes_per_s: 3, ..rule("chat.*") }, publish("chat.a")),
        (TopicRule { subscribes_per_s: 3, ..rule("chat.*") }, json!({"type": "subscribe", "topic": "chat.a"})),
        (TopicRule { calls_per_s: 3, ..rule("chat.*") }, json!({"type": "call", "topic": "chat.a", "method": "m"})),
        (TopicRule { calls_per_s: 3, ..rule("chat.*") }, json!({"type": "history", "topic": "chat.a"})),
        (TopicRule { calls_per_s: 3, ..rule("chat.*") }, json!({"type": "presence", "topic": "chat.a"})),
    ] {
        let (running, _, clock) = with(vec![limited, rule(">")], |_| {});
        for codec in Codec::ALL {
            let mut client = user(&running, &format!("{codec:?}"), codec).await;
            assert_eq!(taken(&mut client, 10, &request).await, 3, "{request}");
            let refusal = client.refused(request.clone(), "rate_limited").await;
            assert!(refusal["message"].as_str().unwrap().contains("\"chat.*\""), "it names the rule: {refusal}");
            let mut elsewhere = request.clone();
            elsewhere["topic"] = json!("news.a");
            assert_eq!(taken(&mut client, 10, &elsewhere).await, 10, "{elsewhere}");
            clock.advance(Duration::from_secs(1));
            assert_eq!(taken(&mut client, 5, &request).await, 3, "{request}");
        }
    }
}

#[tokio::test]
async fn a_client_that_floods_the_topics_of_a_rule_is_alone_with_it() {
    let (running, _, _) = with(vec![TopicRule { publishes_per_s: 5, ..rule("chat.*") }, rule(">")], |_| {});
    let mut reader = running.client(Codec::Json).await;
    reader.ok(json!({"type": "subscribe", "topic": "chat.*"})).await;
    let mut hostile =
        [user(&running, "mallory", Codec::Json).await, user(&running, "mallory", Codec::MessagePack).await];
    let mut accepted = 0;
    for number in 0..20 {
        for session in &mut hostile {
            accepted += taken(session, 1, &publish(&format!("chat.{number}"))).await;
        }
    }
    assert_eq!(accepted, 5, "in all its sessions and all topics of the rule together");
    let mut neighbours = [
        user(&running, "ann", Codec::MessagePack).await,
        client_from(&running, 2).await,
        client_from(&running, 3).await,
        running.client(Codec::Json).await,
        running.client(Codec::MessagePack).await,
    ];
    for neighbour in &mut neighbours {
        assert_eq!(taken(neighbour, 5, &publish("chat.1")).await, 5);
    }
    // Without a user the address counts.
    assert_eq!(taken(&mut client_from(&running, 2).await, 5, &publish("chat.1")).await, 0);
    for session in &mut hostile {
        assert_eq!(taken(session, 20, &publish("news.1")).await, 20);
    }
    for _ in 0..30 {
        reader.message().await;
    }
    reader.ping().await;
    assert!(reader.take_all().is_empty(), "what was refused arrives nowhere");
}

#[tokio::test]
async fn topics_of_a_list_count_at_their_own_rules_and_are_refused_alone() {
    let chat = TopicRule { subscribes_per_s: 2, ..rule("chat.*") };
    let news = TopicRule { subscribes_per_s: 1, ..rule("news.*") };
    let (running, _, _) = with(vec![chat, news, rule(">")], |_| {});
    for codec in Codec::ALL {
        let mut client = user(&running, &format!("{codec:?}"), codec).await;
        let topics = ["chat.a", "news.a", "other", "chat.b", "news.b", "chat.c", "more"];
        let list: Vec<Value> = topics.iter().map(|topic| json!({"topic": topic})).collect();
        let reply = client.ok(json!({"type": "subscribe", "topics": list})).await;
        let outcomes = reply["topics"].as_array().unwrap();
        let codes: Vec<&str> = outcomes.iter().map(|one| one["error"]["code"].as_str().unwrap_or("ok")).collect();
        assert_eq!(codes, ["ok", "ok", "ok", "ok", "rate_limited", "rate_limited", "ok"], "{reply}");
        for (place, pattern) in [(4, "\"news.*\""), (5, "\"chat.*\"")] {
            let error = &outcomes[place]["error"];
            assert!(error["message"].as_str().unwrap().contains(pattern), "{error}");
            assert!(error["retry_after_ms"].as_u64().unwrap() > 0, "{error}");
        }
        for topic in topics {
            running.broker.publish(topic, Payload::json(&topic).unwrap()).await.unwrap();
        }
        // There is no order between topics.
        let mut received = Vec::new();
        for _ in 0..5 {
            received.push(client.message().await["topic"].as_str().unwrap().to_owned());
        }
        received.sort_unstable();
        assert_eq!(received, ["chat.a", "chat.b", "more", "news.a", "other"]);
        client.ping().await;
        assert!(client.take_all().is_empty(), "what was refused is not subscribed");
    }
}

#[tokio::test]
async fn a_pattern_counts_in_each_rule_of_which_it_may_select_topics() {
    let chat = TopicRule { subscribes_per_s: 2, ..rule("chat.*") };
    let unselected = TopicRule { subscribes_per_s: 1, patterns: Some(false), ..rule("quiet.*") };
    let (running, _, _) = with(vec![chat, unselected, rule(">")], |_| {});
    let mut client = user(&running, "ann", Codec::Json).await;
    let subscribe = |topic: &str| json!({"type": "subscribe", "topic": topic});
    for pattern in ["news.*", "chat.*", "news.>", ">"] {
        client.ok(subscribe(pattern)).await;
    }
    for topic in ["*.a", "chat.a"] {
        let refusal = client.refused(subscribe(topic), "rate_limited").await;
        assert!(refusal["message"].as_str().unwrap().contains("\"chat.*\""), "{refusal}");
    }
    client.ok(subscribe("news.a")).await;
    assert_eq!(taken(&mut client, 3, &subscribe("quiet.a")).await, 1, "no pattern has counted there");
}

#[tokio::test]
async fn a_client_that_goes_on_all_the_same_is_closed_and_a_list_is_one_refusal() {
    for length in [10, 50] {
        let limited = TopicRule { subscribes_per_s: 1, ..rule("chat.*") };
        let (running, _, _) = with(vec![limited], |config| config.rates = Rates { refusals: 3, ..Rates::default() });
        let mut client = user(&running, "mallory", Codec::Json).await;
        let topics: Vec<Value> = (0..length).map(|number| json!({"topic": format!("chat.{number}")})).collect();
        let list = json!({"type": "subscribe", "topics": topics});
        for _ in 0..3 {
            client.ok(list.clone()).await;
            client.ping().await;
        }
        client.ask(list).await;
        client.ask(json!({"type": "ping"})).await;
        assert_eq!(within("the end", client.closed()).await, Some(4006), "{length} topics");
    }
}

#[tokio::test]
async fn a_changed_limit_holds_at_once_and_other_rules_go_on_as_they_were() {
    let rules = |chat, news| {
        let rule = |pattern, publishes_per_s| TopicRule { publishes_per_s, ..rule(pattern) };
        vec![rule("chat.*", chat), rule("news.*", news)]
    };
    let (running, mut config, _) = with(rules(2, 3), |_| {});
    let mut reader = running.client(Codec::Json).await;
    reader.subscribe("chat.a").await;
    let mut client = user(&running, "ann", Codec::Json).await;
    let (chat, news) = (publish("chat.a"), publish("news.a"));
    assert_eq!((taken(&mut client, 10, &chat).await, taken(&mut client, 10, &news).await), (2, 3));
    for (changed, expected) in [(5, 5), (1, 1), (0, 10), (1, 1)] {
        config.topics = rules(changed, 3);
        within("a reload", running.broker.reload(config.clone())).await.unwrap();
        assert_eq!(taken(&mut client, 10, &chat).await, expected, "{changed}");
        assert_eq!(taken(&mut client, 3, &news).await, 0, "{changed}");
    }
    config.topics = vec![rule("*.*")];
    within("a reload", running.broker.reload(config.clone())).await.unwrap();
    assert_eq!(taken(&mut client, 10, &news).await, 10, "its rule is gone");
    for _ in 0..2 + 5 + 1 + 10 + 1 {
        reader.message().await;
    }
}

#[tokio::test]
async fn streams_and_polls_count_as_well() {
    let (running, _, clock) = with(vec![TopicRule { subscribes_per_s: 2, ..rule("chat.*") }, rule(">")], |_| {});
    let query = |user: &str, topic: &str| format!("topic={topic}&token={}", token_of(user, json!({})));
    let poll =
        async |user: &str, topic: &str| get(running.address, &format!("/poll?{}&wait_ms=0", query(user, topic))).await;
    assert_eq!(poll("ann", "chat.a").await.status, 200);
    let _stream = Stream::open(running.address, &query("ann", "chat.b"), None).await;
    let refused = poll("ann", "chat.a").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{refused:?}");
    assert!(refused.body.contains("rate_limited") && refused.body.contains("chat.*"), "{refused:?}");
    let refused = get(running.address, &format!("/sse?{}", query("ann", "chat.b"))).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(poll("bob", "chat.a").await.status, 200);
    assert_eq!(poll("ann", "news.a").await.status, 200);
    clock.advance(Duration::from_secs(1));
    assert_eq!(poll("ann", "chat.a").await.status, 200);
}

#[tokio::test]
async fn programs_and_the_embedding_program_have_no_rates() {
    let limited = TopicRule { publishes_per_s: 1, bytes_per_s: 1, calls_per_s: 1, ..rule("chat.*") };
    let api = Api { keys: vec![api_key("tests", KEY)] };
    let (running, _, _) = with(vec![limited], |config| config.api = Some(api));
    let program = Program { address: running.address, key: KEY.to_owned() };
    for number in 0..5 {
        running.broker.publish("chat.a", Payload::json(&number).unwrap()).await.unwrap();
        program.ok("publish", json!({"topic": "chat.a", "data": number})).await;
    }
}

#[tokio::test]
async fn a_session_is_told_its_rates() {
    let (running, _, _) = with(vec![TopicRule { publishes_per_s: 1, ..rule(">") }], |config| {
        config.rates = Rates {
            session_publishes: 20,
            user_publishes: 10,
            address_publishes: 15,
            user_calls: 7,
            address_subscribes: 9,
            ..Rates::default()
        };
    });
    let of_user = json!({"publishes": 10, "calls": 7});
    for codec in Codec::ALL {
        let client = running.client(codec).await;
        assert_eq!(client.welcome["limits"]["rates"], json!({"publishes": 20}), "its address does not count");
        let authorization = format!("Bearer {}", token_of("ann", json!({})));
        let client = Client::with_headers(running.address, codec, &[("authorization", &*authorization)]).await;
        assert_eq!(client.welcome["limits"]["rates"], of_user);
    }
    let mut client = client_from(&running, 2).await;
    assert_eq!(client.welcome["limits"]["rates"], json!({"publishes": 15, "subscribes": 9}));
    let connected = client.ok(json!({"type": "connect", "token": token_of("ann", json!({}))})).await;
    assert_eq!(connected["rates"], of_user, "it has a user now");
    let (running, _, _) = with(vec![TopicRule { publishes_per_s: 1, ..rule(">") }], |_| {});
    let mut client = running.client(Codec::Json).await;
    assert!(client.welcome["limits"].get("rates").is_none(), "{}", client.welcome);
    let connected = client.ok(json!({"type": "connect"})).await;
    assert!(connected.get("rates").is_none(), "{connected}");
}
