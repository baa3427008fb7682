//! Patterns and replays: a message that a pattern selects during the replay of its topic is delivered once, in order.

use rialto::config::History;
use rialto::{Codec, Payload};
use serde_json::json;

use super::{keeping, messages};

const MANY: u64 = 2_000;

#[tokio::test]
async fn a_pattern_does_not_overtake_a_replay() {
    for codec in Codec::ALL {
        let running = keeping(History { bytes: 100_000_000, ..messages(1_000_000) });
        let publish = async |count: u64| {
            let mut position = None;
            for _ in 0..count {
                position = running.broker.publish("t", Payload::json(&"x".repeat(1_000)).unwrap()).await.unwrap();
            }
            position.unwrap().epoch
        };
        let epoch = publish(MANY).await;
        let mut client = running.client(codec).await;
        client.ok(json!({"type": "subscribe", "topic": ">"})).await;
        let request = json!({"type": "subscribe", "topic": "t", "since": {"epoch": &*epoch, "offset": 0}});
        let id = client.ask(request).await;
        for _ in 0..20 {
            publish(20).await;
            tokio::task::yield_now().await;
        }
        let reply = client.reply(id).await;
        assert_eq!(reply["recovered"], true, "{reply}");
        // Messages by the pattern before the reply are no part of what follows it.
        client.take_all();
        let last = running.broker.topic("t").unwrap().position.offset;
        for offset in 1..=last {
            assert_eq!(client.message().await["offset"], offset);
        }
        client.ping().await;
        assert!(client.take_all().is_empty());
    }
}
