//! A reload changes keys, origins, hosts and limits: they apply at once, all together or not at all.

use rialto::config::{Api, ApiKey, Config, PluginConfig};
use rialto::topic::Pattern;
use rialto::{ApiOperation, Codec, ReloadError};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::reloadable::{Reloadable, moderated, rule};
use crate::support::component::{empty, hostile};
use crate::support::{Program, get, http, upgrade_request, within};

fn keys(names: &[(&str, &str)]) -> Option<Api> {
    let key = |(name, secret): &(&str, &str)| ApiKey {
        name: (*name).to_owned(),
        sha256: Sha256::digest(secret).into(),
        allow: ApiOperation::ALL.to_vec(),
        topics: vec![Pattern::parse(">").unwrap()],
    };
    Some(Api { keys: names.iter().map(key).collect() })
}

#[tokio::test]
async fn a_key_that_is_rotated_is_refused_and_the_new_one_accepted_right_after() {
    let mut reloadable = Reloadable::start(|config| config.api = keys(&[("backend", "old")]));
    let address = reloadable.running.address;
    let program = |key: &str| Program { address, key: key.to_owned() };
    program("old").ok("topics", json!({})).await;
    assert_eq!(program("new").ask("topics", &json!({})).await.0, 401);
    let reloaded = reloadable.reload(|config| config.api = keys(&[("backend", "new")])).await;
    assert_eq!(reloaded.applied, ["API key backend: changed"]);
    program("new").ok("topics", json!({})).await;
    assert_eq!(program("old").ask("topics", &json!({})).await.0, 401);
    let reloaded = reloadable.reload(|config| config.api = None).await;
    assert_eq!(reloaded.applied, ["API key backend: removed"]);
    assert_eq!(get(address, "/api/v1/openapi.json").await.status, 404, "without keys there is no API");
    reloadable.reload(|config| config.api = keys(&[("another", "third")])).await;
    program("third").ok("topics", json!({})).await;
}

#[tokio::test]
async fn origins_hosts_and_pages_are_those_of_the_new_configuration() {
    let mut reloadable = Reloadable::start(|config| config.server.hosts = vec!["x".to_owned()]);
    let address = reloadable.running.address;
    let status = async |host: &str, origin: &str| {
        http(address, &upgrade_request(address, &[("Host", host), ("Origin", origin)])).await.status
    };
    assert_eq!(status("x", "https://app.example").await, 403);
    assert_eq!(status("y", "http://y").await, 421);
    let reloaded = reloadable
        .reload(|config| {
            config.server.allowed_origins = vec!["https://app.example".to_owned()];
            config.server.hosts = vec!["Y".to_owned()];
            config.server.page = false;
        })
        .await;
    assert_eq!(reloaded.applied, ["server.page", "server.hosts", "server.allowed_origins"]);
    assert_eq!(status("y", "https://app.example").await, 101);
    assert_eq!(status("x", "https://app.example").await, 421);
    assert_eq!(get(address, "/").await.status, 404);
}

#[tokio::test]
async fn limits_that_change_apply_and_those_that_need_a_restart_are_named() {
    let mut reloadable = Reloadable::start(|config| config.limits.subscriptions = 2);
    let mut client = reloadable.running.client(Codec::Json).await;
    client.subscribe("a").await;
    client.subscribe("b").await;
    client.refused(json!({"type": "subscribe", "topic": "c"}), "too_many").await;
    let reloaded = reloadable
        .reload(|config| {
            (config.limits.subscriptions, config.limits.topics) = (3, 3);
            (config.limits.sessions, config.limits.unsent_bytes) = (1, 65_536);
            config.server.shards = 3;
        })
        .await;
    assert_eq!(reloaded.applied, ["limits.subscriptions", "limits.sessions", "limits.topics"]);
    assert_eq!(reloaded.restart, ["server.shards", "limits.unsent_bytes"]);
    client.subscribe("c").await;
    client.refused(json!({"type": "publish", "topic": "d", "data": 1}), "too_many").await;
    let address = reloadable.running.address;
    assert_eq!(http(address, &upgrade_request(address, &[])).await.status, 503, "one session is there already");
    let again = reloadable.reload(|config| config.limits.sessions = 2).await;
    assert_eq!((&again.applied[..], &again.restart[..]), (&["limits.sessions".to_owned()][..], &reloaded.restart[..]));
    assert_eq!(reloadable.running.client(Codec::MessagePack).await.welcome["limits"]["subscriptions"], 3);
    assert_eq!(reloadable.running.broker.shards(), 2);
}

