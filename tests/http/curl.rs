//! A program with curl alone: publish, read the history, follow a topic, disconnect and resume.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::http::{KEY, start};

/// A running curl, which is killed on drop.
struct Curl {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Curl {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--fail-with-body", "--no-buffer", "--max-time", "10"])
            .args(arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("this test needs curl: apt-get install curl");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn all(mut self) -> String {
        self.lines.by_ref().map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    /// The lines of the next event of this name.
    fn event(&mut self, name: &str) -> Vec<String> {
        let named = format!("event: {name}");
        let mut block = Vec::new();
        for line in self.lines.by_ref().map(Result::unwrap) {
            if !line.is_empty() {
                block.push(line);
            } else if block.first() == Some(&named) {
                return block;
            } else {
                block.clear();
            }
        }
        panic!("no event {name}");
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn field<'l>(block: &'l [String], name: &str) -> &'l str {
    let prefix = format!("{name}: ");
    block.iter().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("no {name} in {block:?}"))
}

fn data(block: &[String]) -> Value {
    serde_json::from_str::<Value>(field(block, "data")).unwrap()["data"].clone()
}

#[test]
fn curl_publishes_reads_history_and_resumes_a_stream() {
    let (running, _) = start();
    let url = |path: &str| format!("http://{}{path}", running.address);
    let authorization = format!("Authorization: Bearer {KEY}");
    let post = |operation: &str, body: &str| {
        let (url, kind) = (url(&format!("/api/v1/{operation}")), "Content-Type: application/json");
        let response = Curl::start(&["--header", &authorization, "--header", kind, "--data", body, &url]).all();
        serde_json::from_str::<Value>(&response).unwrap()
    };
    let first = post("publish", r#"{"topic": "news", "data": "one", "key": "k1"}"#);
    assert_eq!(first["position"]["offset"], 1);
    assert_eq!(post("publish", r#"{"topic": "news", "data": "one", "key": "k1"}"#)["duplicate"], true);
    let past = post("history", r#"{"topic": "news"}"#);
    assert_eq!((&past["messages"][0]["data"], past["messages"].as_array().unwrap().len()), (&json!("one"), 1));

    let mut stream = Curl::start(&[&url("/sse?topic=news&topic=weather.*&last=10")]);
    assert_eq!(data(&stream.event("message")), "one");
    post("publish", r#"{"topic": "news", "data": "two"}"#);
    let two = stream.event("message");
    assert_eq!(data(&two), "two");
    post("publish", r#"{"topic": "weather.oslo", "data": "rain"}"#);
    assert_eq!(data(&stream.event("message")), "rain");
    drop(stream);

    for text in ["three", "four"] {
        post("publish", &json!({ "topic": "news", "data": text }).to_string());
    }
    let id = format!("Last-Event-ID: {}", field(&two, "id"));
    let mut stream = Curl::start(&["--header", &id, &url("/sse?topic=news&topic=weather.*&last=10")]);
    assert_eq!(data(&stream.event("message")), "three");
    assert_eq!(data(&stream.event("message")), "four");
    post("publish", r#"{"topic": "news", "data": "five"}"#);
    assert_eq!(data(&stream.event("message")), "five");

    let poll: Value = serde_json::from_str(&Curl::start(&[&url("/poll?topic=news&last=2")]).all()).unwrap();
    assert_eq!(poll["messages"][1]["data"], "five");
}
