//! `rialto reload` and SIGHUP: the file is applied as a whole, or nothing is, and either is said.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::component::empty;
use crate::support::process::{Process, SERVER};
use crate::support::{Client, Program, RIALTO, http, upgrade_request, within};
use rialto::Codec;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Runs `rialto reload` as the operator of this broker.
fn reload(process: &Process, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(RIALTO);
    command.arg("reload").args(arguments).env("XDG_RUNTIME_DIR", process.folder.path());
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

fn write(process: &Process, config: &str) {
    let folder = process.folder.path();
    std::fs::write(folder.join("new"), config).unwrap();
    std::fs::rename(folder.join("new"), folder.join("rialto.toml")).unwrap();
}

fn api(key: &str) -> String {
    let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[api]\nkeys = [{{ name = \"backend\", sha256 = \"{hash}\" }}]\n")
}

#[tokio::test]
async fn the_command_waits_and_says_what_has_changed_and_what_needs_a_restart() {
    let mut process = Process::start(&format!("{SERVER}{}", api("old-secret")), None);
    let address = process.address;
    let status = async |key: &str| Program { address, key: key.to_owned() }.ask("topics", &json!({})).await.0;
    assert_eq!((status("old-secret").await, status("new-secret").await), (200, 401));
    let server = SERVER.replace("shards = 2", "shards = 3\nallowed_origins = [\"https://app.example\"]");
    write(&process, &format!("{server}{}[limits]\nsessions = 7\n", api("new-secret")));
    let (code, text) = reload(&process, &[]);
    let expected = "applied:\n  server.allowed_origins\n  API key backend: changed\n  limits.sessions\n\
                    needs a restart:\n  server.shards\n";
    assert!(code == Some(0) && text.contains(expected), "{code:?} {text}");
    // It has waited: everything is in force.
    assert_eq!((status("old-secret").await, status("new-secret").await), (401, 200));
    let upgrade = upgrade_request(address, &[("Origin", "https://app.example")]);
    assert_eq!(http(address, &upgrade).await.status, 101);
    let (code, text) = reload(&process, &["--json"]);
    let told: Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
    assert_eq!((code, &told["applied"], &told["restart"]), (Some(0), &json!([]), &json!(["server.shards"])));
    process.signal("TERM");
    process.ends().await;
    let log = process.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("configuration reloaded")).collect();
    assert_eq!(lines.len(), 2, "one line each: {log}");
    assert!(lines[0].contains("limits.sessions") && lines[0].contains("server.shards"), "{log}");
    assert!(!log.contains("secret") && !log.contains(&api("new-secret")[50..80]), "{log}");
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_both_the_command_and_the_log_say_so() {
    let mut process = Process::start(&format!("{SERVER}{}", api("key")), None);
    write(&process, &format!("{SERVER}page = \"no\"\n[limits]\nsessions = 0\n"));
    let (code, text) = reload(&process, &[]);
    assert_eq!(code, Some(2), "{text}");
    for part in
        ["nothing was changed", "`page` must be true or false", "`sessions` must be 1 to", "rialto.toml:5:8", "^"]
    {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    process.signal("HUP");
    let program = Program { address: process.address, key: "key".to_owned() };
    program.ok("topics", json!({})).await;
    let (status, told) = program.ask("reload", &json!({})).await;
    assert_eq!((status, &told["code"], &told["detail"]["problems"][0]["line"]), (422, &json!("rejected"), &json!(5)));
    // What the signal did is in the log before that of a later reload.
    write(&process, &format!("{SERVER}{}", api("key")));
    assert_eq!(reload(&process, &[]).0, Some(0));
    process.signal("TERM");
    process.ends().await;
    let log = process.log();
    assert!(log.matches("the configuration has problems: nothing was changed").count() >= 2, "{log}");
}

#[tokio::test]
async fn the_log_level_changes_while_it_runs() {
    let mut process = Process::start(&format!("{SERVER}log = \"info\"\n"), None);
    let session = async |process: &Process| {
        let mut client = Client::connect(process.address, Codec::Json).await;
        client.ok(json!({"type": "connect", "client": "tests"})).await;
        client.close().await;
    };
    session(&process).await;
    write(&process, &format!("{SERVER}log = \"debug\"\n"));
    let (code, text) = reload(&process, &[]);
    assert!(code == Some(0) && text.contains("server.log"), "{text}");
    session(&process).await;
    write(&process, &format!("{SERVER}log = \"error\"\n"));
    assert_eq!(reload(&process, &[]).0, Some(0));
    session(&process).await;
    process.signal("TERM");
    process.ends().await;
    let log = process.log();
    assert_eq!(log.lines().filter(|line| line.contains("DEBUG") && line.contains("client=Some")).count(), 1, "{log}");
}

#[tokio::test]
async fn the_hang_up_signal_applies_the_whole_file() {
    let process = Process::start(&format!("{SERVER}{}", api("old")), None);
    let program = |key: &str| Program { address: process.address, key: key.to_owned() };
    program("old").ok("topics", json!({})).await;
    write(&process, &format!("{SERVER}{}[[topic]]\npattern = \"a.*\"\n", api("new")));
    process.signal("HUP");
    within("the new key", async {
        while program("new").ask("topics", &json!({})).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    program("new").ok("publish", json!({"topic": "a.x", "data": 1})).await;
    assert_eq!(program("new").ask("publish", &json!({"topic": "b.x", "data": 1})).await.0, 404);
    assert_eq!(program("old").ask("topics", &json!({})).await.0, 401);
}

#[tokio::test]
async fn a_plugin_that_does_not_start_is_told_by_the_command() {
    let own = "[plugin.own]\npath = \"plugin.wasm\"\n";
    let process = Process::start(&format!("{SERVER}{own}"), Some(&empty("")));
    std::fs::write(process.folder.path().join("plugin.wasm"), b"no plugin").unwrap();
    let (code, text) = reload(&process, &[]);
    assert!(code == Some(1) && text.contains("not loaded:\n  own: plugin \"own\" ("), "{code:?} {text}");
    write(&process, &format!("{SERVER}{own}required = true\n"));
    let (code, text) = reload(&process, &[]);
    assert!(code == Some(1) && text.contains("does not begin like WebAssembly"), "{code:?} {text}");
    let mut client = Client::connect(process.address, Codec::Json).await;
    client.publish("a", json!(1)).await;
}
