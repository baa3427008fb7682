//! The commands that speak to a broker, as a person and a shell meet them: what they print, how they work in pipes, what they
//! say when something is wrong.

mod permissions;
mod planted;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::support::{DEADLINE, RIALTO, Running};
use rialto::config::{History, TopicRule};
use serde_json::{Value, json};

fn broker(listen: Option<SocketAddr>) -> Running {
    Running::with(|config| {
        let history = Some(History { messages: 1_000, ..History::default() });
        config.topics = vec![TopicRule { history, presence: true, ..TopicRule::default() }];
        if let Some(listen) = listen {
            config.server.listen = vec![listen];
        }
    })
}

fn program(address: SocketAddr) -> Command {
    let mut command = Command::new(RIALTO);
    command.env("RIALTO_URL", format!("ws://{address}/ws")).env_remove("RIALTO_TOKEN");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
fn run(running: &Running, arguments: &[&str]) -> Output {
    program(running.address).args(arguments).output().unwrap()
}

/// Runs a command that must succeed and say nothing but JSON lines.
fn lines(running: &Running, arguments: &[&str]) -> Vec<Value> {
    let output = run(running, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
    parse(&output.stdout)
}

fn parse(text: &[u8]) -> Vec<Value> {
    std::str::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs a command that must fail; gives its exit code and what it says.
fn fails(running: &Running, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(running, arguments);
    assert!(output.stdout.is_empty(), "{arguments:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Runs a line of shell, in which `$rialto` is the program.
fn shell(running: &Running, line: &str) -> Output {
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", line]).env("rialto", RIALTO);
    command.env("RIALTO_URL", format!("ws://{}/ws", running.address)).stdin(Stdio::null());
    command.output().unwrap()
}

/// A command that goes on, killed when this is dropped.
struct Following {
    child: Child,
    lines: Receiver<Value>,
}

impl Following {
    fn start(address: SocketAddr, arguments: &[&str]) -> Self {
        let mut child = program(address).args(arguments).spawn().unwrap();
        let lines = read(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&self) -> Value {
        self.lines.recv_timeout(DEADLINE).expect("a line")
    }
}

fn read(output: ChildStdout) -> Receiver<Value> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        lines.map(|line| serde_json::from_str(&line).unwrap()).try_for_each(|line| sender.send(line))
    });
    lines
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a command has subscribed.
fn subscribed(running: &Running, count: u64) {
    let started = std::time::Instant::now();
    while running.broker.metrics().subscriptions < count {
        assert!(started.elapsed() < DEADLINE, "nobody subscribes");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_published_is_history_and_can_be_followed() {
    let running = broker(None);
    for (codec, topic) in [("json", "a"), ("msgpack", "b")] {
        let published = lines(&running, &["pub", topic, r#"{"x": [1, null]}"#, "--codec", codec]);
        assert_eq!((published.len(), &published[0]["topic"], &published[0]["offset"]), (1, &json!(topic), &json!(1)));
        let epoch = published[0]["epoch"].as_str().unwrap();
        let history = lines(&running, &["history", topic, "--codec", codec]);
        assert_eq!((&history[0]["data"], &history[0]["epoch"]), (&json!({"x": [1, null]}), &json!(epoch)));
        lines(&running, &["pub", topic, "[2]", "--quiet", "--codec", codec]).is_empty().then_some(()).unwrap();
        let since = format!("{epoch}:1");
        for arguments in [["sub", topic, "--last", "1"], ["sub", topic, "--since", &since]] {
            let got = lines(&running, &[&arguments[..], &["--count", "1", "--codec", codec]].concat());
            assert_eq!(
                (&got[0]["type"], &got[0]["offset"], &got[0]["data"]),
                (&json!("message"), &json!(2), &json!([2]))
            );
        }
        let before = lines(&running, &["history", topic, "--before", &format!("{epoch}:2")]);
        assert_eq!((before.len(), &before[0]["offset"]), (1, &json!(1)));
        assert_eq!(lines(&running, &["history", topic, "--limit", "1"])[0]["offset"], 2);
    }
}

#[test]
fn pipes_work_as_in_a_shell() {
    let running = broker(None);
    let output = shell(&running, "seq 300 | $rialto pub a");
    assert!(output.status.success(), "{output:?}");
    let offsets: Vec<Value> = parse(&output.stdout).into_iter().map(|line| line["offset"].clone()).collect();
    assert_eq!(offsets, (1..=300).map(Value::from).collect::<Vec<_>>(), "in order");

    // The reader goes after a line, and nothing more is published.
    let output = shell(&running, "$rialto sub a --last 3 | head -1");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(parse(&output.stdout)[0]["data"], 298);
    assert!(output.stderr.is_empty(), "{output:?}");

    let output = shell(&running, "$rialto sub a --last 300 --count 300 --data | $rialto pub b --quiet");
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let copied = lines(&running, &["sub", "b", "--last", "300", "--count", "300"]);
    assert_eq!(
        copied.iter().map(|line| line["data"].as_u64().unwrap()).collect::<Vec<_>>(),
        (1..=300).collect::<Vec<_>>()
    );

    // Whoever does not read the positions still gets everything published.
    let output = shell(&running, "seq 2000 | $rialto pub c | head -1");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lines(&running, &["history", "c", "--limit", "1"])[0]["offset"], 2_000);
}

#[test]
fn lines_of_text_are_published_as_they_are() {
    let running = broker(None);
    let mut child = program(running.address).args(["pub", "a", "--text"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all("plain \"words\"\n\nlast".as_bytes()).unwrap();
    assert_eq!(parse(&child.wait_with_output().unwrap().stdout).len(), 3);
    let history = lines(&running, &["history", "a"]);
    let data: Vec<&Value> = history.iter().map(|line| &line["data"]).collect();
    assert_eq!(data, [&json!("plain \"words\""), &json!(""), &json!("last")]);
}

#[test]
fn a_message_that_runs_over_several_lines_is_one_line() {
    let running = broker(None);
    lines(&running, &["pub", "a", "{\n  \"x\":\r\n 1\n}"]);
    let got = lines(&running, &["sub", "a", "--last", "1", "--count", "1", "--data"]);
    assert_eq!(got, [json!({"x": 1})]);
}

#[test]
fn a_key_is_published_once() {
    let running = broker(None);
    let publish = ["pub", "a", "1", "--key", "k", "--instance", "a-secret-of-this-shell-script"];
    let [first, second] = [lines(&running, &publish), lines(&running, &publish)];
    assert_eq!((&first[0]["offset"], &first[0]["duplicate"]), (&json!(1), &Value::Null));
    assert_eq!((&second[0]["offset"], &second[0]["duplicate"]), (&json!(1), &json!(true)));
    // Without it every command is a client of its own.
    let other = lines(&running, &publish[..5]);
    assert_eq!((&other[0]["offset"], &other[0]["duplicate"]), (&json!(2), &Value::Null));
    let (code, said) = fails(&running, &["pub", "a", "1", "--instance", "short"]);
    assert!(code == Some(1) && said.contains("22 to 64"), "{said}");
}

#[test]
fn following_goes_on_over_a_restart() {
    let running = broker(None);
    let address = running.address;
    let following = Following::start(address, &["sub", "a", "p.*"]);
    subscribed(&running, 2);
    lines(&running, &["pub", "a", "1"]);
    let first = following.line();
    assert_eq!((&first["data"], &first["type"]), (&json!(1), &json!("message")));
    drop(running);
    let running = broker(Some(address));
    lines(&running, &["pub", "a", "2"]);
    let mut seen = [following.line(), following.line(), following.line()];
    seen.sort_by_key(|line| line["topic"].as_str().unwrap().len());
    let [resumed, message, pattern] = &seen;
    assert_eq!((&resumed["type"], &resumed["recovered"]), (&json!("resumed"), &json!(false)));
    assert_eq!((&message["data"], &message["offset"]), (&json!(2), &json!(1)));
    assert_ne!(message["epoch"], first["epoch"], "the epoch is the new one");
    assert_eq!((&pattern["type"], &pattern["topic"]), (&json!("resumed"), &json!("p.*")));
    lines(&running, &["pub", "p.x", "3"]);
    assert_eq!(following.line()["data"], 3);
}

#[test]
fn presence_is_shown_and_followed() {
    let running = broker(None);
    let following = Following::start(running.address, &["sub", "room", "--presence"]);
    let first = following.line();
    assert_eq!((&first["type"], &first["count"]), (&json!("presence"), &json!(1)));
    let present = lines(&running, &["presence", "room"]);
    assert_eq!(present, [json!({"topic": "room", "count": 1, "members": first["members"]})]);
    let other = Following::start(running.address, &["sub", "room"]);
    let join = following.line();
    assert_eq!((&join["type"], &join["member"]["user"]), (&json!("join"), &Value::Null));
    drop(other);
}

#[test]
fn errors_are_written_to_standard_error() {
    let running = broker(None);
    for (arguments, code, said) in [
        (&["sub"][..], 2, "<TOPIC>"),
        (&["sub", "a", "--since", "nonsense"], 2, "EPOCH:OFFSET"),
        (&["sub", "a", "b", "--since", "e:1"], 2, "several"),
        (&["sub", "a.*", "--last", "1"], 2, "for topics only"),
        (&["sub", "a", "--delivery", "sample"], 2, "sample:250"),
        (&["sub", "a", "--count", "0"], 2, "--count"),
        (&["pub", "a", "1", "--codec", "xml"], 2, "json and msgpack"),
        (&["pub", "a", "--key", "k"], 2, "DATA"),
        (&["sub", "a..b"], 1, "empty token"),
        (&["pub", "a", "hello"], 1, "--text"),
        (&["pub", "$a", "1"], 1, "forbidden"),
        (&["call", "a", "m"], 1, "no plugin"),
        (&["call", "nobody", "m", "--plugin"], 1, "not_found"),
        (&["history", "a", "--since", "e:1"], 1, "expired"),
        (&["pub", "a", "1", "--token", "t"], 1, "token"),
        (&["pub", "a", "1", "--url", "http://x"], 1, "ws://"),
        (&["pub", "a", "1", "--url", "ws://127.0.0.1:1"], 1, "is a broker running there?"),
    ] {
        let (exit, error) = fails(&running, arguments);
        assert_eq!(exit, Some(code), "{arguments:?}: {error}");
        assert!(error.starts_with("error: ") && error.contains(said), "{arguments:?}: {error}");
        assert_eq!(error.matches("error:").count(), 1, "{error}");
    }
}

#[test]
fn every_line_of_a_pipe_is_accounted_for_with_its_number() {
    let running = broker(None);
    let output = shell(&running, r"printf '1\n\n2\nno\n4\n\xff\xfe\n{\n\x22end\x22' | $rialto pub lines");
    let told = parse(&output.stdout);
    let numbers: Vec<_> = told.iter().map(|line| (line["line"].as_u64(), line["offset"].as_u64())).collect();
    assert_eq!(numbers, [(Some(1), Some(1)), (Some(3), Some(2)), (Some(5), Some(3)), (Some(8), Some(4))]);
    let said = String::from_utf8(output.stderr).unwrap();
    for part in ["error: line 4: not valid JSON", "error: line 6: not UTF-8", "error: line 7: the value is cut off"] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    assert!(said.ends_with("error: 3 of 8 lines were not published\n"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(running.broker.history("lines", None, None).unwrap().messages.len(), 4);
}

#[test]
fn refusals_in_the_middle_of_a_pipe_lose_no_answer() {
    let running = broker(None);
    // Every third line is larger than the broker takes.
    let line = r#"for i in $(seq 30); do if [ $((i % 3)) = 0 ]; then head -c 70000 /dev/zero | tr '\0' 7; echo; else echo $i; fi; done"#;
    let output = shell(&running, &format!("({line}) | $rialto pub big"));
    let told = parse(&output.stdout);
    assert_eq!(told.len(), 20, "{}", String::from_utf8_lossy(&output.stderr));
    let kept = running.broker.history("big", None, None).unwrap().messages.len();
    assert_eq!(kept, 20, "what was published is what was told");
    assert!(String::from_utf8(output.stderr).unwrap().ends_with("10 of 30 lines were not published\n"));
}

#[test]
fn text_takes_any_bytes() {
    let running = broker(None);
    let output = shell(&running, r"printf 'plain\r\n\xff\xfe\n' | $rialto pub raw --text");
    assert!(output.status.success(), "{output:?}");
    let messages = running.broker.history("raw", None, None).unwrap().messages;
    let contents: Vec<_> = messages.iter().map(|message| message.payload.content().to_vec()).collect();
    assert_eq!(contents, [b"\"plain\"".to_vec(), vec![0xff, 0xfe]]);
}
