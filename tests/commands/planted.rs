//! Texts of others with what a terminal acts on: none of it gets to the terminal, and JSON means the same.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use rialto::config::{History, PluginConfig, TopicRule};
use rialto::topic::Pattern;
use rialto_plugin::prelude::*;
use rialto_plugin::recording::Header;
use serde_json::{Value, json};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{program, run};
use crate::support::component::module;
use crate::support::{RIALTO, Running};

/// A change of colour, a new line that looks like the command's own, C1, DEL, separators and every bidi control.
const PLANTED: &str = "x\u{1b}[31m\r\nerror: forged\u{7}\u{7f}\u{85}\u{9b}2J\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\
                       \u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}end";

/// Refuses with the planted text, or replies and publishes with it.
#[derive(Default)]
struct Planter;

impl Plugin for Planter {
    fn on_call(&mut self, _: &mut Context, call: Call) -> Result<Reply> {
        if call.method == "refuse" { Err(reject(PLANTED)) } else { Ok(call.reply(PLANTED)?) }
    }

    fn on_publish(&mut self, _: &mut Context, message: Message) -> Result<Verdict> {
        if message.topic.ends_with("refused") {
            Err(reject(PLANTED))
        } else {
            message.replace(PLANTED).map_err(fail_with)
        }
    }

    fn on_subscribe(&mut self, _: &mut Context, _: &Session, topic: &str) -> Result<()> {
        if topic.ends_with("refused") { Err(reject(PLANTED)) } else { Ok(()) }
    }
}

fn fail_with(error: impl std::fmt::Display) -> Error {
    fail(error.to_string())
}

fn planting() -> Running {
    let history = Some(History::default());
    let pattern = Pattern::parse("p.*").unwrap();
    let own = TopicRule { pattern, plugin: Some("planter".to_owned()), history, ..TopicRule::default() };
    Running::built(
        |config| {
            config.topics = vec![own, TopicRule { history, ..TopicRule::default() }];
            config.plugins.insert("planter".to_owned(), PluginConfig::default());
        },
        |builder| builder.plugin("planter", Planter::default),
    )
}

/// Nothing acts on a terminal, and no line is forged.
fn harmless(text: &str) {
    let acts = |c: char| {
        c != '\n' && c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(acts), "{text:?}");
    assert!(!text.lines().any(|line| line.starts_with("error: forged")), "{text}");
}

/// What a command printed, with the planted text in it.
fn printed(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8(text).unwrap();
    harmless(&text);
    assert!(text.contains("[31m"), "the planted text is shown: {text}");
    text
}

#[tokio::test]
async fn payloads_are_json_lines_that_mean_the_same() {
    let running = planting();
    running.broker.publish("open", rialto::Payload::json(PLANTED).unwrap()).await.unwrap();
    let published = run(&running, &["pub", "p.a", "1"]);
    assert!(published.status.success(), "{published:?}");
    for (command, data) in [
        (&["history", "open"][..], "/data"),
        (&["history", "open", "--codec", "msgpack"], "/data"),
        (&["sub", "p.a", "--last", "1", "--count", "1"], "/data"),
        (&["sub", "p.a", "--last", "1", "--count", "1", "--data"], ""),
        (&["call", "p.a", "reply"], ""),
        (&["call", "p.a", "reply", "--codec", "msgpack"], ""),
    ] {
        let text = printed(&run(&running, command));
        assert_eq!(text.lines().count(), 1, "{command:?}: {text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line.pointer(data).unwrap(), PLANTED, "{command:?}");
    }
}

#[test]
fn refusals_of_a_plugin_are_one_line() {
    let running = planting();
    for command in [&["pub", "p.refused", "1"][..], &["sub", "p.refused"], &["call", "p.a", "refuse"]] {
        let output = run(&running, command);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let text = printed(&output);
        assert_eq!(text.lines().count(), 1, "{command:?}: {text}");
    }
    let mut pipe = program(running.address).args(["pub", "p.refused"]).stdin(Stdio::piped()).spawn().unwrap();
    pipe.stdin.take().unwrap().write_all(b"1\n").unwrap();
    assert_eq!(printed(&pipe.wait_with_output().unwrap()).lines().count(), 2);
}

/// What commands say of a server that is no broker.
fn commands_are_harmless(address: SocketAddr) {
    let url = format!("ws://{address}/ws");
    for command in [
        &["history", "a"][..],
        &["sub", "a"],
        &["pub", "a", "1"],
        &["call", "a", "m"],
        &["presence", "a"],
        &["bench", "fanout", &url, "--subscribers", "1", "--rounds", "1", "--seconds", "0.1"],
    ] {
        let output = program(address).args(command).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        harmless(&String::from_utf8(output.stderr).unwrap());
    }
}

/// Answers each connection with this, until it is connected to without a request.
fn answering(answer: String) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if stream.read(&mut [0; 4_096]).unwrap_or_default() == 0 {
                return;
            }
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, server)
}

