//! Starts a server as a process of its own, pinned to its cores, and ends it whatever happens; it knows no server.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::answer;
use crate::cores::Pin;
use rialto_load::scenario::{Dialect, Target};

const ANSWER_SECONDS: u64 = 20;
const STOP_SECONDS: u64 = 3;
const OUTPUT_SHOWN_BYTES: usize = 600;
const OUTPUT: &str = "output.log";

/// What has to be run so that a server listens.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// What it is told.
    pub arguments: Vec<OsString>,
    /// Variables it gets besides ours.
    pub environment: Vec<(OsString, OsString)>,
    /// Files that lie in its folder before it starts: name and text.
    pub files: Vec<(String, String)>,
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Nothing could be laid ready for it.
    #[error("its files: {0}")]
    Prepare(#[from] std::io::Error),
    /// The program does not start.
    #[error("{program}: {source}")]
    Spawn {
        /// What was to be run.
        program: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It ended at once.
    #[error("it ended with {status}; its last words: {output}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The end of what it printed.
        output: String,
    },
    /// It runs but accepts no session.
    #[error("it did not answer for {ANSWER_SECONDS} s; its last words: {output}")]
    Silent {
        /// The end of what it printed.
        output: String,
    },
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    target: Target,
    folder: TempDir,
}

impl Running {
    /// Starts what `launch` names for a free loopback port and an empty folder, and waits until it accepts sessions.
    ///
    /// # Errors
    /// When it does not start or does not answer in time.
    pub fn start(
        dialect: Dialect,
        pin: &Pin,
        launch: impl FnOnce(SocketAddr, &Path) -> Launch,
    ) -> Result<Self, LaunchError> {
        let folder = tempfile::Builder::new().prefix("rialto-bench-").tempdir()?;
        let address = free_address()?;
        let launch = launch(address, folder.path());
        for (name, text) in &launch.files {
            std::fs::write(folder.path().join(name), text)?;
        }
        let output = File::create(folder.path().join(OUTPUT))?;
        let mut command = command(&launch, pin);
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command
            .spawn()
            .map_err(|source| LaunchError::Spawn { program: launch.program.display().to_string(), source })?;
        let target = Target { address, dialect, pid: Some(child.id()) };
        let mut running = Self { child, target, folder };
        running.wait_for_answer()?;
        Ok(running)
    }

    /// Where it listens, and its process.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn wait_for_answer(&mut self) -> Result<(), LaunchError> {
        let until = Instant::now() + Duration::from_secs(ANSWER_SECONDS);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(LaunchError::Ended { status, output: self.last_words() });
            }
            if answer::accepts(&self.target) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(LaunchError::Silent { output: self.last_words() });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn last_words(&self) -> String {
        let output = std::fs::read(self.folder.path().join(OUTPUT)).unwrap_or_default();
        let end = &output[output.len().saturating_sub(OUTPUT_SHOWN_BYTES)..];
        let text = String::from_utf8_lossy(end).trim().replace('\n', " | ");
        if text.is_empty() { "none".to_owned() } else { text }
    }

    fn ended_within(&mut self, seconds: u64) -> bool {
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        // A process that has ended already is what is wanted.
        let _ = kill_process(pid, Signal::TERM);
        if !self.ended_within(STOP_SECONDS) {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn command(launch: &Launch, pin: &Pin) -> Command {
    let mut words = pin.words();
    words.push(launch.program.clone().into());
    words.extend(launch.arguments.iter().cloned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).envs(launch.environment.iter().cloned()).process_group(0);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_exits_is_reported_with_its_last_output() {
        let shell = |_: SocketAddr, _: &Path| Launch {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), "echo no such option >&2; exit 3".into()],
            ..Launch::default()
        };
        let error = Running::start(Dialect::Plain, &Pin::default(), shell).expect_err("it ends");
        assert!(matches!(error, LaunchError::Ended { .. }), "{error}");
        assert!(error.to_string().contains("no such option"), "{error}");
    }

    #[test]
    fn a_missing_program_is_reported() {
        let nothing = |_: SocketAddr, _: &Path| Launch { program: "/nowhere/server".into(), ..Launch::default() };
        let error = Running::start(Dialect::Plain, &Pin::default(), nothing).expect_err("there is no such program");
        assert!(error.to_string().starts_with("/nowhere/server: "), "{error}");
    }
}
