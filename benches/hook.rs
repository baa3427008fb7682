//! What a hook costs: a publish that a plugin accepts as it is, beside one without a plugin.
//! `cargo bench --bench hook`. Compare ratios within one run.

#![allow(missing_docs, reason = "a bench is a program, not a library")]
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

#[path = "../tests/support/component.rs"]
mod component;

use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::task::Poll;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rialto::config::{Config, PluginConfig, TopicRule};
use rialto::topic::Pattern;
use rialto::{Broker, Payload};
use serde_json::json;
use tokio::runtime::Runtime;

criterion_group!(hook, publish);
criterion_main!(hook);

/// A broker whose topics `agree.*` belong to a plugin that agrees to everything.
fn broker(folder: &tempfile::TempDir) -> Broker {
    let path: PathBuf = folder.path().join("agree.wasm");
    std::fs::write(&path, component::empty("")).unwrap();
    let mut config = Config::default();
    config.server.shards = 1;
    config.plugins.insert("agree".to_owned(), PluginConfig { path, ..PluginConfig::default() });
    let (pattern, plugin) = (Pattern::parse("agree.*").unwrap(), Some("agree".to_owned()));
    config.topics.insert(0, TopicRule { pattern, plugin, ..TopicRule::default() });
    Broker::builder().config(config).start().unwrap()
}

fn publish(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let payload = Payload::json(&json!({"text": "x".repeat(100)})).unwrap();
    for (name, at_once) in [("publish_one_by_one", 1), ("publish_64_at_once", 64)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(at_once));
        for (name, topic) in [("open", "open.a"), ("plugin_agrees", "agree.a")] {
            group.bench_function(name, |bencher| {
                bencher.iter(|| publish_all(&runtime, &broker, topic, &payload, at_once));
            });
        }
    }
    runtime.block_on(broker.shutdown(std::time::Duration::ZERO));
}

/// Publishes so many messages at once and waits until all have their position.
fn publish_all(runtime: &Runtime, broker: &Broker, topic: &str, payload: &Payload, count: u64) {
    let mut open: Vec<_> = (0..count).map(|_| Box::pin(broker.publish(topic, payload.clone()))).collect();
    runtime.block_on(poll_fn(|context| {
        open.retain_mut(|publish| match publish.as_mut().poll(context) {
            Poll::Ready(position) => {
                assert!(position.unwrap().is_some());
                false
            }
            Poll::Pending => true,
        });
        if open.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }));
}
