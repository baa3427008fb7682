//! Sessions that are ended at every byte that they read or write: incomplete requests are dropped, and frames on the wire
//! stay whole.

use std::time::Duration;

use rialto::Codec;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::support::raw::{CLOSE, CONTINUATION, FIN, PING, Wire, frames, masked};
use crate::support::{Running, encode, within};
use crate::websocket::witness::Witness;

/// Several messages, one of them in fragments with a ping between.
fn said(codec: Codec) -> Vec<u8> {
    let data = if codec == Codec::Json { 1 } else { 2 };
    let subscribe = encode(codec, &json!({"type": "subscribe", "topic": "t", "id": 1}));
    let publish = encode(codec, &json!({"type": "publish", "topic": "t", "data": "é", "id": 2}));
    let (one, two) = publish.split_at(publish.len() / 2);
    let parts = [masked(data, one), masked(FIN | PING, b"x"), masked(FIN | CONTINUATION, two)];
    [masked(FIN | data, &subscribe), parts.concat()].concat()
}

/// Opens a session over a pipe so small that every write is a partial one.
fn open(running: &Running, codec: Codec) -> DuplexStream {
    let (near, far) = tokio::io::duplex(7);
    running.serve(far, codec);
    near
}

/// Sends the bytes and reads everything until the end.
async fn exchange(near: DuplexStream, bytes: Vec<u8>) -> Vec<Wire> {
    let (mut reading, mut writing) = tokio::io::split(near);
    let speaks = async {
        // The broker may close before it has read everything.
        let _ = writing.write_all(&bytes).await;
        writing
    };
    let listens = async {
        let mut received = Vec::new();
        let _ = within("the end", reading.read_to_end(&mut received)).await;
        received
    };
    let (_writing, received) = tokio::join!(speaks, listens);
    frames(&received)
}

#[tokio::test]
async fn a_session_ended_at_any_byte_sends_one_close_after_whole_frames() {
    let running = Running::with(|config| {
        config.limits.frame_ms = 150;
        config.limits.ping_ms = 150;
        config.limits.pong_ms = 150;
    });
    for codec in Codec::ALL {
        let bytes = said(codec);
        let sessions = (0..=bytes.len()).map(|cut| exchange(open(&running, codec), bytes[..cut].to_vec()));
        for (cut, received) in futures_util::future::join_all(sessions).await.into_iter().enumerate() {
            let closes = received.iter().filter(|frame| frame.opcode == CLOSE).count();
            let last = received.last().expect("a last frame");
            assert_eq!((closes, last.opcode), (1, CLOSE), "{cut}: {received:?}");
            assert!([1008, 4004].contains(&last.code()), "{cut}: {}", last.code());
        }
        let mut witness = Witness::new(&running).await;
        witness.is_well().await;
        witness.close().await;
    }
    running.becomes_empty().await;
}

#[tokio::test]
async fn sessions_dropped_at_any_point_release_everything_and_send_no_partial_close() {
    for codec in Codec::ALL {
        let running = Running::start();
        let bytes = said(codec);
        let sessions: Vec<_> =
            (0..=bytes.len()).map(|cut| tokio::spawn(exchange(open(&running, codec), bytes[..cut].to_vec()))).collect();
        while running.broker.metrics().sessions < sessions.len() as u64 {
            tokio::task::yield_now().await;
        }
        // No time for a closing handshake: the tasks are dropped wherever they wait.
        running.broker.shutdown(Duration::ZERO).await;
        for session in sessions {
            match session.await {
                Ok(received) => assert!(received.iter().filter(|frame| frame.opcode == CLOSE).count() <= 1),
                // Dropped in the middle of a frame, because there is no time to finish it.
                Err(error) => assert!(error.to_string().contains("within a frame"), "{error}"),
            }
        }
        assert_eq!(running.broker.metrics().sessions, 0);
        assert_eq!(running.broker.metrics().subscriptions, 0);
    }
}
