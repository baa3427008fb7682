//! Peers that only the person at the keyboard knows: `--also NAME=DIALECT:…`, started by us or running already.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Peer, Recipe, SESSIONS};
use crate::launch::Launch;
use rialto_load::scenario::{Dialect, Target};

/// What the option means, for help and errors.
pub const USAGE: &str = "--also NAME=DIALECT:exec:PROGRAM ARGUMENT... (where {port} is the port to listen on), \
                         or --also NAME=DIALECT:ws://127.0.0.1:PORT/#PID; DIALECT is plain, nats or mqtt";

/// A peer given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Also {
    /// To be started afresh for each run like all others.
    Started(Peer),
    /// Running already.
    Running(Elsewhere),
}

/// A server that runs already, pinned by nobody or by whoever started it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its name in tables.
    pub name: String,
    /// How it is spoken to.
    pub dialect: Dialect,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
}

/// A program and its arguments, `{port}` among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    program: PathBuf,
    arguments: Vec<String>,
}

/// Why an `--also` was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`--also {text}`: {problem}. It is {USAGE}")]
pub struct AlsoError {
    text: String,
    problem: &'static str,
}

impl Elsewhere {
    /// Where it listens, and its process.
    pub fn target(&self) -> Target {
        Target { address: self.address, dialect: self.dialect, pid: Some(self.pid) }
    }
}

impl FromStr for Also {
    type Err = AlsoError;

    fn from_str(text: &str) -> Result<Self, AlsoError> {
        parse(text).map_err(|problem| AlsoError { text: text.to_owned(), problem })
    }
}

fn parse(text: &str) -> Result<Also, &'static str> {
    let (name, rest) = text.split_once('=').ok_or("no `=` after the name")?;
    let name = name.trim().to_owned();
    if name.is_empty() {
        return Err("the name is empty");
    }
    let (dialect, place) = rest.split_once(':').ok_or("no `:` after the dialect")?;
    let dialect = match dialect {
        "plain" => Dialect::Plain,
        "nats" => Dialect::Nats,
        "mqtt" => Dialect::Mqtt,
        _ => return Err("no such dialect"),
    };
    if let Some(words) = place.strip_prefix("exec:") {
        let mut words = words.split_whitespace().map(str::to_owned);
        let program = words.next().ok_or("no program after `exec:`")?.into();
        let arguments: Vec<String> = words.collect();
        if !arguments.iter().any(|argument| argument.contains("{port}")) {
            return Err("no argument has {port} in it");
        }
        let recipe = Recipe::Also(Command { program, arguments });
        return Ok(Also::Started(Peer { name, version: text.to_owned(), dialect, idle_sessions: SESSIONS, recipe }));
    }
    let (address, pid) =
        place.strip_prefix("ws://").and_then(|rest| rest.split_once("/#")).ok_or("no ws://ADDRESS/#PID")?;
    let address: SocketAddr = address.parse().map_err(|_| "the address is not IP:PORT")?;
    if !address.ip().is_loopback() {
        return Err("the address is not of this machine (127.0.0.0/8 or [::1])");
    }
    let pid = pid.parse().map_err(|_| "the process id is not a number")?;
    Ok(Also::Running(Elsewhere { name, dialect, address, pid }))
}

impl Command {
    pub(super) fn launch(&self, address: SocketAddr) -> Launch {
        let port = address.port().to_string();
        let arguments = self.arguments.iter().map(|argument| argument.replace("{port}", &port).into()).collect();
        Launch { program: self.program.clone(), arguments, ..Launch::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn understands_both_forms() {
        let running: Also = "uWS=plain:ws://127.0.0.1:9001/#42".parse().expect("it is well formed");
        let Also::Running(server) = running else { panic!("it runs already") };
        let target = server.target();
        assert_eq!((server.name.as_str(), target.address.port(), target.pid), ("uWS", 9001, Some(42)));
        let started: Also = "uWS=plain:exec:/tmp/server -p {port}".parse().expect("it is well formed");
        let Also::Started(peer) = started else { panic!("it is to be started") };
        let launch = peer.launch("127.0.0.1:4711".parse().expect("an address"), Path::new("/tmp"));
        assert_eq!((launch.program, launch.arguments), ("/tmp/server".into(), vec!["-p".into(), "4711".into()]));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, problem) in [
            ("uWS", "no `=`"),
            ("=plain:exec:x {port}", "name is empty"),
            ("a=smtp:exec:x {port}", "no such dialect"),
            ("a=plain:exec:", "no program"),
            ("a=plain:exec:x", "{port}"),
            ("a=plain:ws://127.0.0.1:1", "PID"),
            ("a=plain:ws://192.0.2.1:1/#2", "not of this machine"),
            ("a=plain:ws://127.0.0.1:1/#x", "not a number"),
        ] {
            let error = text.parse::<Also>().expect_err(text).to_string();
            assert!(error.contains(problem) && error.contains("--also NAME="), "{error}");
        }
    }
}
