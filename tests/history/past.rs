//! The request `history`: pages in both directions, and unknown positions.

use rialto::config::History;
use rialto::{Codec, ErrorCode, HistoryFrom, Payload, Position};
use serde_json::{Value, json};

use super::{keeping, messages};
use crate::support::raw::{FIN, TEXT, masked};
use crate::support::{Running, encode, eventually};

fn numbers(reply: &Value) -> Vec<u64> {
    reply["messages"].as_array().unwrap().iter().map(|message| message["offset"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn history_is_paged_in_both_directions() {
    for codec in Codec::ALL {
        let running = keeping(messages(8));
        let mut client = running.client(codec).await;
        let mut position = Value::Null;
        for number in 1..=10 {
            position = client.publish("t", json!({"n": number})).await;
        }
        let epoch = position["epoch"].clone();
        let at = |offset: u64| json!({"epoch": epoch, "offset": offset});
        // (fields, offsets, more)
        let cases = [
            (json!({}), vec![3, 4, 5, 6, 7, 8, 9, 10], false),
            (json!({"limit": 3}), vec![8, 9, 10], true),
            (json!({"before": at(8), "limit": 3}), vec![5, 6, 7], true),
            (json!({"before": at(5), "limit": 3}), vec![3, 4], false),
            (json!({"before": at(3)}), vec![], false),
            (json!({"since": at(2), "limit": 3}), vec![3, 4, 5], true),
            (json!({"since": at(7)}), vec![8, 9, 10], false),
            (json!({"since": at(10)}), vec![], false),
        ];
        for (mut request, offsets, more) in cases {
            request["type"] = "history".into();
            request["topic"] = "t".into();
            let reply = client.ok(request.clone()).await;
            assert_eq!((numbers(&reply), &reply["more"]), (offsets, &json!(more)), "{request}");
            assert_eq!(reply["position"], position);
            for message in reply["messages"].as_array().unwrap() {
                assert_eq!(message["data"]["n"], message["offset"]);
                assert!(message["time"].as_u64().is_some_and(|time| time > 1_600_000_000_000));
            }
        }
    }
}

#[tokio::test]
async fn a_history_request_from_an_unknown_position_fails() {
    let running = keeping(messages(3));
    let mut client = running.client(Codec::Json).await;
    for number in 1..=5 {
        client.publish("t", json!(number)).await;
    }
    let epoch = client.ok(json!({"type": "history", "topic": "t"})).await["position"]["epoch"].clone();
    let ask = |from: &str, epoch: &Value, offset: u64| json!({"type": "history", "topic": "t", from: {"epoch": epoch, "offset": offset}});
    client.refused(ask("since", &epoch, 1), "expired").await;
    client.refused(ask("since", &epoch, 6), "expired").await;
    client.refused(ask("since", &json!("other"), 3), "expired").await;
    client.refused(ask("before", &json!("other"), 3), "expired").await;
    client.refused(json!({"type": "history", "topic": "t", "limit": 0}), "bad_request").await;
    client.refused(json!({"type": "history"}), "bad_request").await;
    client.refused(json!({"type": "history", "topic": "a..b"}), "bad_request").await;
    let both = json!({"epoch": epoch, "offset": 1});
    client.refused(json!({"type": "history", "topic": "t", "since": both, "before": both}), "bad_request").await;
    let reply = client.ok(json!({"type": "history", "topic": "silent"})).await;
    assert_eq!((numbers(&reply), &reply["position"]["offset"]), (vec![], &json!(0)));
    let without = Running::start();
    let mut client = without.client(Codec::Json).await;
    client.publish("t", json!(1)).await;
    client.refused(json!({"type": "history", "topic": "t"}), "unavailable").await;
}

#[tokio::test]
async fn an_embedder_reads_history_with_one_large_message_per_page() {
    let running = keeping(History { bytes: 10_000_000, ..messages(10) });
    for byte in 0..4_u8 {
        running.broker.publish("t", Payload::bytes(vec![byte; 600_000])).await.unwrap();
    }
    let mut at = Position { epoch: running.broker.topic("t").unwrap().position.epoch, offset: 0 };
    for expected in 1..=4 {
        let past = running.broker.history("t", Some(HistoryFrom::Since(at.clone())), None).unwrap();
        let [message] = &past.messages[..] else { panic!("{}", past.messages.len()) };
        assert_eq!((message.offset, past.more), (expected, expected < 4), "two do not fit into one answer");
        at.offset = message.offset;
    }
    assert_eq!(running.broker.history("a..b", None, None).unwrap_err().code, ErrorCode::BadRequest);
}

#[tokio::test]
async fn history_replies_are_sent_as_the_client_reads() {
    let running = keeping(History { bytes: 1 << 20, ..messages(1_000) });
    for _ in 0..16 {
        running.broker.publish("t", Payload::bytes(vec![7; 60_000])).await.unwrap();
    }
    let mut raw = running.raw(Codec::Json).await;
    let request = |id: u64| json!({"type": "history", "id": id, "topic": "t"});
    let frame = |id: u64| masked(FIN | TEXT, &encode(Codec::Json, &request(id)));
    raw.send(&(1..=60).flat_map(frame).collect::<Vec<u8>>()).await;
    eventually("an answer waits", || running.broker.metrics().outbox_bytes > 0).await;
    let waiting = running.broker.metrics().outbox_bytes;
    assert!(waiting < 4 << 20, "{waiting} bytes wait for one session");
    for id in 1..=60 {
        let reply = raw.frame_value().await;
        assert_eq!((&reply["id"], reply["messages"].as_array().unwrap().len()), (&json!(id), 16));
    }
}
