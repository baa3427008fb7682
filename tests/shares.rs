//! Nobody takes more than its share: one client takes all it can of a bounded place, and its neighbours still find room.

mod history;
mod keys;
mod mailbox;
mod places;

use std::net::Ipv4Addr;

use rialto::Codec;
use serde_json::Value;

use crate::support::raw::open_from;
use crate::support::{Client, Running};

/// A session from an address to which limits per address apply, other than this machine's own.
async fn client_from(running: &Running, last: u8) -> Client {
    let stream = open_from(Ipv4Addr::new(127, 0, 0, last), running.address).await;
    Client::upgraded(stream, &format!("ws://{}/ws", running.address), Codec::Json).await
}

/// How many requests of these succeed until one is refused with a code; the refusal, too, if there is one.
async fn until_refused(
    client: &mut Client,
    requests: impl Iterator<Item = Value>,
    code: &str,
) -> (usize, Option<Value>) {
    let mut count = 0;
    for request in requests {
        let reply = client.request(request).await;
        if reply["type"] != "ok" {
            assert_eq!(reply["code"], code, "{reply}");
            return (count, Some(reply));
        }
        count += 1;
    }
    (count, None)
}