#[test]
fn servers_that_are_no_brokers_cannot_act_either() {
    for answer in [
        format!("HTTP/1.1 403 {}\r\nContent-Length: 9\r\n\r\n", PLANTED.replace("\r\n", " ")),
        format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{PLANTED}", PLANTED.len()),
        PLANTED.to_owned(),
    ] {
        let (address, server) = answering(answer);
        commands_are_harmless(address);
        drop(std::net::TcpStream::connect(address).unwrap());
        server.join().unwrap();
    }
}

#[tokio::test]
async fn the_reason_of_a_close_cannot_act() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            #[allow(clippy::result_large_err, reason = "the library says what it returns")]
            let agree = |request: &Request, mut response: Response| {
                let offered = request.headers().get("sec-websocket-protocol").cloned();
                offered.map(|offered| response.headers_mut().insert("sec-websocket-protocol", offered));
                Ok(response)
            };
            let Ok(mut socket) = accept_hdr_async(stream, agree).await else { continue };
            let frame = CloseFrame { code: CloseCode::Policy, reason: PLANTED.into() };
            let _ = socket.close(Some(frame)).await;
        }
    });
    let said = tokio::task::spawn_blocking(move || {
        commands_are_harmless(address);
        program(address).args(["history", "a"]).output().unwrap()
    });
    let said = String::from_utf8(said.await.unwrap().stderr).unwrap();
    assert!(said.contains("[31m"), "{said}");
    server.abort();
}

/// Runs a command against a control socket that answers so.
fn controlled(folder: &Path, status: &str, body: &Value, arguments: &[&str]) -> Output {
    let path = folder.join("control.sock");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let answer = format!("HTTP/1.1 {status}\r\n\r\n{body}");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4_096]);
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let mut command = Command::new(RIALTO);
    command.args(arguments).arg("--control").arg(&path).stdin(Stdio::null());
    let output = command.output().unwrap();
    server.join().unwrap();
    output
}

#[test]
fn what_a_control_socket_says_cannot_act() {
    let folder = tempfile::tempdir().unwrap();
    let texts = json!([PLANTED, PLANTED]);
    let plugin = json!({
        "name": PLANTED, "package": PLANTED, "version": PLANTED, "hash": PLANTED, "state": PLANTED, "needs": texts,
        "grants": texts, "serves": texts, "instances": 1, "timers": 0, "waiting": 0, "state_bytes": 0, "hooks": 1,
        "failures": 1, "native": false, "last_failure": {"hook": PLANTED, "topic": PLANTED, "text": PLANTED, "time": 1},
    });
    let lost = json!({"name": PLANTED, "state": "not_loaded", "last_failure": {"text": PLANTED}});
    let plugins = json!({"plugins": [plugin, lost]});
    let text = printed(&controlled(folder.path(), "200 OK", &plugins, &["plugin", "status"]));
    assert_eq!(text.lines().count(), 10, "{text}");
    let json = printed(&controlled(folder.path(), "200 OK", &plugins, &["plugin", "status", "--json"]));
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), plugins);
    printed(&controlled(folder.path(), "200 OK", &plugin, &["plugin", "reload", "x"]));
    let failed = json!([{"plugin": PLANTED, "message": PLANTED}]);
    let reloaded = json!({"applied": texts, "restart": texts, "failed": failed, "warnings": PLANTED});
    for command in [&["reload"][..], &["reload", "--json"]] {
        printed(&controlled(folder.path(), "200 OK", &reloaded, command));
    }
    for command in [&["plugin", "status"][..], &["plugin", "reload", "x"], &["reload"]] {
        let refusal = json!({"code": "rejected", "message": PLANTED});
        printed(&controlled(folder.path(), "422 Unprocessable Content", &refusal, command));
    }
}

#[test]
fn files_of_others_cannot_act() {
    let folder = tempfile::tempdir().unwrap();
    let output = |arguments: &[&str], file: &Path| {
        let mut command = Command::new(RIALTO);
        command.args(arguments).arg(file).stdin(Stdio::null());
        command.output().unwrap()
    };
    // The names of a core module's imports and exports are any text.
    let name: String = PLANTED.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let wasm = folder.path().join("plugin.wasm");
    let text = format!("(module (import \"{name}\" \"{name}\" (func)) (func (export \"{name}\")))");
    std::fs::write(&wasm, module(&text)).unwrap();
    printed(&output(&["plugin", "inspect"], &wasm));
    let recording = folder.path().join("recording.jsonl");
    let start = json!({"event": "start"});
    let header = |component: &str| Header { component: component.to_owned(), ..Header::new(PLANTED, true) };
    for component in ["", PLANTED] {
        let header = serde_json::to_string(&header(component)).unwrap();
        std::fs::write(&recording, format!("{header}\n{start}\n")).unwrap();
        let output = output(&["plugin", "replay"], &recording);
        assert_eq!(output.status.code(), Some(1));
        harmless(&String::from_utf8(output.stderr).unwrap());
    }
    let config = folder.path().join(PLANTED.replace(['\r', '\n'], ""));
    std::fs::write(&config, "").unwrap();
    printed(&output(&["check"], &config));
    std::fs::write(&config, "x = 1").unwrap();
    // Its problems replace such characters, because an escape would move the caret.
    harmless(&String::from_utf8(output(&["check"], &config).stderr).unwrap());
}
