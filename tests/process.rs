//! The binary as an operator runs it: its output, shutdown, and errors at the start.

mod address_space;
mod output;
mod reload;
mod signal;

use crate::support::process::{Process, SERVER, command, fails};
use crate::support::{Client, RIALTO, Raw, http, root};
use rialto::Codec;
use serde_json::json;

#[tokio::test]
async fn it_prints_what_it_serves_with_the_real_port_and_serves_it() {
    let plugin = "[[topic]]\npattern = \"own.*\"\nplugin = \"obliging\"\n[[topic]]\npattern = \">\"\n\
                  [plugin.obliging]\npath = \"plugin.wasm\"\n";
    let process = Process::start(&format!("{SERVER}{plugin}"), Some(&crate::support::component::empty("")));
    let (banner, address) = (&process.banner, process.address);
    assert_ne!(address.port(), 0);
    for part in [
        "rialto.toml",
        &format!("http://{address}/"),
        &format!("ws://{address}/ws"),
        "obliging",
        "sha256",
        "own.*",
        "2 shards",
    ] {
        assert!(banner.contains(part), "{part:?} is not in\n{banner}");
    }
    assert!(!banner.contains(":0/"), "{banner}");
    assert_eq!(http(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 200);
    for codec in Codec::ALL {
        let mut client = Client::connect(address, codec).await;
        for topic in ["open", "own.a"] {
            client.subscribe(topic).await;
            client.publish(topic, json!("hello")).await;
            assert_eq!(client.message().await["data"], "hello");
        }
        client.close().await;
    }
}

#[tokio::test]
async fn the_shortest_file_names_only_what_it_serves() {
    let minimal = std::fs::read_to_string(root().join("config/minimal.toml")).unwrap();
    for (page, pages) in [("", 1), ("page = false\n", 0)] {
        let listen = format!("listen = \"127.0.0.1:0\"\nhosts = \"x\"\n{page}");
        let process = Process::start(&minimal.replace("listen = \"127.0.0.1:8080\"\n", &listen), None);
        let start = format!("http://{}", process.address);
        let words = process.banner.split_whitespace().chain(minimal.split_whitespace());
        let paths: Vec<&str> = words.filter_map(|word| word.strip_prefix(&start)).collect();
        let files: Vec<&str> = paths.into_iter().filter(|path| !path.contains('?')).collect();
        assert_eq!(files.len(), pages, "{}", process.banner);
        for path in files.into_iter().chain(["/sdk/index.js"]) {
            let response = http(process.address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            assert_eq!(response.status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn sigterm_and_sigint_shut_it_down_and_clients_are_sent_closing() {
    for name in ["TERM", "INT"] {
        let mut process = Process::start(SERVER, None);
        let mut clients = [
            Client::connect(process.address, Codec::Json).await,
            Client::connect(process.address, Codec::MessagePack).await,
        ];
        process.signal(name);
        for client in &mut clients {
            assert_eq!(client.closed().await, Some(1001));
            let closing = client.push().await;
            assert_eq!((&closing["type"], &closing["code"]), (&json!("closing"), &json!(1001)));
        }
        // Who keeps its half of the connection open is waited for.
        drop(clients);
        process.says("Stopping");
        process.says("Stopped.");
        assert_eq!(process.ends().await.code(), Some(0), "SIG{name}");
        assert!(tokio::net::TcpStream::connect(process.address).await.is_err(), "nobody listens any more");
        assert_eq!(process.log(), "", "a good end is nothing to complain about");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let patient = "shutdown_ms = 600_000\n[limits]\nclose_ms = 600_000\n";
    let mut process = Process::start(&format!("{SERVER}{patient}"), None);
    // A session that never answers the close keeps the broker waiting.
    let _silent = Raw::connect(process.address, Codec::Json).await;
    process.signal("TERM");
    process.says("Stopping");
    assert!(process.child.try_wait().unwrap().is_none(), "it waits for the session");
    process.signal("INT");
    assert_eq!(process.ends().await.code(), Some(1));
}

/// A process whose plugin is in the middle of a hook that lasts a minute.
async fn stuck(settings: &str) -> (Process, Client) {
    let plugin = "[[topic]]\npattern = \"hostile.*\"\nplugin = \"hostile\"\n\
                  [plugin.hostile]\npath = \"plugin.wasm\"\nhook_ms = 60_000\n";
    let process = Process::start(&format!("{SERVER}{settings}{plugin}"), Some(&crate::support::component::hostile()));
    let mut client = Client::connect(process.address, Codec::Json).await;
    client.ask(json!({"type": "publish", "topic": "hostile.a", "data": "l"})).await;
    client.ping().await;
    (process, client)
}

#[tokio::test]
async fn a_stuck_plugin_does_not_keep_it_from_stopping_in_time() {
    let (mut process, mut client) = stuck("shutdown_ms = 500\n").await;
    process.signal("TERM");
    assert_eq!(client.closed().await, Some(1001));
    process.ends().await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_even_with_a_stuck_plugin() {
    let (mut process, mut client) = stuck("shutdown_ms = 600_000\n").await;
    process.signal("TERM");
    assert_eq!(client.closed().await, Some(1001));
    process.says("Stopping");
    // Long enough for all but the hook to have ended: what is tested is the signal while only the hook is waited for.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(process.child.try_wait().unwrap().is_none(), "it waits for the hook");
    process.signal("TERM");
    process.ends().await;
}

#[tokio::test]
async fn what_a_plugin_logs_can_neither_forge_lines_nor_move_the_cursor() {
    let plugin = "[[topic]]\npattern = \"hostile.*\"\nplugin = \"hostile\"\n[plugin.hostile]\npath = \"plugin.wasm\"\n";
    let mut process = Process::start(&format!("{SERVER}{plugin}"), Some(&crate::support::component::hostile()));
    let mut client = Client::connect(process.address, Codec::Json).await;
    client.publish("hostile.a", json!("c")).await;
    client.refused(json!({"type": "publish", "topic": "hostile.a", "data": "t"}), "plugin_failed").await;
    client.refused(json!({"type": "call", "topic": "hostile.a", "method": "l"}), "plugin_failed").await;
    client.close().await;
    process.signal("TERM");
    assert_eq!(process.ends().await.code(), Some(0));
    let log = process.log();
    assert!(!log.contains(|c: char| c.is_control() && c != '\n'), "{log:?}");
    assert!(log.contains("red") && log.contains("forged line"), "the line is there: {log}");
    assert!(!log.lines().any(|line| line.starts_with("ERROR forged")), "{log}");
    let failed = |words: [&str; 4]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(failed(["plugin failed", "hostile", "on-publish", "unreachable"]), "{log}");
    assert!(failed(["plugin failed", "hostile.a", "on-call", "deadline of 50 ms"]), "{log}");
}

#[test]
fn a_port_in_use_is_reported_with_the_address() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, error) = fails(&format!("[server]\nlisten = \"{address}\"\n"), None);
    assert_eq!(code, Some(1));
    assert!(error.contains(&format!("cannot listen on {address}")) && error.contains("in use"), "{error}");
}

#[test]
fn a_wrong_configuration_is_shown_with_every_problem() {
    let (code, error) = fails("[server]\nlisten = \"nowhere\"\nshrads = 2\n", None);
    assert_eq!(code, Some(2));
    for part in ["rialto.toml:2", "rialto.toml:3", "nowhere", "shrads", "shards"] {
        assert!(error.contains(part), "{part:?} is not in\n{error}");
    }
}

#[test]
fn a_missing_configuration_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("rialto.toml"));
}

#[test]
fn a_missing_plugin_is_shown_with_its_line() {
    let (code, error) = fails(&format!("{SERVER}[plugin.gone]\npath = \"gone.wasm\"\n"), None);
    assert_eq!(code, Some(2));
    assert!(error.contains("rialto.toml:6") && error.contains("gone.wasm"), "{error}");
}

#[test]
fn a_plugin_that_does_not_start_is_named_with_its_reason() {
    let config = format!(
        "{SERVER}[plugin.hostile]\npath = \"plugin.wasm\"\nrequired = true\n[plugin.hostile.config]\nstart = \"S\"\n"
    );
    let (code, error) = fails(&config, Some(&crate::support::component::hostile()));
    assert_eq!(code, Some(1));
    assert!(error.contains("plugin \"hostile\"") && error.contains("good sentence"), "{error}");
    let config = format!("{SERVER}[plugin.none]\npath = \"plugin.wasm\"\nrequired = true\n");
    let (code, error) = fails(&config, Some(&crate::support::component::module("(module)")));
    assert_eq!(code, Some(1));
    assert!(error.contains("plugin \"none\"") && error.contains("core module"), "{error}");
}

#[tokio::test]
async fn without_a_plugin_that_does_not_load_everything_else_is_served() {
    let config = format!(
        "{SERVER}[[topic]]\npattern = \"own.*\"\nplugin = \"none\"\n[[topic]]\npattern = \">\"\n\
         [plugin.none]\npath = \"plugin.wasm\"\n"
    );
    let mut process = Process::start(&config, Some(&crate::support::component::module("(module)")));
    assert!(process.banner.contains("NOT LOADED"), "{}", process.banner);
    let mut client = Client::connect(process.address, Codec::Json).await;
    client.refused(json!({"type": "publish", "topic": "own.a", "data": 1}), "plugin_failed").await;
    client.publish("open", json!(1)).await;
    let control = process.folder.path().join(format!("rialto/{}.sock", process.address.port()));
    let rialto = |arguments: &[&str]| {
        let mut command = std::process::Command::new(RIALTO);
        let output = command.args(arguments).arg("--control").arg(&control).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let status = rialto(&["plugin", "status"]);
    assert!(status.starts_with("none: not loaded\n") && status.contains("core module"), "{status}");
    // A reload loads it.
    std::fs::write(process.folder.path().join("plugin.wasm"), crate::support::component::empty("")).unwrap();
    let reloaded = rialto(&["plugin", "reload", "none"]);
    assert!(reloaded.contains("none: running"), "{reloaded}");
    client.publish("own.a", json!(1)).await;
    client.close().await;
    process.signal("TERM");
    process.ends().await;
    assert!(process.log().contains("a plugin was not loaded"));
}

fn tls(files: &crate::support::tls::Files) -> String {
    let (certificate, key) = (files.certificate(), files.key());
    format!("[tls]\nlisten = \"127.0.0.1:0\"\ncertificate = {certificate:?}\nkey = {key:?}\n")
}

#[tokio::test]
async fn it_prints_where_it_serves_with_tls_and_serves_it() {
    use crate::support::tls::{Certificate, Files, Hello, now_s};

    let good = Certificate::good();
    let over = Certificate::valid(now_s() - 200_000, now_s() - 100_000);
    for (certificate, warned) in [(&good, false), (&over, true)] {
        let files = Files::with(certificate);
        let mut process = Process::start(&format!("{SERVER}{}", tls(&files)), None);
        let banner = process.banner.clone();
        let (_, url) = banner.split_once("wss://").expect("a URL");
        let host = url.split_once("/ws").unwrap().0;
        assert!(banner.contains(&format!("https://{host}/\n")) && !host.ends_with(":0"), "{banner}");
        assert!(banner.contains(&format!("ws://{}/ws", process.address)), "{banner}");
        let stream = Hello::default().connect(host.parse().unwrap()).await.unwrap();
        let mut client = Client::upgraded(stream, "wss://localhost/ws", Codec::Json).await;
        client.ping().await;
        process.signal("TERM");
        assert_eq!(client.closed().await, Some(1001));
        drop(client);
        assert_eq!(process.ends().await.code(), Some(0));
        let log = process.log();
        assert_eq!(log.contains("the certificate expired 27 hours ago"), warned, "{log}");
        assert_eq!(log.lines().count(), usize::from(warned), "{log}");
    }
}

#[test]
fn a_key_of_another_certificate_is_named_and_nothing_is_served() {
    use crate::support::tls::{Certificate, Files};

    let files = Files::with(&Certificate::good());
    std::fs::write(files.key(), Certificate::good().key_pem).unwrap();
    let (code, error) = fails(&format!("{SERVER}{}", tls(&files)), None);
    assert_eq!(code, Some(1));
    let said = format!("cannot serve with TLS: the key in {} does not match the certificate", files.key().display());
    assert!(error.contains(&said), "{error}");
}
