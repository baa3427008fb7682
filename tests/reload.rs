//! Plugin reload under load: sockets, subscriptions, state and timers stay, no message is lost,
//! doubled or moved, and a new version that does not run changes nothing.
#![allow(clippy::print_stderr, reason = "the figures are part of the test")]

mod reloadable;
mod rules;
mod settings;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::component::{component, empty, hostile, source, world};
use crate::support::{Client, DEADLINE, Running, eventually, within};
use rialto::config::{Config, PluginConfig, TopicRule};
use rialto::topic::Pattern;
use rialto::{Codec, ReloadError};
use serde_json::json;
use tempfile::TempDir;

/// Reloads of the long test, and messages per second meanwhile.
const RELOADS: usize = 1_000;
const RATE: u64 = 5_000;

/// A broker whose topics `own.>` belong to a plugin that tests replace.
struct Reloading {
    running: Running,
    folder: TempDir,
}

impl Reloading {
    fn start(wasm: &[u8]) -> Self {
        Self::with(wasm, |_| {})
    }

    fn with(wasm: &[u8], change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("plugin.wasm"), wasm).unwrap();
        let running = Running::with(|config| {
            config.sandbox.cache = Some(folder.path().join("cache"));
            let plugin = PluginConfig { path: folder.path().join("plugin.wasm"), ..PluginConfig::default() };
            config.plugins.insert("own".to_owned(), plugin);
            let (pattern, plugin) = (Pattern::parse("own.>").unwrap(), Some("own".to_owned()));
            config.topics.insert(0, TopicRule { pattern, plugin, ..TopicRule::default() });
            change(config);
        });
        Self { running, folder }
    }

    fn put(&self, wasm: &[u8]) {
        put(self.folder.path(), wasm);
    }

    async fn reload(&self) -> Result<String, ReloadError> {
        within("a reload", self.running.broker.reload_plugin("own")).await.map(|status| status.hash)
    }
}

/// Puts another component there, as a whole.
fn put(folder: &Path, wasm: &[u8]) {
    std::fs::write(folder.join("new"), wasm).unwrap();
    std::fs::rename(folder.join("new"), folder.join("plugin.wasm")).unwrap();
}

