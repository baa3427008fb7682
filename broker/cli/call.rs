//! `rialto call`: calls the plugin that owns a topic and prints its reply.

use std::process::ExitCode;

use anyhow::anyhow;
use rialto_client::{Encoding, Payload};

use super::connection::{self, ConnectionArgs};
use super::lines::InputLine;

/// Arguments of `rialto call`.
#[derive(Debug, clap::Args)]
pub(crate) struct CallArgs {
    /// Topic of the plugin
    topic: String,
    /// Method to call
    method: String,
    /// Payload, as JSON
    data: Option<String>,
    /// Treat TOPIC as the name of a plugin
    #[arg(long)]
    plugin: bool,
    /// Idempotency key, 1 to 128 bytes: a repeated call returns the first reply
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Prints the reply as one line of JSON; `null` if it has no payload.
pub(crate) fn run(args: &CallArgs) -> ExitCode {
    connection::run(call(args))
}

async fn call(args: &CallArgs) -> anyhow::Result<()> {
    let payload = args.data.as_ref().map(|data| Payload::new(Encoding::Json, data.trim().to_owned())).transpose();
    let payload = payload.map_err(|error| anyhow!("DATA: {error}"))?;
    let client = args.connection.connect().await?;
    let mut call = if args.plugin {
        client.call_plugin(&args.topic, &args.method)
    } else {
        client.call(&args.topic, &args.method)
    };
    if let Some(payload) = payload {
        call = call.payload(payload);
    }
    if let Some(key) = &args.key {
        call = call.key(key);
    }
    let answered = call.await?;
    let nothing = Payload::json(&())?;
    InputLine::payload(answered.payload.as_ref().unwrap_or(&nothing)).print()?;
    client.close().await;
    Ok(())
}
