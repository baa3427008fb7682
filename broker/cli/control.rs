//! Sends one request to a broker of this machine over its control socket.

use std::env;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

use super::connection::remark;
use super::escaped;

/// Most bytes of a response.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// A broker of this machine.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Broker")]
pub(crate) struct ControlArgs {
    /// Path of its control socket, as set by `control` in its configuration
    #[arg(long, value_name = "PATH", conflicts_with = "port")]
    control: Option<PathBuf>,
    /// Port that it listens on; needed only if several brokers run
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

impl ControlArgs {
    /// Requests an operation of the HTTP API.
    ///
    /// # Errors
    /// When no broker can be reached, or the error that it returns.
    pub(crate) fn ask(&self, operation: &str, body: &Value) -> Result<Value> {
        self.request(operation, body)?.map_err(|failure| anyhow!("{}", message(&failure)))
    }

    /// Requests an operation of the HTTP API. Returns its result, or the failure that the broker returns.
    ///
    /// # Errors
    /// When no broker can be reached.
    pub(crate) fn request(&self, operation: &str, body: &Value) -> Result<Result<Value, Value>> {
        let path = self.find()?;
        let mut stream = UnixStream::connect(&path).map_err(|error| {
            anyhow!("cannot reach a broker at {}: {error}\n  = help: is it running, and is it yours?", path.display())
        })?;
        self.check_peer(&stream, &path)?;
        let body = body.to_string();
        let head = format!(
            "POST /api/v1/{operation} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).context("the broker closed the connection")?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).context("the broker closed the connection")?;
        read(&answer)
    }

    /// Another user may have put a socket where this one looks for a broker: what it answers must not be believed.
    fn check_peer(&self, stream: &UnixStream, path: &Path) -> Result<()> {
        let peer = rustix::net::sockopt::socket_peercred(stream).context("cannot tell whose broker this is")?;
        let (own, user) = (rustix::process::geteuid().as_raw(), peer.uid);
        if is_believed(user.as_raw(), own, self.control.is_some()) {
            return Ok(());
        }
        bail!("the process at {} is another user's (uid {}), not a broker of yours", path.display(), user.as_raw())
    }

    fn find(&self) -> Result<PathBuf> {
        if let Some(path) = &self.control {
            return Ok(path.clone());
        }
        let folder = usual_folder();
        if let Some(port) = self.port {
            return Ok(folder.join(format!("{port}.sock")));
        }
        let entries = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
        let sockets = entries.filter(|path| path.extension().is_some_and(|ending| ending == "sock"));
        // A broker that crashed has left its socket.
        let mut alive: Vec<PathBuf> = sockets.filter(|path| UnixStream::connect(path).is_ok()).collect();
        match (alive.pop(), alive.len()) {
            (Some(path), 0) => {
                // Nobody named it, so it may be another one than was meant.
                remark(&format!("the broker at {}", path.display()));
                Ok(path)
            }
            (None, _) => bail!(
                "no broker of yours is running (no socket in {})\n  = help: `rialto` starts one",
                folder.display()
            ),
            (Some(_), others) => {
                bail!("{} brokers of yours are running\n  = help: choose one with --port", others + 1)
            }
        }
    }
}

/// Whether a user believes a process of another one, or of itself. Root may ask the broker of any user, by its path.
fn is_believed(other: u32, own: u32, is_named: bool) -> bool {
    other == 0 || other == own || (own == 0 && is_named)
}

/// The folder with the control sockets of this user's brokers, each named after its port.
pub(crate) fn usual_folder() -> PathBuf {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    match runtime {
        Some(folder) => folder.join("rialto"),
        None => PathBuf::from(format!("/tmp/rialto-{}", rustix::process::geteuid().as_raw())),
    }
}

/// What a failure says, for a terminal.
pub(crate) fn message(failure: &Value) -> String {
    escaped::indented(failure["message"].as_str().unwrap_or("the broker refused the request"))
}

/// The body of an HTTP response, or the failure that it reports.
fn read(answer: &[u8]) -> Result<Result<Value, Value>> {
    let head =
        answer.windows(4).position(|four| four == b"\r\n\r\n").context("not a broker: the response is not HTTP")?;
    let (head, body) = (String::from_utf8_lossy(&answer[..head]), &answer[head + 4..]);
    let status = head.split(' ').nth(1).unwrap_or_default();
    let body: Value = serde_json::from_slice(body).context("the broker's response is truncated")?;
    Ok(if status == "200" { Ok(body) } else { Err(body) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_user_is_not_believed() {
        for (other, own, is_named, expected) in [
            (0, 1000, false, true),
            (1000, 1000, false, true),
            (1001, 1000, false, false),
            (1001, 1000, true, false),
            (1001, 0, false, false),
            (1001, 0, true, true),
        ] {
            assert_eq!(is_believed(other, own, is_named), expected, "{other} {own} {is_named}");
        }
    }

    #[test]
    fn responses_and_failures_are_parsed() {
        let good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(read(good).expect("an answer"), Ok(serde_json::json!({})));
        let refused = b"HTTP/1.1 404 Not Found\r\n\r\n{\"code\":\"not_found\",\"message\":\"there is no plugin\"}";
        let failure = read(refused).expect("an answer").expect_err("a failure");
        assert_eq!(message(&failure), "there is no plugin");
        for (answer, expected) in [(&b"HTTP/1.1 200 OK\r\n\r\n{"[..], "truncated"), (b"SSH-2.0", "not a broker")] {
            let told = read(answer).expect_err("a failure").to_string();
            assert!(told.contains(expected), "{told}");
        }
    }
}