/// Versions that do not run, with what is said about each.
fn broken() -> Vec<(Vec<u8>, &'static str)> {
    let whole = empty("");
    let newer = component(&source("empty").replace("@1.0.0", "@2.0.0"), &world().replace("@1.0.0", "@2.0.0"));
    vec![
        (Vec::new(), "the file is empty"),
        (whole[..whole.len() / 2].to_vec(), "cut off"),
        (b"#!/bin/sh\n".to_vec(), "does not begin like WebAssembly"),
        (newer, "version 2.0.0 of the protocol"),
        (empty("(func $begin unreachable) (start $begin)"), "cannot start: trap"),
        (empty("(func $begin (loop $again (br $again))) (start $begin)"), "cannot start: deadline of 50 ms"),
        (empty("(table 100000000 funcref)"), "cannot start"),
        (
            empty(r#"(@custom "rialto:manifest" "{\"name\":\"n\",\"version\":\"1\",\"needs\":[\"publish a\"]}")"#),
            "grants = [",
        ),
    ]
}

#[tokio::test]
async fn a_new_version_takes_over_and_sessions_do_not_notice() {
    let reloading = Reloading::start(&empty(""));
    let mut client = reloading.running.client(Codec::Json).await;
    client.subscribe("own.a").await;
    let before = reloading.running.broker.plugins()[0].hash.clone();
    // The new one answers calls, which the old one did not.
    reloading.put(&hostile());
    assert_eq!(client.ok(json!({"type": "call", "topic": "own.a", "method": "1"})).await.get("data"), None);
    let hash = reloading.reload().await.unwrap();
    assert_ne!(hash, before);
    assert_eq!(reloading.running.broker.plugins()[0].hash, hash);
    assert_eq!(client.ok(json!({"type": "call", "topic": "own.a", "method": "1"})).await["data"], json!(0));
    client.publish("own.a", json!("-")).await;
    assert_eq!(client.message().await["data"], "-");
    let counted = reloading.running.broker.metrics();
    assert_eq!((counted.plugin_reloads_total, counted.plugin_reload_errors_total), (1, 0));
    assert_eq!((counted.sessions, counted.plugin_instances), (1, 1));
}

#[tokio::test]
async fn state_stays_and_a_plugin_in_quarantine_gets_a_new_chance() {
    let reloading = Reloading::with(&hostile(), |config| {
        let plugin = config.plugins.get_mut("own").unwrap();
        (plugin.failures, plugin.quarantine_ms) = (3, 0);
    });
    let mut client = reloading.running.client(Codec::Json).await;
    let ask = |method: &str| json!({"type": "call", "topic": "own.a", "method": method});
    client.ok(ask("e")).await;
    assert_eq!(client.ok(ask("1")).await["data"], json!(1));
    for _ in 0..3 {
        client.refused(ask("t"), "plugin_failed").await;
    }
    client.refused(ask("1"), "plugin_failed").await;
    reloading.reload().await.unwrap();
    assert_eq!(client.ok(ask("1")).await["data"], json!(1), "what was kept is still there");
}

#[tokio::test]
async fn a_timer_that_was_set_by_the_old_version_wakes_the_new_one() {
    let import = r#"(module (import "rialto:plugin/timers@1.0.0" "set-timer" (func $set (param i32 i32 i64 i32 i32 i32 i32 i32)))
        (import "rialto:plugin/messages@1.0.0" "publish" (func $publish (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
        (data (i32.const 256) "own.b") (data (i32.const 288) "\"due\"")"#;
    let asks = source("empty").replacen("(module", import, 1);
    let call = "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)";
    let zeros = "(i32.const 0) ".repeat(4);
    let set = format!("{call} (call $set (i32.const 256) (i32.const 1) (i64.const 500) {zeros} (i32.const 64))");
    let old = component(&asks.replacen(call, &set, 1), &world());
    let timer = "on-timer\") (param i32 i32 i32 i32 i32 i32) (result i32)";
    let say = "(i32.const 256) (i32.const 5) (i32.const 0) (i32.const 288) (i32.const 5)";
    let publish = format!("{timer} (call $publish {say} (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))");
    let new = component(&asks.replacen(timer, &publish, 1), &world());

    let reloading = Reloading::start(&old);
    let mut client = reloading.running.client(Codec::Json).await;
    client.subscribe("own.b").await;
    client.ok(json!({"type": "call", "topic": "own.b", "method": "x"})).await;
    // Counted behind the reply.
    eventually("the timer is set", || reloading.running.broker.metrics().plugin_timers == 1).await;
    reloading.put(&new);
    reloading.reload().await.unwrap();
    assert_eq!(client.message().await["data"], "due");
}

#[tokio::test]
async fn a_version_that_does_not_run_changes_nothing_and_is_explained() {
    let reloading = Reloading::start(&hostile());
    let mut client = reloading.running.client(Codec::Json).await;
    client.subscribe("own.a").await;
    client.ok(json!({"type": "call", "topic": "own.a", "method": "e"})).await;
    let hash = reloading.running.broker.plugins()[0].hash.clone();
    client.take_all();
    for (wasm, expected) in broken() {
        reloading.put(&wasm);
        let told = reloading.reload().await.unwrap_err().to_string();
        assert!(told.starts_with("plugin \"own\" (") && told.contains(expected), "{expected}: {told}");
        assert_eq!(reloading.running.broker.plugins()[0].hash, hash);
        assert_eq!(client.ok(json!({"type": "call", "topic": "own.a", "method": "1"})).await["data"], json!(1));
    }
    std::fs::remove_file(reloading.folder.path().join("plugin.wasm")).unwrap();
    assert!(reloading.reload().await.unwrap_err().to_string().contains("No such file"));
    let unknown = reloading.running.broker.reload_plugin("nobody").await.unwrap_err();
    assert_eq!(unknown.to_string(), "there is no plugin \"nobody\"");
    assert_eq!(reloading.running.broker.metrics().plugin_reload_errors_total, broken().len() as u64 + 1);
}

/// Publishes numbers at a steady rate until it is told to stop, with all answers read; gives how many.
async fn publish_steadily(mut client: Client, mut stop: tokio::sync::oneshot::Receiver<()>) -> u64 {
    let begun = Instant::now();
    let (mut sent, mut answered) = (0, BTreeSet::new());
    let mut ids = Vec::new();
    while stop.try_recv().is_err() {
        let due = begun.elapsed().as_micros() as u64 * RATE / 1_000_000;
        while sent < due {
            sent += 1;
            ids.push(client.ask(json!({"type": "publish", "topic": "own.a", "data": sent})).await);
            // Answers are read on the way, so that no more requests are under way than a session may have.
            if ids.len() == 32 {
                collect(&mut client, &mut ids, &mut answered).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    collect(&mut client, &mut ids, &mut answered).await;
    assert_eq!(answered.len() as u64, sent, "each message has a position of its own");
    sent
}

async fn collect(client: &mut Client, ids: &mut Vec<u64>, answered: &mut BTreeSet<u64>) {
    for id in ids.drain(..) {
        let reply = client.reply(id).await;
        assert_eq!(reply["type"], "ok", "{reply}");
        answered.insert(reply["position"]["offset"].as_u64().unwrap());
    }
}

/// Reads numbers until `last` has come: each once, in order.
async fn read_in_order(mut client: Client, mut last: tokio::sync::watch::Receiver<Option<u64>>) -> (u64, Client) {
    let mut expected = 1;
    loop {
        if (*last.borrow()).is_some_and(|last| expected > last) {
            return (expected - 1, client);
        }
        tokio::select! {
            message = client.message() => {
                assert_eq!((&message["data"], &message["offset"]), (&json!(expected), &json!(expected)), "{message}");
                expected += 1;
            }
            changed = last.changed() => changed.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_thousand_reloads_under_load_lose_double_and_move_nothing() {
    let versions = [empty(""), empty("(func)"), empty("(func) (func)")];
    let broken = broken();
    let reloading = Reloading::start(&versions[0]);
    let (publisher, mut reader) =
        (reloading.running.client(Codec::Json).await, reloading.running.client(Codec::MessagePack).await);
    reader.subscribe("own.a").await;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (end, last) = tokio::sync::watch::channel(None);
    let reading = tokio::spawn(read_in_order(reader, last));
    let publishing = tokio::spawn(publish_steadily(publisher, stopped));
    let begun = Instant::now();
    let (mut good, mut bad) = (0, 0);
    for round in 0..RELOADS {
        if round % 10 == 9 {
            let (wasm, expected) = &broken[round / 10 % broken.len()];
            let before = reloading.running.broker.plugins()[0].hash.clone();
            reloading.put(wasm);
            assert!(reloading.reload().await.unwrap_err().to_string().contains(expected));
            assert_eq!(reloading.running.broker.plugins()[0].hash, before);
            bad += 1;
        }
        reloading.put(&versions[round % versions.len()]);
        let hash = reloading.reload().await.unwrap();
        assert_eq!(reloading.running.broker.plugins()[0].hash, hash);
        good += 1;
        assert!(!reading.is_finished() && !publishing.is_finished(), "round {round}: a client ended");
    }
    let took = begun.elapsed();
    stop.send(()).unwrap();
    let sent = within("the publisher", publishing).await.unwrap();
    end.send(Some(sent)).unwrap();
    // It stays, so that its leaving is no hook that is counted below.
    let (read, _reader) = within("the reader", reading).await.unwrap();
    assert_eq!(read, sent);
    let counted = reloading.running.broker.metrics();
    assert_eq!((counted.plugin_reloads_total, counted.plugin_reload_errors_total), (good, bad));
    assert_eq!((counted.plugin_hooks_total, counted.plugin_failures_total), (sent + 1, 0), "each message once");
    let rate = sent as f64 / took.as_secs_f64();
    assert!(rate > RATE as f64 * 0.8, "{sent} messages in {took:?}: the load itself was not there");
    assert!(took > Duration::from_secs(1) && took < 4 * DEADLINE, "{took:?}");
    eprintln!("{good} reloads and {bad} broken versions in {took:.1?}, {sent} messages, {rate:.0}/s");
}
