//! Access without WebSocket: Server-Sent Events, long poll and the HTTP API, over real sockets and with curl.

mod curl;
mod document;
mod events;
mod explain;
mod host;
mod key;
mod operation;
mod poll;
mod recovery;
mod slow;
mod stop;
mod wrong;

use rialto::ApiOperation;
use rialto::config::{Api, ApiKey, Config, History};
use rialto::topic::Pattern;
use sha2::{Digest as _, Sha256};

use crate::support::{Program, Running};

pub(crate) const KEY: &str = "rialto_testkeytestkeytestkeytestkey";

/// A key for all operations and topics.
pub(crate) fn api_key(name: &str, key: &str) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        sha256: Sha256::digest(key).into(),
        allow: ApiOperation::ALL.to_vec(),
        topics: vec![Pattern::parse(">").unwrap()],
    }
}

/// Every topic with history and presence, and the API with one key.
fn settle(config: &mut Config) {
    config.topics[0].history = Some(History::default());
    config.topics[0].presence = true;
    config.api = Some(Api { keys: vec![api_key("tests", KEY)] });
}

fn start() -> (Running, Program) {
    start_with(|_| {})
}

fn start_with(change: impl FnOnce(&mut Config)) -> (Running, Program) {
    let running = Running::with(|config| {
        settle(config);
        change(config);
    });
    let program = Program { address: running.address, key: KEY.to_owned() };
    (running, program)
}
