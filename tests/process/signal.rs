//! Signals before everything is loaded.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::support::process::{Process, SERVER, command, folder};
use crate::support::{DEADLINE, root, within};

/// A configuration with a plugin that takes its time to be compiled.
fn with_plugin() -> String {
    format!("{SERVER}[[topic]]\npattern = \">\"\nplugin = \"chat\"\n[plugin.chat]\npath = \"plugin.wasm\"\n")
}

fn chat() -> Vec<u8> {
    std::fs::read(root().join("plugins/dist/chat.wasm")).unwrap()
}

fn send(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap().success());
}

/// The processes that this one has started.
fn children(pid: u32) -> Vec<u32> {
    let listed = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|child| {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        parent == Some(&pid.to_string())
    })
    .collect()
}

fn wait_for_compiler(broker: &mut Child) -> u32 {
    let begun = Instant::now();
    loop {
        if let Some(compiler) = children(broker.id()).first() {
            return *compiler;
        }
        assert!(begun.elapsed() < DEADLINE && broker.try_wait().unwrap().is_none(), "it compiles nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn a_hangup_while_plugins_are_compiled_does_not_end_it() {
    let folder = folder(&with_plugin(), Some(&chat()));
    let mut child = command(folder.path()).process_group(0).spawn().unwrap();
    wait_for_compiler(&mut child);
    send("HUP", child.id());
    let process = Process::of(child, folder);
    within("a connection", tokio::net::TcpStream::connect(process.address)).await.unwrap();
}

#[test]
fn a_stop_while_plugins_are_compiled_is_not_waited_for_and_leaves_no_compiler() {
    let folder = folder(&with_plugin(), Some(&chat()));
    let mut child = command(folder.path()).process_group(0).spawn().unwrap();
    let compiler = wait_for_compiler(&mut child);
    let begun = Instant::now();
    send("TERM", child.id());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < DEADLINE, "it waits for the compiler");
        std::thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(status.code(), Some(0));
    let is_there = || {
        let stat = std::fs::read_to_string(format!("/proc/{compiler}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while is_there() {
        assert!(begun.elapsed() < DEADLINE, "the compiler goes on");
        std::thread::sleep(Duration::from_millis(1));
    }
}