#[tokio::test]
async fn places_that_clients_share_become_larger_and_smaller() {
    let limits = |topics, patterns, keys_bytes| {
        move |config: &mut Config| {
            let limits = &mut config.limits;
            (limits.topics, limits.patterns, limits.keys_bytes) = (topics, patterns, keys_bytes);
        }
    };
    let (small, large) = (limits(2, 1, 4_096), limits(20, 10, 65_536));
    let mut reloadable = Reloadable::start(small);
    let mut client = reloadable.running.client(Codec::Json).await;
    let publish = |topic: &str| json!({"type": "publish", "topic": topic, "data": 1});
    let subscribe = |pattern: &str| json!({"type": "subscribe", "topic": pattern});
    let keyed = |number: usize| json!({"type": "publish", "topic": "a", "key": number.to_string(), "data": 1});
    client.ok(publish("a")).await;
    client.ok(publish("b")).await;
    client.ok(subscribe("x.*")).await;
    let mut keys = 0;
    while client.request(keyed(keys)).await["type"] == "ok" {
        keys += 1;
    }
    assert!((5..20).contains(&keys), "{keys}");
    for (is_large, round) in [(false, 1), (true, 2), (false, 3)] {
        reloadable.reload(|config| if is_large { large(config) } else { small(config) }).await;
        for request in [publish(&format!("t.{round}")), subscribe(&format!("p{round}.*")), keyed(keys + round)] {
            if is_large {
                client.ok(request).await;
            } else {
                client.refused(request, "too_many").await;
            }
        }
    }
    // What is there stays.
    assert_eq!(client.ok(keyed(0)).await["duplicate"], true);
    client.ok(publish("t.2")).await;
}

#[tokio::test]
async fn a_configuration_that_no_file_could_have_changes_nothing() {
    let reloadable = Reloadable::start(|_| {});
    let mut config = reloadable.config.clone();
    (config.limits.topics, config.limits.subscriptions) = (0, 1);
    config.topics = vec![moderated("a.*"), rule("a.b")];
    let refused = within("a reload", reloadable.running.broker.reload(config)).await.unwrap_err();
    let ReloadError::Configuration(problems) = refused else { panic!("{refused}") };
    let found: Vec<&str> = problems.iter().map(|problem| problem.title()).collect();
    assert_eq!(found, ["`topics` must be 1 to 10_000_000", "no topic can reach this rule for `a.b`"]);
    let welcome = reloadable.running.client(Codec::Json).await.welcome;
    assert_eq!(welcome["limits"]["subscriptions"], reloadable.config.limits.subscriptions);
}

/// A broker with two plugins in files.
fn with_plugins(folder: &std::path::Path) -> Reloadable {
    for name in ["one", "two"] {
        std::fs::write(folder.join(name), empty("")).unwrap();
    }
    Reloadable::start(|config| {
        config.sandbox.cache = Some(folder.join("cache"));
        for name in ["one", "two"] {
            let plugin = PluginConfig { path: folder.join(name), required: true, ..PluginConfig::default() };
            config.plugins.insert(name.to_owned(), plugin);
        }
        config.topics = vec![rule("a.*")];
    })
}

#[tokio::test]
async fn a_required_plugin_that_does_not_start_changes_nothing_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut reloadable = with_plugins(folder.path());
    let before: Vec<String> = reloadable.running.broker.plugins().into_iter().map(|plugin| plugin.hash).collect();
    let mut client = reloadable.subscriber("a.x").await;
    std::fs::write(folder.path().join("one"), hostile()).unwrap();
    std::fs::write(folder.path().join("two"), empty("(func $begin unreachable) (start $begin)")).unwrap();
    let mut config = reloadable.config.clone();
    config.topics = vec![moderated("a.*")];
    config.api = keys(&[("backend", "secret")]);
    let refused = within("a reload", reloadable.running.broker.reload(config)).await.unwrap_err();
    assert!(matches!(&refused, ReloadError::Refused(text) if text.contains("plugin \"two\"")), "{refused}");
    let plugins = || reloadable.running.broker.plugins();
    let after: Vec<String> = plugins().into_iter().map(|plugin| plugin.hash).collect();
    assert_eq!(after, before, "the other one did start, and does not take over");
    client.publish("a.x", json!("bad")).await;
    assert_eq!(client.message().await["data"], "bad");
    assert_eq!(get(reloadable.running.address, "/api/v1/openapi.json").await.status, 404);
    // Without it the other one is loaded.
    std::fs::write(folder.path().join("two"), empty("")).unwrap();
    let reloaded = reloadable.reload(|_| {}).await;
    assert_eq!((reloaded.applied.len(), reloaded.failed.len()), (0, 0));
    let after: Vec<String> = reloadable.running.broker.plugins().into_iter().map(|plugin| plugin.hash).collect();
    assert_ne!(after[1], before[1], "moderator, one, two: {after:?}");
}

#[tokio::test]
async fn a_plugin_that_is_not_required_fails_alone_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut reloadable = with_plugins(folder.path());
    std::fs::write(folder.path().join("one"), b"no plugin").unwrap();
    let reloaded = reloadable
        .reload(|config| {
            config.plugins.get_mut("one").unwrap().required = false;
            config.plugins.remove("two");
        })
        .await;
    assert_eq!(reloaded.applied, ["plugin one: changed", "plugin two: removed"]);
    let [(name, reason)] = &reloaded.failed[..] else { panic!("{:?}", reloaded.failed) };
    assert_eq!(name, "one");
    assert!(reason.contains("does not begin like WebAssembly"), "{reason}");
    let names: Vec<String> = reloadable.running.broker.plugins().into_iter().map(|plugin| plugin.name).collect();
    assert_eq!(names, ["moderator", "one"]);
    assert_eq!(reloadable.reload(|_| {}).await.failed.len(), 1, "it is tried again");
    std::fs::write(folder.path().join("one"), empty("")).unwrap();
    assert_eq!(reloadable.reload(|_| {}).await.failed, []);
}
