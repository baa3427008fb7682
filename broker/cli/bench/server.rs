//! The server to measure, and its protocol.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use rialto_load::scenario::{Dialect, Target};

/// Arguments for the server.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArgs {
    /// URL of the server
    #[arg(value_name = "URL", default_value = "ws://127.0.0.1:8080/ws")]
    url: String,
    /// Protocol of the server
    #[arg(long, value_name = "DIALECT", default_value = "rialto")]
    pub(super) speaks: Speaks,
    /// Run the load on this processor only, counted from 0; run the server on others (`taskset -c 0 rialto`)
    #[arg(long, value_name = "PROCESSOR")]
    pin: Option<usize>,
}

/// Dialects, as they are named on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Speaks {
    /// Rialto's own protocol, at /ws
    Rialto,
    /// No envelope: what comes in at /pub/TOPIC goes out at /sub/TOPIC
    Plain,
    /// The NATS client protocol, at /
    Nats,
    /// MQTT 3.1.1, at /
    Mqtt,
}

impl ServerArgs {
    /// The server. Pins this process to a processor, if one is given.
    pub(super) fn target(&self, pid: Option<u32>) -> Result<Target> {
        if let Some(processor) = self.pin {
            rialto_load::process::pin_self(processor)?;
        }
        Ok(Target { address: address(&self.url)?, dialect: self.speaks.dialect(), pid })
    }

    /// Its name in results.
    pub(super) fn name(&self) -> String {
        self.speaks.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Its URL and protocol, for people.
    pub(super) fn describe(&self) -> String {
        format!("{} ({})", without_query(&self.url), self.name())
    }
}

impl Speaks {
    fn dialect(self) -> Dialect {
        match self {
            Self::Rialto => Dialect::Rialto,
            Self::Plain => Dialect::Plain,
            Self::Nats => Dialect::Nats,
            Self::Mqtt => Dialect::Mqtt,
        }
    }
}

/// What of a URL may be shown.
fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(shown, _)| shown)
}

/// The address in a URL. Its path is ignored: the dialect has its own.
fn address(url: &str) -> Result<SocketAddr> {
    // There may be a token in the query, of which the load makes no use.
    let url = without_query(url);
    let Some(rest) = url.strip_prefix("ws://") else {
        if url.starts_with("wss://") {
            bail!("{url}: the load speaks no TLS\n  = help: use the address behind the proxy, as ws://HOST:PORT");
        }
        bail!("{url}: not a ws:// URL\n  = help: write it as ws://HOST:PORT, for instance ws://127.0.0.1:8080/ws");
    };
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    let with_port = |host: &str| host.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    let found = with_port(host).or_else(|| with_port(&format!("{host}:80")));
    found.with_context(|| format!("{url}: unknown host `{host}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_address() {
        for (url, expected) in [
            ("ws://127.0.0.1:1/ws?token=a.b.c", Some("127.0.0.1:1")),
            ("ws://127.0.0.1:8080/ws", Some("127.0.0.1:8080")),
            ("ws://127.0.0.1:9", Some("127.0.0.1:9")),
            ("ws://127.0.0.1/", Some("127.0.0.1:80")),
            ("ws://[::1]:7/x", Some("[::1]:7")),
            ("wss://127.0.0.1:8080", None),
            ("http://127.0.0.1", None),
            ("127.0.0.1:8080", None),
            ("ws://", None),
        ] {
            let found = address(url).ok().map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{url}");
        }
    }
}
