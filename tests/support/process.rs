//! The binary as a process of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use tempfile::TempDir;

use crate::support::token::shows_secret;
use crate::support::{DEADLINE, RIALTO};

/// How a configuration begins that serves on a free port.
pub(crate) const SERVER: &str = "[server]\nlisten = \"127.0.0.1:0\"\nhosts = \"x\"\nshards = 2\n";

/// A running process, killed when this is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    lines: Receiver<String>,
    log: Option<JoinHandle<String>>,
    pub(crate) banner: String,
    pub(crate) address: SocketAddr,
    pub(crate) folder: TempDir,
}

/// A folder with a configuration and, if there is one, a plugin.
pub(crate) fn folder(config: &str, plugin: Option<&[u8]>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rialto.toml"), config).unwrap();
    if let Some(wasm) = plugin {
        std::fs::write(folder.path().join("plugin.wasm"), wasm).unwrap();
    }
    folder
}

pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(RIALTO);
    command.arg("--config").arg(folder.join("rialto.toml")).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // What it keeps and where it listens is nobody else's.
    command.env("XDG_CACHE_HOME", folder.join("cache")).env("XDG_RUNTIME_DIR", folder);
    command
}

/// Runs a configuration with which nothing starts.
pub(crate) fn fails(config: &str, plugin: Option<&[u8]>) -> (Option<i32>, String) {
    let folder = folder(config, plugin);
    let Output { status, stdout, stderr } = command(folder.path()).output().unwrap();
    assert_eq!(String::from_utf8(stdout).unwrap(), "", "nothing is served, so nothing is announced");
    (status.code(), String::from_utf8(stderr).unwrap())
}

impl Process {
    pub(crate) fn start(config: &str, plugin: Option<&[u8]>) -> Self {
        let folder = folder(config, plugin);
        let command = command(folder.path());
        Self::run(command, folder)
    }

    /// Starts with an allocator that gives freed memory back at once: what is resident is what the broker holds.
    pub(crate) fn start_frugal(config: &str) -> Self {
        let folder = folder(config, None);
        let mut command = command(folder.path());
        command.env("MIMALLOC_PURGE_DELAY", "0");
        Self::run(command, folder)
    }

    /// Starts where the system allows so many open files.
    pub(crate) fn start_with_files(config: &str, files: u32) -> Self {
        Self::start_within(&format!("-n {files}"), config, None)
    }

    /// Starts within a limit of `ulimit`, with a plugin if there is one.
    pub(crate) fn start_within(limit: &str, config: &str, plugin: Option<&[u8]>) -> Self {
        let folder = folder(config, plugin);
        let plain = command(folder.path());
        let mut limited = Command::new("sh");
        limited.arg("-c").arg(format!("ulimit {limit}; exec \"$0\" \"$@\"")).arg(plain.get_program());
        limited.args(plain.get_args()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        limited.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self::run(limited, folder)
    }

    fn run(mut command: Command, folder: TempDir) -> Self {
        Self::of(command.spawn().unwrap(), folder)
    }

    /// One that has been started with [`command`]; waits until it serves.
    pub(crate) fn of(mut child: Child, folder: TempDir) -> Self {
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut err = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = Vec::new();
            // What was read before an error is the log.
            let _ = err.read_to_end(&mut log);
            String::from_utf8_lossy(&log).into_owned()
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        // From here on a failure prints the log.
        let mut process = Self { child, lines, log: Some(log), banner: String::new(), address, folder };
        while !process.banner.contains("Ctrl-C") {
            let line = process.lines.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("no banner:\n{}", process.banner));
            process.banner.push_str(&line);
            process.banner.push('\n');
        }
        let url = process.banner.split_once("ws://").expect("a URL").1.split_once("/ws").unwrap().0;
        process.address = url.parse().unwrap();
        process
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub(crate) fn says(&self, what: &str) {
        let started = Instant::now();
        while started.elapsed() < DEADLINE {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) if line.contains(what) => return,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        panic!("it never said {what:?}");
    }

    pub(crate) async fn ends(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < DEADLINE, "the process goes on after {DEADLINE:?}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// What it wrote to standard error, once it has ended.
    pub(crate) fn log(&mut self) -> String {
        let log = self.log.take().expect("it is read once").join().unwrap();
        assert!(!shows_secret(log.as_bytes()), "it has logged a secret or a token: {log}");
        log
    }
}

impl Drop for Process {
    #[allow(clippy::print_stderr, reason = "it is part of what a failing test says")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let Some(log) = self.log.take() else { return };
        if std::thread::panicking() {
            eprintln!("--- the broker's log ---\n{}--- end of the log ---", log.join().unwrap_or_default());
        } else if log.is_finished() {
            // A child of the broker may hold its standard error for longer; then this look is left out.
            let log = log.join().unwrap_or_default();
            assert!(!shows_secret(log.as_bytes()), "it has logged a secret or a token: {log}");
        }
    }
}
