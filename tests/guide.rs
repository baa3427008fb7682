//! Every command of the plugin guide, a chapter of the book, typed in its order into an empty folder.

use std::process::Command;

use crate::support::{RIALTO, root};

/// The command that goes on until it is ended: the guide gives it a terminal of its own.
const SERVE: &str = "rialto --config rialto.toml";

/// What is typed for it here: on a free port, in the background.
const IN_BACKGROUND: &str = r#"
sed -i '1i [server]\nlisten = ["127.0.0.1:0"]\n' rialto.toml
rialto --config rialto.toml >served.log 2>&1 &
trap 'kill '$! EXIT
until grep -q 'ws://' served.log; do sleep 0.05; kill -0 $!; done
export RIALTO_URL=$(grep -o 'ws://[^ ]*/ws' served.log | head -1)
"#;

/// The commands of all blocks of a terminal.
fn commands(guide: &str) -> Vec<&str> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in guide.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if inside => commands.extend(line.strip_prefix("$ ")),
            _ => {}
        }
    }
    commands
}

#[test]
fn every_command_of_the_guide_works() {
    let guide = std::fs::read_to_string(root().join("broker/book/src/plugins/writing.md")).unwrap();
    let commands = commands(&guide);
    assert!(commands.len() > 10 && commands.contains(&SERVE), "{commands:?}");
    let mut script = String::from("set -euo pipefail\n");
    // Where rustup has no wasm target, `tests/run` says what else can compile for it.
    let told = std::env::var("RIALTO_TEST_WASM").unwrap_or_default();
    let compiler: String = told.lines().map(|line| format!("'{line}' ")).collect();
    for command in &commands {
        let line = match *command {
            SERVE => IN_BACKGROUND.to_owned(),
            "rialto plugin build" => format!("env {compiler}{command}"),
            other => other.to_owned(),
        };
        script.push_str(&line);
        script.push('\n');
    }
    let folder = tempfile::tempdir().unwrap();
    let bin = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(RIALTO, bin.path().join("rialto")).unwrap();
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    // Sockets and caches of its own, so that it meets no other broker.
    bash.env("PATH", path).env("XDG_RUNTIME_DIR", folder.path()).env("XDG_CACHE_HOME", folder.path().join("cache"));
    let output = bash.args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n{said}\n{complained}");
    for expected in
        ["hello is a plugin in Rust", "needs    state", "\"offset\":1", "hello: running", "call count: how many texts"]
    {
        assert!(said.contains(expected), "{expected:?} is not in\n{said}\n{complained}");
    }
}
