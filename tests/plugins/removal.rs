//! A component that removes messages, which version 1.1 of the protocol allows.

use std::path::Path;

use rialto::Codec;
use rialto::config::{History, Permission, PluginConfig, TopicRule};
use rialto::topic::Pattern;
use rialto_plugin::recording::{HostReply, HostRequest, Recording};
use serde_json::json;

use crate::plugins::hosted::call;
use crate::plugins::recording::replay;
use crate::support::Running;
use crate::support::component::{component, remover, source, world};

/// A broker whose topics `hostile.>` belong to the component and keep their history.
fn running(folder: &Path) -> Running {
    let path = folder.join("plugin.wasm");
    std::fs::write(&path, remover()).unwrap();
    Running::with(|config| {
        let rule = TopicRule {
            pattern: Pattern::parse("hostile.>").unwrap(),
            plugin: Some("remover".to_owned()),
            call: Some(Permission::parse(["anyone"]).unwrap()),
            history: Some(History::default()),
            ..TopicRule::default()
        };
        config.topics.insert(0, rule);
        config.sandbox.recordings = folder.join("recordings");
        let plugin = PluginConfig { path, record: 100, ..PluginConfig::default() };
        config.plugins.insert("remover".to_owned(), plugin);
    })
}

#[tokio::test]
async fn a_component_for_1_1_removes_a_message_of_its_topic_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let running = running(folder.path());
    let mut client = running.client(Codec::Json).await;
    client.subscribe("hostile.a").await;
    client.publish("hostile.a", json!("first")).await;
    assert_eq!(client.message().await["offset"], 1);
    client.ok(call('r')).await;
    assert_eq!(client.push().await, json!({"type": "removed", "topic": "hostile.a", "offset": 1}));
    let past = client.ok(json!({"type": "history", "topic": "hostile.a"})).await;
    assert_eq!(past["messages"], json!([]));
    client.ok(call('f')).await;
}

#[tokio::test]
async fn a_recording_has_what_was_removed_and_repeats_it() {
    let folder = tempfile::tempdir().unwrap();
    let running = running(folder.path());
    let mut client = running.client(Codec::Json).await;
    client.ok(call('r')).await;
    client.ok(call('f')).await;
    client.refused(call('t'), "plugin_failed").await;
    let file = std::fs::read_dir(folder.path().join("recordings")).unwrap().next().unwrap().unwrap().path();
    let recording = Recording::read(&file).unwrap();
    let calls: Vec<_> = recording.steps.iter().flat_map(|step| step.calls.clone()).collect();
    let request = |topic: &str| HostRequest::Remove { topic: topic.to_owned(), offset: 1 };
    assert_eq!((&calls[0].request, &calls[0].reply), (&request("hostile.a"), &HostReply::Done));
    assert_eq!(calls[1].request, request("foreign"));
    assert!(matches!(calls[1].reply, HostReply::Refused(_)));
    let (same, text) = replay(&file, &folder.path().join("plugin.wasm"));
    assert!(same && text.contains("no difference"), "{text}");
}

#[test]
fn the_world_of_1_0_has_no_such_call() {
    let text = source("remover").replace("@1.1.0", "@1.0.0");
    assert!(std::panic::catch_unwind(|| component(&text, &world())).is_err());
}
