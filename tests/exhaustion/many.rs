//! Very many topics, and very many subscriptions of one session: each needs little memory, all together stay within the
//! limits, and the memory is released.

use rialto::Codec;
use serde_json::{Value, json};

use super::memory::{SLACK_BYTES, peak, resident};
use crate::support::process::{Process, SERVER};
use crate::support::raw::{FIN, masked};
use crate::support::{Client, Raw, encode, eventually};

const TOPICS: u64 = 1_000_000;
const HISTORY_BYTES: u64 = 32 << 20;
/// The memory of a topic from its first message until it is removed.
const TOPIC_BYTES: u64 = 1_024;

const SUBSCRIPTIONS: usize = 100_000;
/// The memory of a subscription to a topic without other users: the topic, and both ends of the subscription.
const SUBSCRIPTION_BYTES: u64 = 2_048;

fn name(number: u64) -> String {
    format!("room.{number}")
}

/// The offsets of a topic that are kept.
async fn kept(client: &mut Client, number: u64) -> usize {
    let past = client.ok(json!({"type": "history", "topic": name(number)})).await;
    past["messages"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_million_topics_stay_within_history_bytes() {
    let limits = format!("[limits]\ntopics = 2_000_000\ntopic_idle_ms = 1_000\nhistory_bytes = {HISTORY_BYTES}\n");
    let rule = "[[topic]]\npattern = \">\"\nhistory = { messages = 10 }\n";
    let process = Process::start_frugal(&format!("{SERVER}{limits}{rule}"));
    let before = resident(&process);
    let mut healthy = Client::connect(process.address, Codec::Json).await;
    let mut publisher = Raw::connect(process.address, Codec::MessagePack).await;
    for thousand in 0..TOPICS / 1_000 {
        let mut bytes = Vec::new();
        for number in thousand * 1_000..(thousand + 1) * 1_000 {
            // Without an id there is no reply.
            let request = json!({"type": "publish", "topic": name(number), "data": number});
            bytes.extend(masked(FIN | publisher.data_opcode(), &encode(Codec::MessagePack, &request)));
        }
        publisher.send(&bytes).await;
        if thousand % 100 == 0 {
            healthy.ping().await;
        }
    }
    publisher.request(&json!({"type": "ping", "id": 1})).await;
    assert_eq!(publisher.frame_value().await["id"], 1, "nothing was refused");
    let most = peak(&process).saturating_sub(before);
    assert!(most < HISTORY_BYTES + TOPICS * TOPIC_BYTES + SLACK_BYTES, "{} bytes a topic", most / TOPICS);
    assert_eq!(kept(&mut healthy, TOPICS - 1).await, 1, "the newest is kept");
    assert_eq!(kept(&mut healthy, 0).await, 0, "the oldest gave way");
    eventually("what is idle is forgotten", || resident(&process) < before + 2 * HISTORY_BYTES + SLACK_BYTES).await;
    assert_eq!(kept(&mut healthy, TOPICS - 1).await, 1, "its message outlives the topic");
}

#[tokio::test]
async fn a_hundred_thousand_subscriptions_use_little_memory_and_count_once() {
    let limits = "[limits]\nsubscriptions = 100_000\ntopics = 200_000\ntopic_idle_ms = 100\n";
    let process = Process::start_frugal(&format!("{SERVER}{limits}"));
    let before = resident(&process);
    for codec in Codec::ALL {
        let mut client = Client::connect(process.address, codec).await;
        let mut taken = 0;
        // The second time all are subscribed already.
        for round in 0..2 {
            for first in (0..SUBSCRIPTIONS).step_by(100) {
                let topics: Vec<Value> =
                    (first..first + 100).map(|number| json!({"topic": name(number as u64)})).collect();
                let reply = client.ok(json!({"type": "subscribe", "topics": topics})).await;
                let refused = reply["topics"].as_array().unwrap().iter().filter(|item| item.get("error").is_some());
                assert_eq!(refused.count(), 0, "{reply}");
            }
            if round == 0 {
                taken = resident(&process) - before;
            }
        }
        let again = resident(&process) - before;
        assert!(taken < SUBSCRIPTIONS as u64 * SUBSCRIPTION_BYTES, "{} bytes each", taken / SUBSCRIPTIONS as u64);
        assert!(again < taken + SLACK_BYTES, "{taken} bytes, and {again} when asked for again");
        client.refused(json!({"type": "subscribe", "topic": "one.more"}), "too_many").await;
        for number in [0, 99_999] {
            client.publish(&name(number), json!(number)).await;
            assert_eq!(client.message().await["data"], number);
        }
        client.ping().await;
        assert!(client.take_all().is_empty(), "subscribing twice delivers once");
        client.close().await;
        // Tables shrink at once; the allocator releases later what one thread has freed for another.
        eventually("most memory is given back", || resident(&process) < before + taken / 2).await;
    }
}
