//! A client that does no harm: it publishes to a topic of its own now and then, and measures how long the answer takes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rialto::Codec;
use rialto_load::process::pin_self;
use serde_json::json;

use crate::support::Client;

/// Between two requests: it is a client, not a load.
const PAUSE: Duration = Duration::from_millis(3);

/// Before it is measured.
const WARM_UP: Duration = Duration::from_secs(2);

/// A neighbour of attackers.
pub(crate) struct Neighbour;

impl Neighbour {
    /// The 99th percentile of its round trips.
    pub(crate) fn p99(address: SocketAddr, topic: &'static str, time: Duration) -> Duration {
        let thread = std::thread::spawn(move || {
            let _ = pin_self(1);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut client = Client::connect(address, Codec::Json).await;
                if topic.starts_with("room.") {
                    client.subscribe(topic).await;
                    let claim = json!({"type": "call", "topic": topic, "method": "claim", "data": {"name": "Ada"}});
                    client.ok(claim).await;
                }
                round_trips(&mut client, topic, WARM_UP).await;
                round_trips(&mut client, topic, time).await
            })
        });
        let mut times = thread.join().unwrap();
        times.sort();
        times[(times.len() - 1) * 99 / 100]
    }
}

async fn round_trips(client: &mut Client, topic: &str, time: Duration) -> Vec<Duration> {
    let (mut times, begun) = (Vec::new(), Instant::now());
    while begun.elapsed() < time {
        let started = Instant::now();
        loop {
            let reply = client.request(json!({"type": "publish", "topic": topic, "data": "hi"})).await;
            if reply["type"] == "ok" {
                break;
            }
            // A plugin that has too much to do says so; to come again is part of the time.
            assert_eq!(reply["code"], "busy", "{reply}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(started.elapsed());
        client.take_all();
        tokio::time::sleep(PAUSE).await;
    }
    times
}
