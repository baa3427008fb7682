//! From an empty folder to logic in a running broker, in each language, by the commands that an author types.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::support::RIALTO;

fn rialto(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(RIALTO);
    if arguments.starts_with(&["plugin", "build"]) {
        // Where rustup has no wasm target, `tests/run` says what else can compile for it.
        let told = std::env::var("RIALTO_TEST_WASM").unwrap_or_default();
        command.envs(told.lines().filter_map(|line| line.split_once('=')));
    }
    command.current_dir(folder).args(arguments).output().unwrap()
}

/// What a command prints that must succeed.
fn does(folder: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = rialto(folder, arguments);
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{arguments:?}: {stdout}\n{stderr}");
    stdout.into_owned()
}

/// What a command says that must fail.
fn fails(folder: &Path, arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = rialto(folder, arguments);
    assert!(!status.success(), "{arguments:?} did not fail");
    String::from_utf8_lossy(&stderr).into_owned()
}

/// A broker that serves on a free port until this is dropped.
struct Serving {
    child: Child,
    url: String,
    control: PathBuf,
}

impl Serving {
    /// Serves a configuration, which is read again at each reload.
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(RIALTO);
        command.current_dir(folder).args(["--config", "served.toml"]).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.by_ref().map(Result::unwrap).find_map(|line| {
            let (_, rest) = line.split_once("ws://")?;
            Some(rest.split('/').next()?.to_owned())
        });
        let url = format!("ws://{}/ws", address.expect("it says where it serves"));
        // What it says later must have somewhere to go.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url, control: folder.join("control.sock") }
    }

    fn ask(&self, folder: &Path, arguments: &[&str]) -> String {
        does(folder, &[arguments, &["--url", &self.url]].concat())
    }

    fn plugin(&self, folder: &Path, arguments: &[&str]) -> String {
        let control = self.control.to_str().unwrap();
        does(folder, &[&["plugin"], arguments, &["--control", control]].concat())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The project's own configuration, on a free port and with folders of the test's own.
fn configured(project: &Path, topics_and_plugins: bool) -> String {
    let own = std::fs::read_to_string(project.join("rialto.toml")).unwrap();
    // The time to compile holds from the start: the compiler of a broker that serves has the lowest priority.
    let before = "[sandbox]\ncompile_ms = 600_000\n[[topic]]\npattern = \">\"\n";
    let own = if topics_and_plugins { own } else { before.to_owned() };
    assert!(own.contains("[sandbox]\n"));
    let server = "[server]\nlisten = [\"127.0.0.1:0\"]\ncontrol = \"control.sock\"\n";
    format!("{server}{}", own.replace("[sandbox]\n", "[sandbox]\ncache = \"cache\"\n"))
}

/// Compilers want the whole machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Makes, builds, tests and loads a plugin, and tries it through a running broker.
fn from_nothing(language: &str, source: &str, change: (&str, &str)) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder: TempDir = tempfile::tempdir().unwrap();
    let said = does(folder.path(), &["plugin", "new", "hello", "--lang", language]);
    assert!(said.contains("rialto plugin build"), "{said}");
    let project = folder.path().join("hello");
    // A broker that knows nothing of it yet.
    std::fs::write(project.join("served.toml"), configured(&project, false)).unwrap();
    let broker = Serving::start(&project);
    let said = does(&project, &["plugin", "build"]);
    assert!(said.starts_with("hello 0.1.0: "), "{said}");
    std::fs::write(project.join("served.toml"), configured(&project, true)).unwrap();
    let said = broker.plugin(&project, &["reload", "hello"]);
    assert!(said.contains("hello: running") && said.contains("call count"), "{said}");
    assert!(broker.ask(&project, &["pub", "hello.room", "\"hi\""]).contains("\"offset\":1"));
    assert_eq!(broker.ask(&project, &["call", "hello.room", "count"]).trim(), "1");
    let refused = fails(&project, &["pub", "hello.room", "7", "--url", &broker.url]);
    assert!(refused.contains("rejected"), "{refused}");

    // A new version, which finds the state of the old one.
    let path = project.join(source);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(change.0));
    std::fs::write(&path, text.replace(change.0, change.1)).unwrap();
    does(&project, &["plugin", "build"]);
    let said = broker.plugin(&project, &["reload", "hello"]);
    assert!(said.contains("call number"), "{said}");
    assert_eq!(broker.ask(&project, &["call", "hello.room", "number"]).trim(), "1");
    std::fs::write(&path, text).unwrap();
    does(&project, &["plugin", "test"]);
}

