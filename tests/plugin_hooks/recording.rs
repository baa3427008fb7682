//! A run that went wrong, repeated: the same trap, and the first difference of a plugin that was changed.

use std::path::Path;

use rialto::Codec;
use rialto_plugin::recording::{Outcome, Recording, Replayed};
use rialto_plugin::{Session, prelude::*};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::plugin_hooks::puppet::{Puppet, running, steps, subscribed};
use crate::support::{Client, Running};

fn recorded(folder: &TempDir, record: usize) -> Running {
    let recordings = folder.path().join("recordings");
    running(|settings, plugin| {
        settings.sandbox.recordings = recordings;
        plugin.record = record;
    })
}

/// The recordings, oldest first.
fn recordings(folder: &Path) -> Vec<Recording> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder.join("recordings")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| Recording::read(file).unwrap()).collect()
}

async fn fail(client: &mut Client, ending: Value) {
    let all = json!([
        {"put": ["key", {"binary": "\u{0}ü"}]},
        {"get": "key"},
        {"timer": ["t", 3_600_000]},
        {"due": "t"},
        {"count": "p.a"},
        {"publish": ["p.a", 1]},
        {"remove": ["p.a", 1]},
        ending,
    ]);
    client.refused(steps(all), "plugin_failed").await;
}

#[tokio::test]
async fn a_run_that_ends_in_a_trap_ends_in_the_same_trap_again() {
    let folder = tempfile::tempdir().unwrap();
    let running = recorded(&folder, 100);
    let mut client = subscribed(&running, Codec::MessagePack, "p.a").await;
    client.ok(steps(json!([{"put": ["key", 1]}, {"get": "key"}]))).await;
    fail(&mut client, json!({"panic": "the till is empty"})).await;
    fail(&mut client, json!({"flood": 2_000})).await;
    let [trap, limit] = recordings(folder.path()).try_into().unwrap();
    assert!(trap.header.complete && limit.header.complete);
    let hooks: Vec<&str> = trap.steps.iter().map(|step| step.event.hook()).collect();
    assert_eq!(hooks, ["start", "on-subscribe", "on-call", "on-call"]);
    let replayed = trap.replay::<Puppet>();
    let Replayed::Same { events: 4, ending: Outcome::Trap(text) } = &replayed else { panic!("{replayed}") };
    assert!(text.contains("puppet.rs:") && text.ends_with(": the till is empty"), "{text}");
    let replayed = limit.replay::<Puppet>();
    let Replayed::Same { events: 2, ending: Outcome::Limit(text) } = &replayed else { panic!("{replayed}") };
    assert!(text.contains("host_calls"), "{text}");
    #[cfg(unix)]
    for file in std::fs::read_dir(folder.path().join("recordings")).unwrap() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it holds what clients sent");
    }
}

/// A puppet that was changed: it answers calls in its own way.
#[derive(Default)]
struct Changed(Puppet);

impl Plugin for Changed {
    fn start(&mut self, ctx: &mut Context, config: Config) -> Result<()> {
        self.0.start(ctx, config)
    }

    fn serves(&self) -> Vec<String> {
        self.0.serves()
    }

    fn on_subscribe(&mut self, ctx: &mut Context, session: &Session, topic: &str) -> Result<()> {
        self.0.on_subscribe(ctx, session, topic)
    }

    fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
        ctx.publish("p.log", &"called")?;
        self.0.on_call(ctx, call)
    }
}

#[tokio::test]
async fn a_plugin_that_was_changed_shows_its_first_difference() {
    let folder = tempfile::tempdir().unwrap();
    let running = recorded(&folder, 100);
    let mut client = subscribed(&running, Codec::Json, "p.a").await;
    fail(&mut client, json!({"panic": "on purpose"})).await;
    let [recording] = recordings(folder.path()).try_into().unwrap();
    let replayed = recording.replay::<Changed>();
    let Replayed::Different(difference) = &replayed else { panic!("{replayed}") };
    assert_eq!((difference.number, difference.event.as_str()), (2, "on-call (steps)"));
    assert!(difference.recorded.contains(r#""call":"put""#), "{difference}");
    assert!(difference.replayed.contains("p.log"), "{difference}");
}

#[tokio::test]
async fn only_the_last_events_are_kept_and_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let running = recorded(&folder, 3);
    let mut client = running.client(Codec::Json).await;
    for number in 0..10 {
        client.ok(steps(json!([{"put": ["key", number]}]))).await;
    }
    fail(&mut client, json!({"panic": "on purpose"})).await;
    let [recording] = recordings(folder.path()).try_into().unwrap();
    let numbers: Vec<u64> = recording.steps.iter().map(|step| step.number).collect();
    assert_eq!((numbers, recording.header.complete), (vec![0, 9, 10, 11], false));
    assert!(matches!(recording.replay::<Puppet>(), Replayed::Same { events: 4, .. }));
    assert_eq!(Recording::parse(&recording.to_text()).unwrap(), recording);
}

#[test]
fn what_is_no_recording_is_refused_with_the_line() {
    let header =
        r#"{"rialto_recording":1,"plugin":"p","package":"","version":"","hash":"","component":"","complete":true}"#;
    for (text, expected) in [
        (String::new(), "line 1 is not part of a recording"),
        (header.replace(":1,", ":2,"), "this is format 2 of a recording, not 1"),
        (header.to_owned(), "the recording does not begin with `start`"),
        (format!("{header}\n{{\"number\":0"), "line 2 is not part of a recording: EOF"),
    ] {
        let error = Recording::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(Recording::read("no/such/file").unwrap_err().to_string().starts_with("cannot read no/such/file"));
}
