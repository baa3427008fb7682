//! Recordings of components, repeated by `rialto plugin replay`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rialto::Codec;

use crate::plugins::hosted::{Hosted, call, publish};
use crate::support::RIALTO;
use crate::support::component::{component, hostile, source, world};

/// What a broker records while the plugin is made to fail in these ways.
async fn recorded(folder: &Path, letters: &[char]) -> Vec<PathBuf> {
    let recordings = folder.join("recordings");
    let hosted = Hosted::with(|config, plugin| {
        config.sandbox.recordings = recordings.clone();
        plugin.record = 100;
    });
    let mut client = hosted.client(Codec::Json).await;
    client.ok(call('e')).await;
    for letter in letters {
        client.ok(call('1')).await;
        client.refused(publish(*letter), "plugin_failed").await;
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(&recordings).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), letters.len());
    files
}

pub(super) fn replay(file: &Path, component: &Path) -> (bool, String) {
    let mut command = Command::new(RIALTO);
    command.args(["plugin", "replay"]).arg(file).arg("--component").arg(component);
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.success(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

#[tokio::test]
async fn a_run_of_a_component_ends_again_as_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = folder.path().join("plugin.wasm");
    std::fs::write(&wasm, hostile()).unwrap();
    let endings = [
        ('t', "same trap:\n  error while executing at wasm backtrace"),
        ('x', "same trap:\n  error while executing at wasm backtrace"),
        ('f', "end at the same limit: host_calls"),
        ('r', "end at the same limit: stack"),
        ('m', "end at the same limit: memory_bytes"),
        ('l', "end at the deadline"),
        ('y', "end at the deadline"),
    ];
    let files = recorded(folder.path(), &endings.map(|(letter, _)| letter)).await;
    for (file, (letter, ending)) in files.iter().zip(endings) {
        let (same, text) = replay(file, &wasm);
        assert!(same && text.contains("no difference") && text.contains(ending), "{letter}: {text}");
    }
}

#[tokio::test]
async fn a_changed_component_shows_its_first_difference() {
    let folder = tempfile::tempdir().unwrap();
    let files = recorded(folder.path(), &['x']).await;
    let wasm = folder.path().join("changed.wasm");
    // Its message is another one.
    let changed = source("hostile").replace(r#""\"effect\"""#, r#""\"EFFECT\"""#);
    std::fs::write(&wasm, component(&changed, &world())).unwrap();
    let (same, text) = replay(&files[0], &wasm);
    assert!(!same, "{text}");
    for part in ["another component than was recorded", "first difference at event 1, on-call (e)", "effect", "EFFECT"]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    // It traps no longer.
    let changed = source("hostile").replace("(then (call $effects) unreachable))", "(then (call $effects)))");
    std::fs::write(&wasm, component(&changed, &world())).unwrap();
    let (same, text) = replay(&files[0], &wasm);
    assert!(!same && text.contains("on-publish (hostile.a)") && text.contains("replayed: \"accepted\""), "{text}");
}

#[test]
fn what_cannot_be_replayed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (file, wasm) = (folder.path().join("a.jsonl"), folder.path().join("plugin.wasm"));
    std::fs::write(&wasm, hostile()).unwrap();
    std::fs::write(&file, "{}").unwrap();
    let (same, text) = replay(&file, &wasm);
    assert!(!same && text.contains("line 1 is not part of a recording"), "{text}");
    let (same, text) = replay(&folder.path().join("none"), &wasm);
    assert!(!same && text.contains("cannot read"), "{text}");
}