#[test]
fn rust_from_nothing_to_a_running_plugin() {
    from_nothing("rust", "src/lib.rs", ("count\"", "number\""));
}

#[test]
fn javascript_from_nothing_to_a_running_plugin() {
    from_nothing("js", "src/plugin.js", ("count'", "number'"));
}

#[test]
fn python_from_nothing_to_a_running_plugin() {
    from_nothing("python", "src/plugin.py", ("count\"", "number\""));
}

#[test]
fn a_plugin_in_rust_that_asks_for_roles_is_for_1_1() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    does(folder.path(), &["plugin", "new", "hello"]);
    let project = folder.path().join("hello");
    let source = "use rialto_plugin::prelude::*;\n\
        #[derive(Default)]\n\
        pub struct Hello;\n\
        impl Plugin for Hello {\n\
            fn on_call(&mut self, _: &mut Context, call: Call) -> Result<Reply> {\n\
                let is_admin = call.session.as_ref().is_some_and(|session| session.has_role(\"admin\"));\n\
                Ok(call.reply(&is_admin)?)\n\
            }\n\
        }\n\
        rialto_plugin::export!(Hello);\n";
    std::fs::write(project.join("src/lib.rs"), source).unwrap();
    let text = fails(&project, &["plugin", "build"]);
    assert!(text.contains("has_role"), "a session of 1.0 has no roles: {text}");
    let manifest = std::fs::read_to_string(project.join("Cargo.toml")).unwrap();
    let (plain, chosen) = ("vendor/rialto-plugin\" }", "vendor/rialto-plugin\", features = [\"v1_1\"] }");
    assert!(manifest.contains(plain));
    std::fs::write(project.join("Cargo.toml"), manifest.replace(plain, chosen)).unwrap();
    does(&project, &["plugin", "build"]);
    let said = does(&project, &["plugin", "inspect", "target/plugins/hello.wasm"]);
    assert!(said.contains("rialto:plugin/hooks@1.1.0"), "{said}");
}

#[test]
fn errors_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let text = fails(folder.path(), &["plugin", "new", "Hello World"]);
    assert!(text.contains("cannot be the name of a plugin"), "{text}");
    let text = fails(folder.path(), &["plugin", "build"]);
    assert!(text.contains("`rialto plugin new NAME` makes one"), "{text}");
    does(folder.path(), &["plugin", "new", "hello"]);
    let text = fails(folder.path(), &["plugin", "new", "hello"]);
    assert!(text.contains("already exists"), "{text}");
    let project = folder.path().join("hello");
    std::fs::write(project.join("src/lib.rs"), "fn broken( {").unwrap();
    let text = fails(&project, &["plugin", "build"]);
    assert!(text.contains("src/lib.rs:1") && text.contains("cargo failed"), "{text}");
    does(folder.path(), &["plugin", "new", "other", "--lang", "js"]);
    let project = folder.path().join("other");
    let package = std::fs::read_to_string(project.join("package.json")).unwrap();
    std::fs::write(project.join("package.json"), package.replace("\"state\"", "\"disk\"")).unwrap();
    let text = fails(&project, &["plugin", "build"]);
    assert!(text.contains("`disk` is no capability"), "{text}");
    let control = folder.path().join("nobody.sock");
    let text = fails(folder.path(), &["plugin", "status", "--control", control.to_str().unwrap()]);
    assert!(text.contains("nobody.sock"), "{text}");
}
