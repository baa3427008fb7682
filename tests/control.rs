//! Operating a running broker: the control socket, the commands that use it, signals, watched files, and the same by the
//! HTTP API with a key.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::component::{empty, hostile};
use crate::support::process::{Process, SERVER};
use crate::support::{Client, Program, RIALTO, Running, eventually};
use rialto::config::{Api, ApiKey, PluginConfig};
use rialto::topic::Pattern;
use rialto::{ApiOperation, Codec};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const OWN: &str = "[[topic]]\npattern = \"own.*\"\nplugin = \"own\"\n[plugin.own]\npath = \"plugin.wasm\"\n";

fn start(more: &str) -> Process {
    Process::start(&format!("{SERVER}{OWN}{more}"), Some(&empty("")))
}

/// Runs `rialto plugin …` as the operator of this broker.
fn plugin(process: &Process, arguments: &[&str]) -> Output {
    let mut command = Command::new(RIALTO);
    command.arg("plugin").args(arguments).env("XDG_RUNTIME_DIR", process.folder.path());
    command.stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> (bool, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn status(process: &Process) -> Value {
    let output = plugin(process, &["status", "--json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn put(process: &Process, name: &str, content: impl AsRef<[u8]>) {
    let folder = process.folder.path();
    fs::write(folder.join("new"), content).unwrap();
    fs::rename(folder.join("new"), folder.join(name)).unwrap();
}

fn socket(process: &Process) -> PathBuf {
    process.folder.path().join(format!("rialto/{}.sock", process.address.port()))
}

#[tokio::test]
async fn status_and_reload_find_the_broker_by_themselves() {
    let mut process = start("");
    let mut client = Client::connect(process.address, Codec::Json).await;
    client.subscribe("own.a").await;
    let (good, text) = said(&plugin(&process, &["status"]));
    assert!(good && text.starts_with("own: running, unnamed ?, sha256 "), "{text}");
    let before = status(&process)["plugins"][0].clone();
    put(&process, "plugin.wasm", hostile());
    let (good, text) = said(&plugin(&process, &["reload", "own"]));
    assert!(good && text.contains("own: running"), "{text}");
    let after = status(&process)["plugins"][0].clone();
    assert_ne!(before["hash"], after["hash"]);
    assert_eq!((&after["state"], &after["instances"]), (&json!("running"), &json!(1)));
    client.publish("own.a", json!("-")).await;
    assert_eq!(client.message().await["data"], "-");
    drop(client);

    assert_eq!(fs::metadata(socket(&process)).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(socket(&process).parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    process.signal("TERM");
    assert_eq!(process.ends().await.code(), Some(0));
    assert!(!socket(&process).exists());
    let (good, text) = said(&plugin(&process, &["status"]));
    assert!(!good && text.contains("no broker of yours is running"), "{text}");
}

#[tokio::test]
async fn a_version_that_does_not_run_is_explained_and_the_old_one_goes_on() {
    let process = start("");
    let before = status(&process);
    put(&process, "plugin.wasm", b"#!/bin/sh\n");
    let (good, text) = said(&plugin(&process, &["reload", "own"]));
    assert!(!good && text.contains("plugin \"own\" (") && text.contains("does not begin like WebAssembly"), "{text}");
    put(&process, "plugin.wasm", empty("(func $begin unreachable) (start $begin)"));
    let (good, text) = said(&plugin(&process, &["reload", "own"]));
    assert!(!good && text.contains("cannot start: trap"), "{text}");
    put(&process, "plugin.wasm", hostile());
    put(&process, "rialto.toml", format!("{SERVER}{OWN}hook_ms = 0\nmemory = 5\n"));
    let (good, text) = said(&plugin(&process, &["reload", "own"]));
    assert!(!good && text.contains("`hook_ms` must be 1 to 60_000") && text.contains("unknown key `memory`"), "{text}");
    let (good, text) = said(&plugin(&process, &["reload", "nobody"]));
    assert!(!good && text.contains("the configuration has problems"), "{text}");
    put(&process, "rialto.toml", format!("{SERVER}{OWN}"));
    let (good, text) = said(&plugin(&process, &["reload", "nobody"]));
    assert!(!good && text.contains("there is no plugin \"nobody\""), "{text}");
    assert_eq!(status(&process)["plugins"][0]["hash"], before["plugins"][0]["hash"]);
    put(&process, "rialto.toml", SERVER);
    let (good, text) = said(&plugin(&process, &["reload", "own"]));
    assert!(!good && text.contains("is gone from the configuration"), "{text}");
    let mut client = Client::connect(process.address, Codec::Json).await;
    client.ok(json!({"type": "call", "topic": "own.a", "method": "x"})).await;
}

#[tokio::test]
async fn a_plugin_that_is_new_in_the_configuration_begins_to_run_with_its_topics() {
    let process = start("");
    let mut client = Client::connect(process.address, Codec::Json).await;
    client.refused(json!({"type": "call", "topic": "other.a", "method": "1"}), "not_found").await;
    put(&process, "other.wasm", hostile());
    let other = "[[topic]]\npattern = \"other.*\"\nplugin = \"other\"\n[plugin.other]\npath = \"other.wasm\"\n";
    put(&process, "rialto.toml", format!("{SERVER}{OWN}{other}"));
    // Only what was asked for is loaded; its rules wait for nobody else.
    let (good, text) = said(&plugin(&process, &["reload", "other"]));
    assert!(good && text.starts_with("other: running"), "{text}");
    assert_eq!(client.ok(json!({"type": "call", "topic": "other.a", "method": "1"})).await["data"], json!(0));
    client.ok(json!({"type": "call", "topic": "own.a", "method": "x"})).await;
    assert_eq!(status(&process)["plugins"].as_array().unwrap().len(), 2);
    // A setting of its own counts from the reload on.
    put(&process, "rialto.toml", format!("{SERVER}{OWN}{other}[plugin.other.config]\nstart = \"t\"\n"));
    let (good, text) = said(&plugin(&process, &["reload", "other"]));
    assert!(!good && text.contains("cannot start: trap"), "{text}");
}

#[tokio::test]
async fn the_hang_up_signal_reloads_all_plugins() {
    let process = start("");
    let before = status(&process)["plugins"][0]["hash"].clone();
    put(&process, "plugin.wasm", hostile());
    put(&process, "other.wasm", empty("(func)"));
    put(&process, "rialto.toml", format!("{SERVER}{OWN}[plugin.other]\npath = \"other.wasm\"\n"));
    process.signal("HUP");
    eventually("both run, one of them anew", || {
        let plugins = status(&process)["plugins"].clone();
        plugins.as_array().unwrap().len() == 2 && plugins[1]["hash"] != before
    })
    .await;
    put(&process, "rialto.toml", "[server");
    process.signal("HUP");
    let (good, text) = said(&plugin(&process, &["reload", "own"]));
    assert!(!good && text.contains("nothing was changed"), "{text}");
    assert_eq!(status(&process)["plugins"].as_array().unwrap().len(), 2, "it goes on");
    put(&process, "rialto.toml", format!("{SERVER}{OWN}"));
    process.signal("HUP");
    eventually("the other one has ended", || status(&process)["plugins"].as_array().unwrap().len() == 1).await;
}

#[tokio::test]
async fn a_plugin_that_is_watched_is_loaded_when_its_file_changes() {
    let process = start("watch = true\n");
    let before = status(&process)["plugins"][0]["hash"].clone();
    put(&process, "plugin.wasm", hostile());
    eventually("the new version runs", || status(&process)["plugins"][0]["hash"] != before).await;
    let after = status(&process)["plugins"][0]["hash"].clone();
    put(&process, "plugin.wasm", b"no plugin at all");
    put(&process, "second.wasm", empty(""));
    assert_eq!(status(&process)["plugins"][0]["hash"], after);
    put(&process, "plugin.wasm", empty(""));
    eventually("the first version runs again", || status(&process)["plugins"][0]["hash"] == before).await;
}

#[tokio::test]
async fn a_socket_that_is_named_must_be_had_and_none_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/control.sock");
    let named = format!("{SERVER}control = \"{}\"\n", path.display());
    let first = Process::start(&named, None);
    let (good, text) = said(&plugin(&first, &["status", "--control", path.to_str().unwrap()]));
    assert_eq!((good, text.as_str()), (true, "no plugins\n"));
    let (code, text) = crate::support::process::fails(&named, None);
    assert_eq!(code, Some(1));
    assert!(text.contains("another broker listens there"), "{text}");
    let none = Process::start(&format!("{SERVER}control = \"\"\n"), None);
    assert!(!socket(&none).exists());
    let (good, text) = said(&plugin(&none, &["status", "--port", &none.address.port().to_string()]));
    assert!(!good && text.contains("cannot reach a broker at"), "{text}");
}

#[tokio::test]
async fn programs_with_a_key_for_all_topics_see_and_reload_plugins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plugin.wasm");
    fs::write(&path, empty("")).unwrap();
    let key = |name: &str, allow: &[ApiOperation], topics: &str| ApiKey {
        name: name.to_owned(),
        sha256: Sha256::digest(name).into(),
        allow: allow.to_vec(),
        topics: vec![Pattern::parse(topics).unwrap()],
    };
    let running = Running::with(|config| {
        config.plugins.insert("own".to_owned(), PluginConfig { path: path.clone(), ..PluginConfig::default() });
        let keys = vec![
            key("all", &ApiOperation::ALL, ">"),
            key("narrow", &ApiOperation::ALL, "own.*"),
            key("reader", &[ApiOperation::Plugins], ">"),
        ];
        config.api = Some(Api { keys });
    });
    let program = |key: &str| Program { address: running.address, key: key.to_owned() };
    let before = program("reader").ok("plugins", json!({})).await["plugins"][0].clone();
    assert_eq!((&before["name"], &before["native"]), (&json!("own"), &json!(false)));
    fs::write(&path, hostile()).unwrap();
    let after = program("all").ok("plugins/reload", json!({"plugin": "own"})).await;
    assert_ne!(before["hash"], after["hash"]);
    for (key, operation, body, expected) in [
        ("narrow", "plugins", json!({}), (403, "forbidden")),
        ("narrow", "plugins/reload", json!({"plugin": "own"}), (403, "forbidden")),
        ("reader", "plugins/reload", json!({"plugin": "own"}), (403, "forbidden")),
        ("all", "plugins/reload", json!({}), (400, "bad_request")),
        ("all", "plugins/reload", json!({"plugin": "nobody"}), (404, "not_found")),
    ] {
        let (status, told) = program(key).ask(operation, &body).await;
        assert_eq!((status, told["code"].as_str().unwrap()), expected, "{key} {operation}: {told}");
    }
    fs::write(&path, b"").unwrap();
    let (status, told) = program("all").ask("plugins/reload", &json!({"plugin": "own"})).await;
    assert_eq!((status, &told["code"]), (422, &json!("rejected")));
    assert!(told["message"].as_str().unwrap().contains("the file is empty"), "{told}");
    assert_eq!(program("all").ok("plugins", json!({})).await["plugins"][0]["hash"], after["hash"]);
}
