//! Connections of the commands to a broker: their arguments, and error messages with a hint.

use std::future::Future;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rialto_client::{Builder, Client, Codec, Ending, Error, Position};

use super::{complain, escaped};

/// A day: whoever waits for ever would rather learn that something is wrong.
const WAIT_MAX_S: u64 = 86_400;

/// The broker to connect to, and the credentials.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// URL of the broker: ws://HOST:PORT/ws, or wss:// with TLS
    #[arg(long, value_name = "URL", env = "RIALTO_URL", default_value = DEFAULT_URL)]
    url: String,
    /// Token for authentication; safer in the environment, where `ps` does not show it
    #[arg(long, value_name = "TOKEN", env = "RIALTO_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Secret by which the broker knows this client again, 22 to 64 letters, digits, `-` and `_`: idempotency keys then are
    /// the same ones in every command that has it
    #[arg(long, value_name = "SECRET", env = "RIALTO_INSTANCE", hide_env_values = true)]
    instance: Option<String>,
    /// How long a request may wait for its reply, also while the broker is away
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=WAIT_MAX_S))]
    wait: u64,
    /// Codec on the wire: json or msgpack
    #[arg(long, value_name = "CODEC", default_value = "json", value_parser = codec)]
    codec: Codec,
}

/// The URL of a broker with the default configuration.
const DEFAULT_URL: &str = "ws://127.0.0.1:8080/ws";

impl ConnectionArgs {
    /// The builder of a client.
    fn builder(&self) -> Builder {
        let name = concat!("rialto/", env!("CARGO_PKG_VERSION"));
        let builder = Client::builder(&self.url).codec(self.codec).name(name);
        let builder = builder.deadline(Duration::from_secs(self.wait)).patience(Duration::ZERO);
        let builder = match &self.instance {
            Some(instance) => builder.instance(instance),
            None => builder,
        };
        match &self.token {
            Some(token) => builder.token(token),
            None => builder,
        }
    }

    /// Connects. An error has a hint where there is one.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        self.builder().connect().await.map_err(|error| match error {
            Error::Closed { ending: Ending::Unreachable(reason), .. } if reason.contains("refused") => anyhow!(
                "cannot connect to {}: {}\n  = help: is a broker running there? `rialto` starts one, and --url names another",
                self.url,
                escaped::line(&reason)
            ),
            Error::Closed { ending: Ending::Door { status: 404, .. }, .. } => {
                anyhow!("no broker at {}: HTTP status 404\n  = help: the path is /ws unless a proxy changes it", self.url)
            }
            other => anyhow!("{}: {}", self.url, escaped::line(&other.to_string())),
        })
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start");
    match runtime.and_then(|runtime| {
        let outcome = runtime.block_on(command);
        // A thread that still waits for standard input must not keep the process alive.
        runtime.shutdown_background();
        outcome
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&escaped::error(&error));
            ExitCode::FAILURE
        }
    }
}

/// Writes a note of one line to standard error if that is a terminal.
pub(crate) fn remark(text: &str) {
    use std::io::Write as _;
    if std::io::stderr().is_terminal() {
        // A terminal that is closed misses nothing.
        let _ = writeln!(std::io::stderr(), "{}", escaped::line(text));
    }
}

/// Parses a position: `EPOCH:OFFSET`.
pub(crate) fn position(text: &str) -> Result<Position, String> {
    let parts = text.rsplit_once(':').filter(|(epoch, _)| !epoch.is_empty());
    let position =
        parts.and_then(|(epoch, offset)| Some(Position { epoch: epoch.into(), offset: offset.parse().ok()? }));
    position.ok_or_else(|| "a position is written EPOCH:OFFSET, as s2puzmhh:41".to_owned())
}

fn codec(text: &str) -> Result<Codec, String> {
    let named = Codec::ALL.into_iter().find(|codec| codec.name() == text);
    named.ok_or_else(|| format!("valid codecs are {}", Codec::ALL.map(Codec::name).join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_default_url_is_that_of_the_default_configuration() {
        let listen = Config::default().server.listen[0];
        assert_eq!(DEFAULT_URL, format!("ws://{listen}/ws"));
    }

    #[test]
    fn positions_are_an_epoch_and_an_offset() {
        assert_eq!(position("e:41"), Ok(Position { epoch: "e".into(), offset: 41 }));
        assert_eq!(position("a:b:0").map(|position| position.epoch.to_string()), Ok("a:b".to_owned()));
        for wrong in ["", "e", ":1", "e:", "e:-1", "e:x"] {
            assert!(position(wrong).is_err(), "{wrong}");
        }
    }
}
