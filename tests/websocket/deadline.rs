//! Timeouts: peers that are dead, slow, or never read. Other sessions are not affected.

use std::time::Duration;

use rialto::{Codec, Payload};
use serde_json::json;

use crate::support::raw::{CLOSE, CONTINUATION, FIN, PING, PONG, masked, promise};
use crate::support::{Client, Raw, Running, decode, encode, within};

/// The code of a `closing`, and whether it has a retry hint.
fn code_and_hint(closing: &serde_json::Value) -> (u64, bool) {
    assert_eq!(closing["type"], "closing");
    (closing["code"].as_u64().unwrap(), closing["retry_after_ms"].is_u64())
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_closed_with_4004_and_one_that_does_stays() {
    let running = Running::with(|config| {
        config.limits.ping_ms = 100;
        config.limits.pong_ms = 200;
    });
    for codec in Codec::ALL {
        let mut alive = running.raw(codec).await;
        let mut dead = running.raw(codec).await;
        let answering = async {
            // Ten pings are far more than a dead peer is sent.
            for _ in 0..10 {
                let ping = alive.frame().await.expect("a ping");
                assert_eq!(ping.opcode, PING);
                alive.send(&masked(FIN | PONG, &ping.payload)).await;
            }
            alive.request(&json!({"type": "ping", "id": 1})).await;
            assert_eq!(alive.frame_value().await["type"], "pong");
        };
        let (rest, ()) = tokio::join!(dead.rest(), answering);
        let kinds: Vec<u8> = rest.iter().map(|frame| frame.opcode).collect();
        assert_eq!(kinds, [PING, dead.data_opcode(), CLOSE], "one ping, the reason, the end");
        assert_eq!(rest[2].code(), 4004);
        let closing = decode(codec, &rest[1].payload);
        assert_eq!(code_and_hint(&closing), (4004, true));
    }
}

#[tokio::test]
async fn a_frame_that_was_begun_and_not_finished_is_closed_with_1008() {
    let running = Running::with(|config| config.limits.frame_ms = 100);
    for codec in Codec::ALL {
        let data = if codec == Codec::Json { 1 } else { 2 };
        let ping = encode(codec, &json!({"type": "ping", "id": 1}));
        let whole = masked(FIN | data, &ping);
        for (what, bytes) in [
            ("half a header", whole[..1].to_vec()),
            ("a header", whole[..6].to_vec()),
            ("half a payload", whole[..whole.len() - 1].to_vec()),
            ("a promise", promise(FIN | data, 60_000)),
            ("a fragment", masked(data, &ping)),
            ("an empty fragment", masked(data, b"")),
            ("a whole message and half of one", [&whole[..], &whole[..9]].concat()),
            (
                "fragments and a ping",
                [masked(data, b"x"), masked(FIN | PING, b""), masked(CONTINUATION, b"x")].concat(),
            ),
        ] {
            let mut raw = running.raw(codec).await;
            raw.send(&bytes).await;
            assert_eq!(raw.close_code().await, 1008, "{} {what}", codec.name());
        }
    }
    running.becomes_empty().await;
}

#[tokio::test]
async fn single_bytes_do_not_extend_the_frame_timeout() {
    let running = Running::with(|config| config.limits.frame_ms = 300);
    for codec in Codec::ALL {
        let mut raw = running.raw(codec).await;
        raw.send(&promise(FIN | raw.data_opcode(), 60_000)).await;
        let dribble = async {
            // A hundred bytes at this pace take ten times the frame timeout.
            for _ in 0..100 {
                raw.try_send(b"x").await;
                if let Ok(frame) = tokio::time::timeout(Duration::from_millis(30), raw.frame()).await {
                    return frame.map(|frame| frame.opcode);
                }
            }
            panic!("a frame has no timeout");
        };
        let first = dribble.await;
        assert!(first == Some(raw.data_opcode()), "the reason comes first: {first:?}");
        assert_eq!(raw.close_code().await, 1008);
    }
}

#[tokio::test]
async fn an_idle_session_does_not_time_out_after_any_frame() {
    let running = Running::with(|config| config.limits.frame_ms = 100);
    for codec in Codec::ALL {
        let ping = encode(codec, &json!({"type": "ping", "id": 1}));
        let data = if codec == Codec::Json { 1 } else { 2 };
        let plain = masked(FIN | data, &ping);
        let mut longer = vec![FIN | data, 0x80 | 126, 0, plain[1] & 0x7f];
        longer.extend_from_slice(&plain[2..]);
        let mut longest = vec![FIN | data, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, plain[1] & 0x7f];
        longest.extend_from_slice(&plain[2..]);
        for (what, frame) in [("short", plain), ("with two bytes", longer), ("with eight bytes", longest)] {
            let mut raw = running.raw(codec).await;
            raw.send(&frame).await;
            let first = raw.frame().await.expect("an answer");
            if first.opcode == CLOSE {
                // A strict check of the length closes with this code.
                assert_eq!(first.code(), 1002);
                continue;
            }
            // The test is that nothing happens in four times the frame timeout.
            tokio::time::sleep(Duration::from_millis(400)).await;
            raw.request(&json!({"type": "ping", "id": 2})).await;
            let answer = raw.frame_value().await;
            assert_eq!(answer["type"], "pong", "a length written {what}: {answer}");
        }
    }
}

/// A session that has subscribed and then does not read.
async fn lazy(running: &Running, codec: Codec) -> Raw {
    subscribed(Raw::connect(running.address, codec).await).await
}

/// The same with the smallest receive buffer, which makes reading slow.
async fn narrow(running: &Running, codec: Codec) -> Raw {
    subscribed(Raw::connect_narrow(running.address, codec).await).await
}

async fn subscribed(mut raw: Raw) -> Raw {
    raw.request(&json!({"type": "subscribe", "topic": "t", "id": 1})).await;
    assert_eq!(raw.frame_value().await["type"], "ok");
    raw
}

/// Publishes until the broker has closed a slow consumer. A healthy client has the time to read each message.
async fn publish_until_slow(running: &Running, mut healthy: Option<&mut Client>) {
    let payload = Payload::json(&"x".repeat(8_000)).unwrap();
    for offset in 1..20_000 {
        running.broker.publish("t", payload.clone()).await.unwrap();
        if let Some(healthy) = &mut healthy {
            assert_eq!(healthy.message().await["offset"], offset);
        }
        if running.broker.metrics().sessions_slow_total > 0 {
            return;
        }
    }
    panic!("a session that never reads is still open");
}

#[tokio::test]
async fn a_slow_consumer_is_closed_and_others_of_the_topic_receive_everything() {
    for codec in Codec::ALL {
        let running = Running::with(|config| config.limits.outbox_bytes = 262_144);
        let slow = narrow(&running, codec).await;
        let mut healthy = running.client(codec).await;
        healthy.subscribe("t").await;
        publish_until_slow(&running, Some(&mut healthy)).await;
        healthy.publish("t", json!("after")).await;
        assert_eq!(healthy.message().await["data"], "after");
        healthy.close().await;
        // It still reads nothing, not even the `closing`.
        running.becomes_empty().await;
        drop(slow);
    }
}

#[tokio::test]
async fn a_slow_consumer_that_reads_in_time_is_sent_4000_and_a_retry_hint() {
    let running = Running::with(|config| {
        config.limits.outbox_bytes = 262_144;
        config.limits.close_ms = 10_000;
    });
    let codec = Codec::MessagePack;
    let mut slow = lazy(&running, codec).await;
    publish_until_slow(&running, None).await;
    let rest = slow.rest().await;
    let [messages @ .., closing, close] = &rest[..] else { panic!("{} frames", rest.len()) };
    assert_eq!((close.code(), code_and_hint(&decode(codec, &closing.payload))), (4000, (4000, true)));
    for (index, message) in messages.iter().enumerate() {
        let message = decode(codec, &message.payload);
        assert_eq!(message["offset"], index as u64 + 1, "whole messages without a hole before the end");
    }
}

#[tokio::test]
async fn a_write_that_makes_no_progress_ends_the_session() {
    let running = Running::with(|config| {
        config.limits.outbox_bytes = 1 << 30;
        config.limits.outboxes_bytes = 1 << 30;
        config.limits.write_ms = 200;
    });
    let stuck = narrow(&running, Codec::Json).await;
    let payload = Payload::json(&"x".repeat(60_000)).unwrap();
    for _ in 0..300 {
        running.broker.publish("t", payload.clone()).await.unwrap();
    }
    running.becomes_empty().await;
    assert_eq!(running.broker.metrics().sessions_slow_total, 0, "its outbox was not full");
    drop(stuck);
}

#[tokio::test]
async fn a_peer_that_sends_without_reading_is_stopped_and_then_dropped() {
    let request = encode(Codec::Json, &json!({"type": "ping", "id": 1, "data": "x".repeat(50_000)}));
    for (what, frame) in [("requests", masked(FIN | 1, &request)), ("pings", masked(FIN | PING, &[0; 125]).repeat(400))]
    {
        let running = Running::with(|config| config.limits.write_ms = 200);
        let mut greedy = Raw::connect_narrow(running.address, Codec::Json).await;
        let asking = async {
            // Far more replies than all buffers can hold.
            for _ in 0..2_000 {
                greedy.try_send(&frame).await;
            }
        };
        within(what, asking).await;
        running.becomes_empty().await;
    }
}
