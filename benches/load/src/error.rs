//! What can keep a load from being measured.

use std::net::SocketAddr;

/// Why there is no measurement; each says what to do about it where that can be known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Nothing answers at the address.
    #[error("cannot connect to {address}: {reason}{}", connect_hint(reason))]
    Connect {
        /// Where the server should be.
        address: SocketAddr,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The server answered, but does not upgrade to WebSocket.
    #[error("{address}{path} does not upgrade to WebSocket: it answers \"{answer}\"")]
    Handshake {
        /// Where the server is.
        address: SocketAddr,
        /// What was asked for.
        path: String,
        /// The first line of its answer, or what went wrong.
        answer: String,
    },
    /// The server would not do what the load needs.
    #[error("the server refuses to {what}: {reason}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// What it answered.
        reason: String,
    },
    /// The server does not speak as it should.
    #[error("the server sent {what}; does it speak what `--speaks` says?")]
    Strange {
        /// What it sent.
        what: String,
    },
    /// The server did not do in time what the load waits for.
    #[error("{missing} of {all} {what} within {seconds} s")]
    TimedOut {
        /// How many are still waited for.
        missing: usize,
        /// Of how many.
        all: usize,
        /// What did not happen.
        what: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// The connection that publishes is gone, so there is nothing to measure any more.
    #[error("the server closed the connection that publishes{}", after_colon(reason))]
    PublisherLost {
        /// The last thing it said, if anything.
        reason: Option<String>,
    },
    /// A value of the scenario makes no sense.
    #[error("{0}")]
    Scenario(String),
    /// The process may not open as many connections.
    #[error(
        "{connections} connections are more than fit into the {limit} open files of a process\n  = help: raise `ulimit -n`"
    )]
    Descriptors {
        /// How many connections are needed.
        connections: u64,
        /// How many files may be open.
        limit: u64,
    },
    /// The server's process cannot be read.
    #[error(transparent)]
    Process(#[from] crate::process::ProcessError),
    /// The system refuses something.
    #[error("{what}: {reason}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// What the system says.
        reason: std::io::Error,
    },
}

impl LoadError {
    /// For `map_err`.
    pub fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |reason| Self::System { what, reason }
    }
}

fn connect_hint(reason: &std::io::Error) -> &'static str {
    match reason.kind() {
        std::io::ErrorKind::ConnectionRefused => "\n  = help: start the server, or name the address where it listens",
        std::io::ErrorKind::AddrNotAvailable => "\n  = help: no port is left on this side; use fewer connections",
        _ => "",
    }
}

fn after_colon(text: &Option<String>) -> String {
    text.as_ref().map(|text| format!(": {text}")).unwrap_or_default()
}
