//! The market component as it is shipped, through real sockets: snapshots, ticks, feeds, and no work for nobody.

use market::Market;
use rialto::Codec;
use rialto::config::{Config, PluginConfig, TopicRule};
use rialto::topic::Pattern;
use serde_json::{Value, json};

use crate::support::{Client, Running, eventually, root};

const SALT: &str = "market.SALT";

/// A market that ticks as fast as it may.
fn running() -> Running {
    running_with(json!({"tick_ms": 50, "swing": 100}))
}

fn running_with(settings: Value) -> Running {
    Running::with(|config| configure(config, settings))
}

fn configure(config: &mut Config, settings: Value) {
    let path = root().join("plugins/dist/market.wasm");
    config.plugins.insert("market".to_owned(), PluginConfig { path, config: settings, ..PluginConfig::default() });
    for pattern in ["market.*", "feed.*"] {
        let pattern = Pattern::parse(pattern).unwrap();
        config.topics.insert(0, TopicRule { pattern, plugin: Some("market".to_owned()), ..TopicRule::default() });
    }
}

/// Subscribes and takes the snapshot, which is the first push of its topic.
async fn follow(client: &mut Client, topic: &str) -> Value {
    client.subscribe(topic).await;
    loop {
        let mut frame = client.push().await;
        if frame["topic"] == topic {
            assert_eq!(frame["type"], "x-snapshot", "{frame}");
            return frame["data"].take();
        }
    }
}

async fn tick(client: &mut Client) -> Value {
    client.message().await["data"].take()
}

fn timers(running: &Running) -> u64 {
    running.broker.metrics().plugin_timers
}

#[tokio::test]
async fn followers_see_the_same_prices_in_the_same_order_in_either_codec() {
    let running = running();
    let [json, msgpack] = Codec::ALL;
    let mut first = running.client(json).await;
    let opening = follow(&mut first, SALT).await;
    assert_eq!(opening["tick"]["price"].as_f64(), Some(4.85));
    let seen = [tick(&mut first).await, tick(&mut first).await];

    let mut second = running.client(msgpack).await;
    let standing = follow(&mut second, SALT).await;
    let time = |tick: &Value| tick["time"].as_u64().unwrap();
    assert!(time(&standing["tick"]) >= time(&seen[1]), "the snapshot is not older than what others have seen");
    assert!(standing["tail"].as_array().unwrap().len() >= seen.len());
    let mut next = tick(&mut first).await;
    while time(&next) <= time(&standing["tick"]) {
        next = tick(&mut first).await;
    }
    for _ in 0..5 {
        let other = tick(&mut second).await;
        assert_eq!((&next["price"], &next["time"]), (&other["price"], &other["time"]));
        next = tick(&mut first).await;
    }
}

#[tokio::test]
async fn symbols_that_nobody_follows_run_no_timer() {
    let symbols: serde_json::Map<_, _> = (0..300).map(|number| (format!("S{number}"), json!(10))).collect();
    let running = running_with(json!({"tick_ms": 3_600_000, "symbols": symbols}));
    let mut client = running.client(Codec::Json).await;
    let listed = client.ok(json!({"type": "call", "plugin": "market", "method": "symbols"})).await;
    assert_eq!(listed["data"]["symbols"].as_array().unwrap().len(), 300);
    assert_eq!(timers(&running), 0);

    for symbol in ["S1", "S2", "S3"] {
        follow(&mut client, &format!("market.{symbol}")).await;
    }
    eventually("three timers", || timers(&running) == 3).await;
    client.ok(json!({"type": "unsubscribe", "topic": "market.S2"})).await;
    eventually("one timer less", || timers(&running) == 2).await;
    client.close().await;
    eventually("no timers", || timers(&running) == 0).await;
}

#[tokio::test]
async fn one_session_leaves_symbols_for_others() {
    let running = running_with(json!({"tick_ms": 3_600_000, "others_max": 8}));
    let subscribe = |topic: &str| json!({"type": "subscribe", "topic": topic});
    let share = json!({"kind": "over_share", "limit": 1});
    let mut eve = running.client(Codec::Json).await;
    for number in 0..6 {
        follow(&mut eve, &format!("market.E{number}")).await;
    }
    assert_eq!(eve.refused(subscribe("market.E6"), "rejected").await["detail"], share);
    let mut ada = running.client(Codec::MessagePack).await;
    follow(&mut ada, "market.A0").await;
    assert_eq!(ada.refused(subscribe("market.A1"), "rejected").await["detail"], share);
    follow(&mut eve, "market.A0").await;
    eve.close().await;
    while ada.request(subscribe("market.A1")).await["type"] == "error" {}
}

#[tokio::test]
async fn as_long_as_one_follows_prices_move() {
    let running = running();
    let mut first = running.client(Codec::Json).await;
    let mut second = running.client(Codec::Json).await;
    follow(&mut first, SALT).await;
    follow(&mut second, SALT).await;
    first.close().await;
    for _ in 0..3 {
        tick(&mut second).await;
    }
    // While the hook of a timer runs, that timer may not be counted.
    eventually("one timer", || timers(&running) == 1).await;
}

#[tokio::test]
async fn a_fed_price_reaches_its_subscribers() {
    let running = running_with(json!({"tick_ms": 3_600_000}));
    let mut follower = running.client(Codec::Json).await;
    follow(&mut follower, SALT).await;
    let mut feeder = running.client(Codec::MessagePack).await;
    let publish = |topic: &str, data: Value| json!({"type": "publish", "topic": topic, "data": data});
    let reply = feeder.ok(publish("feed.SALT", json!({"price": 5.0}))).await;
    assert_eq!(reply.get("position"), None, "the message itself goes nowhere");
    let told = tick(&mut follower).await;
    assert_eq!((told["price"].as_f64(), told["change"].as_f64()), (Some(5.0), Some(0.15)));

    let mut kinds = Vec::new();
    for (topic, data) in [("feed.SALT", json!(-1)), ("feed.NONE", json!(1)), (SALT, json!(1))] {
        let error = feeder.refused(publish(topic, data), "rejected").await;
        kinds.push(error["detail"]["kind"].clone());
    }
    assert_eq!(kinds, ["negative", "unknown_symbol", "read_only"]);
}

#[tokio::test]
async fn natively_and_in_the_sandbox_the_same_seed_gives_the_same_prices() {
    let settings = || json!({"tick_ms": 50, "swing": 100, "seed": 7});
    let sandboxed = running_with(settings());
    let native =
        Running::built(|config| configure(config, settings()), |builder| builder.plugin("market", Market::default));
    let mut walks = Vec::new();
    for running in [&sandboxed, &native] {
        let mut client = running.client(Codec::Json).await;
        let mut walk = vec![follow(&mut client, "market.SILK").await["tick"]["price"].as_f64().unwrap()];
        for _ in 0..10 {
            walk.push(tick(&mut client).await["price"].as_f64().unwrap());
        }
        walks.push(walk);
    }
    assert_eq!(walks[0], walks[1]);
    assert!(walks[0].iter().any(|price| *price != walks[0][0]), "{walks:?}");
}
