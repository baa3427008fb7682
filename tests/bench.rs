//! `rialto bench` as a person meets it: against the binary's own broker, its floor, and nobody.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use crate::support::RIALTO;

/// A running server, killed when this is dropped.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(args: &[&str]) -> Self {
        let mut child = rialto(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let url =
            lines.find_map(|line| line.split_whitespace().find(|word| word.starts_with("ws://")).map(str::to_owned));
        // Nobody reads on, but what is printed must not meet a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url: url.unwrap() }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn rialto(args: &[&str]) -> Command {
    let mut command = Command::new(RIALTO);
    command.args(args).stdin(Stdio::null());
    command
}

fn fanout(args: &[&str]) -> Output {
    let short = ["--seconds", "0.2", "--warm-up-seconds", "0.1", "--subscribers", "20"];
    rialto(&[&["bench", "fanout"], args, &short].concat()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_broker_is_measured_and_found_faultless() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("rialto.toml");
    std::fs::write(&config, "[server]\nlisten = \"127.0.0.1:0\"\nshards = 1\n").unwrap();
    let broker = Served::start(&["--config", config.to_str().unwrap()]);
    let json = folder.path().join("figures.json");
    let pid = broker.pid();
    let svg = folder.path().join("figures.svg");
    let files = ["--json", json.to_str().unwrap(), "--svg", svg.to_str().unwrap()];
    let common = [&[broker.url.as_str(), "--pid", &pid, "--rounds", "2"][..], &files].concat();
    for more in [
        &["--codec", "json"][..],
        &["--codec", "msgpack", "--stalled", "1"],
        &["--codec", "both", "--rate", "200", "--topics", "30", "--topics-per-connection", "10"],
    ] {
        let Output { status, stdout, stderr } = fanout(&[&common, more].concat());
        let shown = text(&stdout);
        assert!(status.success(), "{shown}{}", text(&stderr));
        assert!(shown.contains("\nmedian ") && shown.contains("\nEvery delivery was checked: none lost"), "{shown}");
        assert_eq!(text(&stderr), "", "no progress where nobody watches");
        let figures: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        let second = &figures["measurements"][1];
        assert!(second["delivered"].as_u64() > Some(0) && second["cpu_seconds"].as_f64() > Some(0.0), "{figures}");
        let drawn = std::fs::read_to_string(&svg).unwrap();
        assert!(drawn.starts_with("<svg ") && drawn.contains(">round 2<") && drawn.contains("none lost"), "{drawn}");
    }
}

#[test]
fn the_floor_is_measured_as_it_says() {
    let floor = Served::start(&["bench", "floor", "--listen", "127.0.0.1:0"]);
    let Output { status, stdout, .. } = fanout(&[&floor.url, "--speaks", "plain", "--payload-bytes", "213"]);
    let shown = text(&stdout);
    assert!(status.success() && shown.contains("213-byte payloads") && shown.contains("with --pid"), "{shown}");
}

#[test]
fn says_what_cannot_be_measured() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("ws://{nobody}");
    for (args, expected) in [
        (&[nobody.as_str()][..], "= help: start the server, or name the address where it listens"),
        (&["wss://localhost"], "the load speaks no TLS"),
        (&[&nobody, "--delivery", "latest"], "a string has quotes"),
        (&[&nobody, "--json", "/nowhere/figures.json"], "cannot write /nowhere/figures.json"),
        (&[&nobody, "--pid", "4294967295"], "process 4294967295 cannot be read"),
    ] {
        let Output { status, stdout, stderr } = fanout(args);
        assert!(!status.success() && stdout.is_empty(), "{args:?}");
        assert!(text(&stderr).contains(expected), "{}", text(&stderr));
    }
}
