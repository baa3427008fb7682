//! Back-pressure: peers that send requests faster than they read replies.

use std::time::Duration;

use rialto::Codec;
use serde_json::json;
use tokio::time::timeout;

use crate::support::raw::{FIN, masked};
use crate::support::{Client, Raw, Running, decode, encode, eventually};

/// More than the buffers of a loopback connection and of a session can take.
const FLOOD_BYTES: usize = 256 << 20;

#[tokio::test]
async fn unread_replies_stop_the_reading_of_requests() {
    let running = Running::start();
    let mut healthy = running.client(Codec::Json).await;
    for codec in Codec::ALL {
        for request in [json!({"type": "ping", "id": 1}), json!({"type": "history", "topic": "t", "id": 1})] {
            let mut flooder = running.raw(codec).await;
            let blob = masked(FIN | flooder.data_opcode(), &encode(codec, &request)).repeat(10_000);
            let mut sent = 0;
            // The broker stops reading a session whose replies are not read, so that sending blocks.
            while timeout(Duration::from_millis(500), flooder.send(&blob)).await.is_ok() {
                sent += blob.len();
                assert!(sent < FLOOD_BYTES, "{request} is answered for ever although no reply is read");
            }
            healthy.ping().await;
            flooder.reset();
        }
    }
    healthy.close().await;
    running.becomes_empty().await;
}

#[tokio::test]
async fn a_session_under_back_pressure_does_not_time_out() {
    let running = Running::with(|config| {
        config.limits.frame_ms = 400;
        config.limits.ping_ms = 100;
        config.limits.pong_ms = 400;
    });
    for codec in Codec::ALL {
        let mut raw = Raw::connect_narrow(running.address, codec).await;
        let ping = encode(codec, &json!({"type": "ping", "id": 1, "data": "x".repeat(50_000)}));
        let frames = masked(FIN | raw.data_opcode(), &ping).repeat(20);
        // A frame in two segments: it is complete, but not read by the broker, which does not read the session because the
        // session does not read its replies.
        let (first, second) = frames.split_at(frames.len() / 2 + 7);
        raw.send(first).await;
        raw.send(second).await;
        // The test is that nothing happens in several times every timeout.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let mut answers = 0;
        while answers < 20 {
            let frame = raw.frame().await.expect("the session goes on");
            if frame.opcode == raw.data_opcode() {
                assert_eq!(decode(codec, &frame.payload)["type"], "pong");
                answers += 1;
            }
        }
    }
}

#[tokio::test]
async fn a_burst_that_needs_no_answer_gives_way_to_others() {
    let running = Running::with(|config| config.limits.requests_in_flight = 65_536);
    for codec in Codec::ALL {
        let mut raw = running.raw(codec).await;
        let publish = encode(codec, &json!({"type": "publish", "topic": "t", "data": 1}));
        let burst = masked(FIN | raw.data_opcode(), &publish).repeat(5_000);
        raw.send(&burst).await;
        raw.request(&json!({"type": "ping", "id": 1})).await;
        assert_eq!(raw.frame_value().await["type"], "pong");
    }
    let most = running.broker.metrics().work_at_once_most;
    assert!((100..=300).contains(&most), "{most} at one go");
}

#[tokio::test]
async fn sessions_that_begin_during_the_shutdown_are_sent_closing() {
    for _ in 0..5 {
        let running = Running::start();
        let address = running.address;
        let storm: Vec<_> = (0..4)
            .map(|_| {
                tokio::spawn(async move {
                    let mut sessions = Vec::new();
                    while let Ok(Ok(stream)) =
                        timeout(Duration::from_secs(1), tokio::net::TcpStream::connect(address)).await
                    {
                        sessions.push(stream);
                        let Ok(session) = tokio::spawn(Client::connect(address, Codec::Json)).await else { break };
                        drop(session);
                        if sessions.len() == 500 {
                            break;
                        }
                    }
                })
            })
            .collect();
        eventually("sessions are opened", || running.broker.metrics().sessions_opened_total > 20).await;
        // No session has to be dropped at the deadline, which is far away.
        assert!(running.broker.shutdown(Duration::from_secs(30)).await);
        for task in storm {
            task.abort();
        }
        assert_eq!(running.broker.metrics().sessions, 0);
    }
}
