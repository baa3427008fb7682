//! Floods of frames other than valid requests: rate limits close the session, and others are not affected.

use rialto::Codec;
use serde_json::json;

use crate::support::raw::{CLOSE, FIN, PING, PONG, masked};
use crate::support::{Raw, Running, encode, eventually};
use crate::websocket::witness::Witness;

/// Sends the same frame until the session is closed.
async fn is_closed_with_1008(running: &Running, codec: Codec, what: &str, frame: &[u8]) {
    let mut raw = running.raw(codec).await;
    let flood = frame.repeat(1_000);
    for _ in 0..10 {
        raw.try_send(&flood).await;
    }
    let rest = raw.rest().await;
    let close = rest.last().unwrap_or_else(|| panic!("{what}: dropped without a Close"));
    assert_eq!((close.opcode, close.code()), (CLOSE, 1008), "{} {what}", codec.name());
    // The burst of one second, what arrived meanwhile, and the closing.
    assert!(rest.len() < 1_000, "{what}: {} answers to 10,000 frames", rest.len());
}

#[tokio::test]
async fn rate_limits_for_pings_pongs_and_bad_requests_close_with_1008() {
    let running = Running::start();
    let mut witness = Witness::new(&running).await;
    for codec in Codec::ALL {
        let data = if codec == Codec::Json { 1 } else { 2 };
        for (what, frame) in [
            ("pings", masked(FIN | PING, b"flood")),
            ("pongs", masked(FIN | PONG, b"flood")),
            ("empty messages", masked(FIN | data, b"")),
            ("maps without a type", masked(FIN | data, &encode(codec, &json!({})))),
            ("unknown types", masked(FIN | data, &encode(codec, &json!({"type": "flood", "id": 1})))),
        ] {
            is_closed_with_1008(&running, codec, what, &frame).await;
            witness.is_well().await;
        }
    }
    witness.close().await;
    running.becomes_empty().await;
}

#[tokio::test]
async fn a_burst_within_the_rate_limit_is_allowed() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut raw = running.raw(codec).await;
        raw.send(&masked(FIN | PING, b"x").repeat(100)).await;
        for _ in 0..100 {
            assert_eq!(raw.frame().await.expect("a pong").opcode, PONG);
        }
        raw.send(&masked(FIN | raw.data_opcode(), b"").repeat(100)).await;
        for _ in 0..100 {
            assert_eq!(raw.frame_value().await["code"], "bad_request");
        }
        raw.request(&json!({"type": "ping", "id": 1})).await;
        assert_eq!(raw.frame_value().await["type"], "pong");
    }
}

#[tokio::test]
async fn a_client_that_pings_without_reading_is_answered_once_and_closed() {
    let running = Running::with(|config| {
        config.limits.write_ms = 300;
        config.limits.control_frames_per_s = 1_000_000;
    });
    let mut witness = Witness::new(&running).await;
    for codec in Codec::ALL {
        let mut raw = Raw::connect_narrow(running.address, codec).await;
        // The replies to requests fill the socket; then only pings follow.
        let large = encode(codec, &json!({"type": "ping", "id": 1, "data": "x".repeat(60_000)}));
        for _ in 0..4 {
            raw.send(&masked(FIN | raw.data_opcode(), &large)).await;
        }
        eventually("something is queued for the peer", || running.broker.metrics().outbox_bytes > 0).await;
        let mut largest = 0;
        let sessions = running.broker.metrics().sessions;
        while running.broker.metrics().sessions == sessions {
            raw.try_send(&masked(FIN | PING, &[b'x'; 125]).repeat(50)).await;
            largest = largest.max(running.broker.metrics().outbox_bytes);
        }
        assert!(largest < 300_000, "{largest} bytes wait for one who does not read");
        witness.is_well().await;
    }
    witness.close().await;
    running.becomes_empty().await;
}
