//! A client that does no harm: it has a topic of its own, publishes to it now and then, and reads it by WebSocket and as a stream.
//! Others come for a moment.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use rialto::Codec;
use serde_json::json;

use super::settings::NEIGHBOUR;
use crate::support::events::Stream;
use crate::support::raw::open_from;
use crate::support::{Client, within};

const PAUSE: Duration = Duration::from_millis(20);

/// Every so many rounds somebody else comes.
const GUEST_EVERY: u64 = 10;

pub(super) struct Neighbour {
    address: SocketAddr,
    client: Client,
    stream: Stream,
}

impl Neighbour {
    /// Comes before the crowd.
    pub(super) async fn enter(address: SocketAddr) -> Self {
        let mut client = client(address, 2).await;
        client.subscribe(NEIGHBOUR).await;
        let socket = open_from(Ipv4Addr::new(127, 0, 0, 2), address).await;
        let request = format!("GET /sse?topic={NEIGHBOUR} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let mut stream = Stream::over(socket, &request).await;
        stream.event("subscribed").await;
        Self { address, client, stream }
    }

    /// Is served until the crowd has gone; returns how often. Every answer that it waits for has a deadline.
    pub(super) async fn run(mut self, over: Rc<Cell<bool>>) -> u64 {
        let mut rounds = 0;
        while !over.get() {
            rounds += 1;
            self.client.ok(json!({"type": "publish", "topic": NEIGHBOUR, "data": rounds})).await;
            assert_eq!(self.client.message().await["data"], rounds);
            let event = within("the event", self.stream.next()).await.expect("the stream goes on");
            assert_eq!((&*event.name, &event.data["data"]), ("message", &json!(rounds)));
            if rounds % GUEST_EVERY == 0 {
                guest(self.address, rounds).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
        rounds
    }
}

/// Somebody whom there is room for: as a session, and for its topic as long as the place is not entirely full.
async fn guest(address: SocketAddr, round: u64) {
    let mut client = client(address, 3).await;
    let topic = format!("guest.{round}");
    for request in [json!({"type": "subscribe", "topic": topic}), json!({"type": "publish", "topic": topic, "data": 1})]
    {
        let reply = client.request(request).await;
        let is_full = reply["code"] == "too_many";
        assert!(reply["type"] == "ok" || is_full, "{reply}");
    }
    client.ping().await;
    client.close().await;
}

async fn client(address: SocketAddr, last: u8) -> Client {
    let stream = open_from(Ipv4Addr::new(127, 0, 0, last), address).await;
    Client::upgraded(stream, &format!("ws://{address}/ws"), Codec::Json).await
}
